"""Client metadata (RFC 7591, section 2): what may be registered, and the `Client` that it makes.

Members that nobody here understands are dropped, as section 2 asks; a member that is understood and wrong is refused
by name. What goes beyond the RFCs:

- ``resources``, ``audiences``: URIs it may have tokens for, and URIs whose tokens it may look into;
- ``dpop_jkts``: thumbprints of the keys that may prove possession for it; with ``token_endpoint_auth_method``
  ``none`` such a key is its only credential (a bot's identity); ``dpop_nonce_required``;
- ``access_token_format`` (``jwt``, ``opaque``), ``access_token_signed_response_alg``, ``access_token_lifetime``,
  ``refresh_token_lifetime``, ``refresh_token_rotation`` (``always``, ``auto``);
- ``assertion_audience`` (``issuer``, ``issuer_or_token_endpoint``), ``assertion_lifetime_max``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from authn.clients.client import Client, ClientSecret
from authn.clock import Millis
from authn.errors import BadMetadata, BadRedirectUri, MalformedJose
from authn.jose import ASYMMETRIC_ALGORITHMS, SIGNING_ALGORITHMS
from authn.jwk import verify_key

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES = ("client_credentials", "refresh_token", TOKEN_EXCHANGE, "authorization_code", DEVICE_CODE)
SECRET_METHODS = frozenset({"client_secret_basic", "client_secret_post"})
EITHER_SECRET_METHOD = "client_secret"
"""Stored for a client that named no method: the secret by header or by form, which are equally good."""
AUTH_METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt", "none")
SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,128}")
"""RFC 6749, appendix A.4, with a bound."""
_VISIBLE = re.compile(r"[\x20-\x7E]{1,255}")
_JKT = re.compile(r"[A-Za-z0-9_-]{43}")
_SECRET = re.compile(r"[\x20-\x7E]{8,512}")
LIST_MAX = 128
KEYS_MAX = 16
LIFETIME_S_MAX = 86_400
REFRESH_LIFETIME_S_MAX = 365 * 86_400
ASSERTION_LIFETIME_S_MAX = 3_600

_CARRIED = ("client_name", "client_uri", "logo_uri", "contacts", "tos_uri", "policy_uri", "software_id",
            "software_version", "response_types", "post_logout_redirect_uris")  # fmt: skip
"""Members that are kept and shown, and that nothing here acts on."""


def valid_secret(secret: object) -> str:
    """A secret that somebody brings along.

    Raises:
        BadMetadata: it is not 8 to 512 visible ASCII characters (RFC 6749, appendix A.2).
    """
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        raise BadMetadata("client_secret", "wants 8 to 512 visible ASCII characters")
    return secret


def normalise(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata to store: known members, checked, with defaults written out and without secrets.

    Raises:
        BadMetadata: a member is wrong.
    """
    read = _Reader(metadata)
    given_id = metadata.get("client_id")
    if given_id is not None and (not isinstance(given_id, str) or not _VISIBLE.fullmatch(given_id)):
        raise BadMetadata("client_id", "wants 1 to 255 visible ASCII characters")
    redirect_uris = read.texts("redirect_uris", check=_redirect_uri)
    default_grants = ["authorization_code"] if redirect_uris else ["client_credentials"]
    result: dict[str, Any] = {
        "token_endpoint_auth_method": read.choice(
            "token_endpoint_auth_method", AUTH_METHODS, _default_method(metadata)
        ),
        "grant_types": read.texts("grant_types", default_grants, check=_one_of(GRANT_TYPES)),
        "scope": " ".join(_scopes(metadata.get("scope", ""))),
        "redirect_uris": redirect_uris,
        "resources": read.texts("resources", check=_resource),
        "audiences": read.texts("audiences", check=_resource),
        "authorization_details_types": read.texts("authorization_details_types"),
        "dpop_bound_access_tokens": read.flag("dpop_bound_access_tokens"),
        "dpop_nonce_required": read.flag("dpop_nonce_required"),
        "dpop_jkts": read.texts("dpop_jkts", check=_jkt),
        "access_token_format": read.choice("access_token_format", ("jwt", "opaque"), "jwt"),
        "access_token_signed_response_alg": read.choice(
            "access_token_signed_response_alg", SIGNING_ALGORITHMS, "ES256"
        ),
        "refresh_token_rotation": read.choice("refresh_token_rotation", ("always", "auto"), "always"),
        "assertion_audience": read.choice("assertion_audience", ("issuer", "issuer_or_token_endpoint"), "issuer"),
        "assertion_lifetime_max": read.seconds("assertion_lifetime_max", ASSERTION_LIFETIME_S_MAX) or 300,
    }
    for name, most in (("access_token_lifetime", LIFETIME_S_MAX), ("refresh_token_lifetime", REFRESH_LIFETIME_S_MAX)):
        seconds = read.seconds(name, most)
        if seconds is not None:
            result[name] = seconds
    if "token_endpoint_auth_signing_alg" in metadata:
        result["token_endpoint_auth_signing_alg"] = read.choice(
            "token_endpoint_auth_signing_alg", ASYMMETRIC_ALGORITHMS, ""
        )
    _keys(metadata, result)
    result.update({name: metadata[name] for name in _CARRIED if name in metadata})
    _together(result)
    return result


def to_client(
    client_id: str,
    metadata: Mapping[str, Any],
    secrets: Sequence[ClientSecret],
    *,
    issuer: str,
    created_at_ms: Millis = 0,
    disabled: bool = False,
) -> Client:
    """The client that stored metadata describes."""
    method = metadata["token_endpoint_auth_method"]
    audiences = {issuer}
    if metadata["assertion_audience"] == "issuer_or_token_endpoint":
        audiences.add(f"{issuer}/oauth2/token")
    only = metadata.get("token_endpoint_auth_signing_alg")
    return Client(
        client_id=client_id,
        auth_methods=SECRET_METHODS if method == EITHER_SECRET_METHOD else frozenset({method}),
        grant_types=frozenset(metadata["grant_types"]),
        scopes=tuple(metadata["scope"].split()),
        resources=frozenset(metadata["resources"]),
        audiences=frozenset(metadata["audiences"]),
        redirect_uris=tuple(metadata["redirect_uris"]),
        keys=tuple(verify_key(jwk) for jwk in metadata.get("jwks", {}).get("keys", ())),
        jwks_uri=metadata.get("jwks_uri"),
        assertion_algorithms=frozenset({only} if only else ASYMMETRIC_ALGORITHMS),
        assertion_audiences=frozenset(audiences),
        assertion_lifetime_max_s=metadata["assertion_lifetime_max"],
        dpop_bound=metadata["dpop_bound_access_tokens"],
        dpop_nonce_required=metadata["dpop_nonce_required"],
        dpop_jkts=frozenset(metadata["dpop_jkts"]),
        opaque_tokens=metadata["access_token_format"] == "opaque",
        token_algorithm=metadata["access_token_signed_response_alg"],
        token_lifetime_s=metadata.get("access_token_lifetime"),
        refresh_lifetime_s=metadata.get("refresh_token_lifetime"),
        refresh_rotation=metadata["refresh_token_rotation"],
        details_types=frozenset(metadata["authorization_details_types"]),
        disabled=disabled,
        secrets=tuple(secrets),
        created_at_ms=created_at_ms,
        metadata=metadata,
    )


def shown(client: Client) -> dict[str, Any]:
    """A client as RFC 7591, section 3.2.1 shows it, without secrets."""
    metadata = dict(client.metadata)
    if metadata["token_endpoint_auth_method"] == EITHER_SECRET_METHOD:
        metadata["token_endpoint_auth_method"] = "client_secret_basic"
    return {
        "client_id": client.client_id,
        "client_id_issued_at": client.created_at_ms // 1000,
        "disabled": client.disabled,
        **metadata,
    }


class _Reader:
    """Reads members of metadata by kind."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        value = self._metadata.get(name, default)
        if value not in allowed and not (value == default and name not in self._metadata):
            raise BadMetadata(name, f"is none of {', '.join(f'`{each}`' for each in allowed)}")
        return str(value)

    def flag(self, name: str) -> bool:
        value = self._metadata.get(name, False)
        if not isinstance(value, bool):
            raise BadMetadata(name, "is neither true nor false")
        return value

    def seconds(self, name: str, most: int) -> int | None:
        value = self._metadata.get(name)
        if value is None:
            return None
        if type(value) is not int or not 1 <= value <= most:
            raise BadMetadata(name, f"is no whole number of seconds from 1 to {most}")
        return int(value)

    def texts(
        self, name: str, default: Sequence[str] = (), *, check: Callable[[str, str], None] | None = None
    ) -> list[str]:
        value = self._metadata.get(name, list(default))
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            raise BadMetadata(name, "is no list of texts")
        if len(value) > LIST_MAX:
            raise BadMetadata(name, f"has more than {LIST_MAX} entries")
        for each in value:
            if check is not None:
                check(name, each)
        return list(dict.fromkeys(value))


def _default_method(metadata: Mapping[str, Any]) -> str:
    """A client that names no method uses its keys where it brings some, else a secret, sent in either way."""
    has_keys = bool(metadata.keys() & {"jwks", "jwks_uri"}) and "client_secret" not in metadata
    return "private_key_jwt" if has_keys else EITHER_SECRET_METHOD


def _one_of(allowed: Sequence[str]) -> Callable[[str, str], None]:
    def check(name: str, value: str) -> None:
        if value not in allowed:
            raise BadMetadata(name, f"`{value}` is not offered")

    return check


def _scopes(scope: object) -> list[str]:
    tokens = scope.split() if isinstance(scope, str) else None
    if tokens is None or len(tokens) > LIST_MAX or not all(SCOPE_TOKEN.fullmatch(token) for token in tokens):
        raise BadMetadata("scope", "is no list of scopes with spaces between them")
    return list(dict.fromkeys(tokens))


def is_resource(uri: str) -> bool:
    """Whether a resource is named as RFC 8707, section 2 asks: an absolute URI without a fragment."""
    if len(uri) > 2048 or not uri.isascii() or not uri.isprintable() or " " in uri or "#" in uri:
        return False
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises where it is no number
        return bool(parts.scheme) and bool(parts.netloc or parts.path) and ":" in uri
    except ValueError:
        return False


def _resource(name: str, value: str) -> None:
    if not is_resource(value):
        raise BadMetadata(name, f"`{value}` is no absolute URI without a fragment")


def _jkt(name: str, value: str) -> None:
    if not _JKT.fullmatch(value):
        raise BadMetadata(name, f"`{value}` is no SHA-256 thumbprint (RFC 7638)")


def _redirect_uri(name: str, value: str) -> None:
    """RFC 9700, section 2.1 and RFC 8252: exact URIs; plain http only to this machine."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadRedirectUri(name, f"`{value}` is no URI") from error
    if not value.isascii() or not value.isprintable() or " " in value or "\\" in value or "#" in value:
        raise BadRedirectUri(name, f"`{value}` is no URI without a fragment")
    match parts.scheme:
        case "https":
            good = bool(host) and "@" not in parts.netloc
        case "http":
            good = host in {"localhost", "127.0.0.1", "::1"} and "@" not in parts.netloc
        case scheme:  # a native application's own scheme is a reversed domain name (RFC 8252, section 7.1)
            good = "." in scheme and not parts.netloc
    if not good:
        raise BadRedirectUri(
            name, f"`{value}` is neither https, nor http to this machine, nor an application's scheme"
        )


def _keys(metadata: Mapping[str, Any], result: dict[str, Any]) -> None:
    if "jwks" in metadata and "jwks_uri" in metadata:
        raise BadMetadata("jwks_uri", "cannot stand beside `jwks`")
    if "jwks" in metadata:
        jwks = metadata["jwks"]
        keys = jwks.get("keys") if isinstance(jwks, dict) else None
        if not isinstance(keys, list) or not 0 < len(keys) <= KEYS_MAX:
            raise BadMetadata("jwks", f"is no key set of 1 to {KEYS_MAX} keys")
        for jwk in keys:
            try:
                verify_key(jwk if isinstance(jwk, dict) else {})
            except MalformedJose as error:
                raise BadMetadata("jwks", str(error)) from error
        result["jwks"] = {"keys": keys}
    if "jwks_uri" in metadata:
        uri = metadata["jwks_uri"]
        if not isinstance(uri, str) or not is_resource(uri) or urlsplit(uri).scheme != "https":
            raise BadMetadata("jwks_uri", "is no https URL")
        if "@" in urlsplit(uri).netloc or not urlsplit(uri).hostname:
            raise BadMetadata("jwks_uri", "names no host, or a user")
        result["jwks_uri"] = uri


def _together(result: Mapping[str, Any]) -> None:
    """Members that are good alone and not together."""
    method, grants = result["token_endpoint_auth_method"], result["grant_types"]
    if method == "private_key_jwt" and "jwks" not in result and "jwks_uri" not in result:
        raise BadMetadata("jwks", "is needed with `private_key_jwt`, or `jwks_uri`")
    if method == "none" and "client_credentials" in grants and not result["dpop_jkts"]:
        raise BadMetadata("grant_types", "`client_credentials` needs a client with a credential or with `dpop_jkts`")
    if method == "none" and TOKEN_EXCHANGE in grants and not result["dpop_jkts"]:
        raise BadMetadata("grant_types", "token exchange needs a client with a credential or with `dpop_jkts`")
    if "authorization_code" in grants and not result["redirect_uris"]:
        raise BadMetadata("redirect_uris", "is needed with `authorization_code`")
