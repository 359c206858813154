"""The token endpoint (RFC 6749, section 3.2): who asks, by which grant, and what they get."""

from collections.abc import Mapping
from typing import Any

from authn.clients.authenticator import Authenticated, ClientAuthenticator, OAuthRequest
from authn.clients.metadata import TOKEN_EXCHANGE
from authn.errors import InvalidDpopProof, UnauthorizedClient, UnsupportedGrantType
from authn.parameters import Form
from authn.rights import Rights
from authn.settings import AuthnSettings
from authn.tokens.details import granted_details, read_details
from authn.tokens.exchange import TokenExchange
from authn.tokens.issue import Issuance, TokenIssuer
from authn.tokens.refresh import RefreshTokens
from authn.tokens.scopes import granted_audience, granted_scopes

GRANT_TYPES = ("client_credentials", "refresh_token", TOKEN_EXCHANGE)
"""What is answered; discovery says the same."""


class TokenEndpoint:
    """See the module."""

    def __init__(
        self,
        settings: AuthnSettings,
        authenticator: ClientAuthenticator,
        issuer: TokenIssuer,
        refresh: RefreshTokens,
        exchange: TokenExchange,
        rights: Rights,
        url: str,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._issuer = issuer
        self._refresh = refresh
        self._exchange = exchange
        self._rights = rights
        self._url = url

    async def answer(self, request: OAuthRequest) -> Mapping[str, Any]:
        """The members of the answer.

        Raises:
            OAuthError: the request is refused.
            StoreUnavailable: it cannot be answered at the moment.
        """
        form = Form(request.pairs)
        who = await self._authenticator.authenticate(form, request, self._url)
        grant_type = form.need("grant_type")
        if grant_type not in GRANT_TYPES:
            raise UnsupportedGrantType("the grant type is not offered")
        if grant_type not in who.client.grant_types:
            raise UnauthorizedClient("the client is not registered for this grant type")
        if who.client.dpop_bound and who.jkt is None:
            raise InvalidDpopProof("the client's tokens are bound to a key, and there is no proof of one")
        match grant_type:
            case "client_credentials":
                return await self._client_credentials(form, who)
            case "refresh_token":
                return await self._refresh.refresh(form, who)
            case _:
                return await self._exchange.exchange(form, who)

    async def _client_credentials(self, form: Form, who: Authenticated) -> Mapping[str, Any]:
        client = who.client
        scopes = granted_scopes(form.get("scope"), client.scopes)
        audience = granted_audience(form.resources, client, self._settings.audience)
        requested = read_details(form.get("authorization_details"))
        details = await granted_details(requested, client, client.subject, self._rights, self._settings.details_types)
        issued = await self._issuer.issue(
            Issuance(
                client=client,
                subject=client.subject,
                scopes=scopes,
                audience=audience,
                lifetime_s=client.token_lifetime_s or self._settings.access_token_lifetime_s,
                jkt=who.jkt,
                details=details,
            ),
            "client_credentials",
        )
        return issued.answer(scopes)
