"""What ``authn`` raises on purpose: one class for each thing that a caller can do something about.

No class knows a status code: `api` maps the OAuth errors by RFC 6749 section 5.2 and RFC 6750 section 3.1, and the
others for its own endpoints. What a client is told of an `OAuthError` is the constant ``description`` of its class,
so that an answer does not tell an unknown client from a wrong secret; the exception's own message is for the log.
"""


class AuthnError(Exception):
    """The root of what ``authn`` raises on purpose; anything else is a bug."""


class StoreUnavailable(AuthnError):
    """The database, or the store of what may be used once, cannot be reached; the same call may pass later."""


class NotMigrated(AuthnError):
    """The database has tables of an older or newer version than this program's."""


class BadConfiguration(AuthnError):
    """Something that ``authn`` was given to start with cannot work; the message says what."""


class KeyUnreadable(AuthnError):
    """A private key or secret in the database opens with none of the key-encryption keys given."""


class MalformedJose(AuthnError):
    """Text that is no compact JWS, or a JWK that is not usable; the message names what is wrong with it."""


class BadSignature(MalformedJose):
    """A well-formed JWS that the key at hand did not sign."""


class BadMetadata(AuthnError):
    """Client metadata (RFC 7591, section 2) that cannot be registered; ``field`` names the member."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"`{field}`: {why}")
        self.field = field


class BadRedirectUri(BadMetadata):
    """A redirect URI that must not be registered (RFC 7591, section 3.2.2 gives it a code of its own)."""


class ClientExists(AuthnError):
    """A client of that id is registered already."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"client `{client_id}` exists already")
        self.client_id = client_id


class ClientNotFound(AuthnError):
    """No client of that id."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"no client `{client_id}`")
        self.client_id = client_id


class NeedsStore(AuthnError):
    """A token that memory alone cannot judge: an opaque one, or the revocation feed is stale. Ask with waiting."""


class OAuthError(AuthnError):
    """A refusal that an OAuth client is told of, by the ``code`` of its RFC."""

    code = "server_error"
    description = "the request was refused"

    def __init__(self, reason: str = "", *, dpop_nonce: str | None = None) -> None:
        super().__init__(reason or self.description)
        self.dpop_nonce = dpop_nonce


class InvalidRequest(OAuthError):
    """A parameter is missing, repeated or malformed; here the client is told which, since it sent it."""

    code = "invalid_request"
    description = "the request is missing a parameter, repeats one or has one that is malformed"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.description = reason or type(self).description


class InvalidClient(OAuthError):
    """Client authentication failed, for whatever reason."""

    code = "invalid_client"
    description = "client authentication failed"


class InvalidGrant(OAuthError):
    """What was presented as a grant is unknown, used, expired, revoked or another client's."""

    code = "invalid_grant"
    description = "the grant is invalid, expired, revoked or was issued to another client"


class UnauthorizedClient(OAuthError):
    """The client is known but not allowed this."""

    code = "unauthorized_client"
    description = "the client is not allowed to do this"


class UnsupportedGrantType(OAuthError):
    """A grant type that is not offered here."""

    code = "unsupported_grant_type"
    description = "the grant type is not supported"


class InvalidScope(OAuthError):
    """A scope that is malformed, or more than the client or the grant has."""

    code = "invalid_scope"
    description = "the scope is malformed or exceeds what may be granted"


class InvalidTarget(OAuthError):
    """A resource or audience that is malformed, unknown or not the client's to ask for (RFC 8707, section 2)."""

    code = "invalid_target"
    description = "the resource is malformed, unknown or not allowed"


class InvalidAuthorizationDetails(OAuthError):
    """Authorization details of an unknown type, malformed, or not granted (RFC 9396, section 5)."""

    code = "invalid_authorization_details"
    description = "the authorization details are malformed, of an unknown type or not granted"


class InvalidDpopProof(OAuthError):
    """A DPoP proof that fails one of the checks of RFC 9449, section 4.3."""

    code = "invalid_dpop_proof"
    description = "the DPoP proof is not valid for this request"


class UseDpopNonce(OAuthError):
    """A proof must carry the nonce given with this answer (RFC 9449, section 8)."""

    code = "use_dpop_nonce"
    description = "the DPoP proof must carry the nonce given in the DPoP-Nonce header"


class UnsupportedTokenType(OAuthError):
    """A kind of token that cannot be revoked here (RFC 7009, section 2.2.1)."""

    code = "unsupported_token_type"
    description = "tokens of this type cannot be revoked here"


class TemporarilyUnavailable(OAuthError):
    """Refused because something needed is out of reach for the moment."""

    code = "temporarily_unavailable"
    description = "the request cannot be answered at the moment; try again"


class InvalidToken(OAuthError):
    """An access token that is malformed, expired, revoked, not for us, or used without its proof (RFC 6750)."""

    code = "invalid_token"
    description = "the access token is not valid"


class InsufficientScope(OAuthError):
    """A good access token without the scope that is needed."""

    code = "insufficient_scope"
    description = "the access token does not have the scope that this needs"
