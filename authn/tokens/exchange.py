"""Token exchange (RFC 8693), for delegation only: what comes out always says who acts.

Never more than went in: scopes, lifetime, audience and authorization details are each within the subject token's, a
bound token stays bound to its key, and the chain of actors has an end. Who may act for whom is for the graph to say;
a client may narrow its own tokens without being asked.
"""

from collections.abc import Mapping
from typing import Any

from authn.clients.authenticator import Authenticated
from authn.clients.client import Client
from authn.clock import World
from authn.errors import (
    InvalidDpopProof,
    InvalidGrant,
    InvalidRequest,
    InvalidTarget,
    InvalidToken,
    UnauthorizedClient,
)
from authn.parameters import Form
from authn.settings import AuthnSettings
from authn.tokens.access import Caller
from authn.tokens.details import granted_details, read_details
from authn.tokens.issue import Issuance, TokenIssuer
from authn.tokens.reader import TokenReader
from authn.tokens.refresh import GrantStart, RefreshTokens
from authn.tokens.scopes import granted_audience, granted_scopes
from authn.tokens.subjects import Subjects

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACTORS_MAX = 4
LINEAGE_MAX = 8


class TokenExchange:
    """See the module."""

    def __init__(
        self,
        settings: AuthnSettings,
        reader: TokenReader,
        issuer: TokenIssuer,
        refresh: RefreshTokens,
        subjects: Subjects,
        world: World,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._issuer = issuer
        self._refresh = refresh
        self._subjects = subjects
        self._world = world

    async def exchange(self, form: Form, who: Authenticated) -> Mapping[str, Any]:
        """Answer an exchange request.

        Raises:
            OAuthError: it is refused.
        """
        client = who.client
        wanted = form.get("requested_token_type") or ACCESS_TOKEN
        if wanted not in {ACCESS_TOKEN, JWT, REFRESH_TOKEN} or (wanted == JWT and client.opaque_tokens):
            raise InvalidRequest("`requested_token_type` is not one that is issued here")
        if wanted == REFRESH_TOKEN and "refresh_token" not in client.grant_types:
            raise UnauthorizedClient("the client may not have refresh tokens")
        subject = await self._token(form, "subject_token")
        self._require_possession(subject, who)
        actor = await self._actor(form, who)
        issuance = await self._issuance(form, client, subject, actor, who.jkt)
        if wanted == REFRESH_TOKEN:
            return await self._start_family(issuance)
        issued = await self._issuer.issue(issuance, "token_exchange")
        return {**issued.answer(issuance.scopes), "issued_token_type": wanted}

    async def _token(self, form: Form, name: str) -> Caller:
        """The subject's or actor's token, which must be an access token of ours that is good."""
        token = form.need(name)
        if form.need(f"{name}_type") not in {ACCESS_TOKEN, JWT}:
            raise InvalidRequest(f"`{name}_type` is not one that is taken here")
        try:
            return await self._reader.read(token)
        except InvalidToken as error:
            raise InvalidGrant(f"the {name} is not good: {error}") from error

    @staticmethod
    def _require_possession(token: Caller, who: Authenticated) -> None:
        if token.jkt is not None and token.jkt != who.jkt:
            raise InvalidDpopProof("the subject token is bound to a key that was not proven")

    async def _actor(self, form: Form, who: Authenticated) -> Caller | None:
        """The actor's token, which must be the client's own; without one the client itself acts."""
        if form.get("actor_token") is None:
            if form.get("actor_token_type") is not None:
                raise InvalidRequest("`actor_token_type` goes with `actor_token`")
            return None
        actor = await self._token(form, "actor_token")
        if actor.client_id != who.client.client_id:
            raise InvalidGrant("the actor token is another client's")
        self._require_possession(actor, who)
        return actor

    async def _issuance(
        self, form: Form, client: Client, subject: Caller, actor: Caller | None, jkt: str | None
    ) -> Issuance:
        audience = granted_audience(_targets(form), client, self._settings.audience)
        act: Mapping[str, Any] | None = subject.claims.get("act")
        lineage = (*subject.lineage, subject.jti)
        if not _narrows(client, subject, actor, audience):
            acts = client.subject if actor is None else actor.subject
            await self._require_delegation(client, subject, acts, audience)
            act = {"sub": acts, **({"act": act} if act else {})}
            if len(subject.actors) >= ACTORS_MAX:
                raise InvalidRequest("the chain of actors is too long")
        if len(lineage) > LINEAGE_MAX:
            raise InvalidRequest("the token was exchanged too often")
        await self._subjects.require_active(subject.subject, act)
        left_s = subject.expires_at_ms // 1000 - self._world.now_ms() // 1000
        lifetime_s = min(client.token_lifetime_s or self._settings.access_token_lifetime_s, left_s)
        if lifetime_s <= 0:
            raise InvalidGrant("the subject token is about to expire")
        had = subject.claims.get("authorization_details", ())
        requested = read_details(form.get("authorization_details"))
        if any(detail not in had for detail in requested):
            raise InvalidGrant("more authorization details are asked for than the subject token has")
        inherited = [detail for detail in had if detail["type"] in client.details_types]
        details = await granted_details(
            requested or inherited, client, subject.subject, self._subjects.rights, self._settings.details_types
        )
        return Issuance(
            client=client,
            subject=subject.subject,
            scopes=granted_scopes(form.get("scope"), [s for s in client.scopes if s in subject.scopes]),
            audience=audience,
            lifetime_s=lifetime_s,
            jkt=jkt,
            actor=act,
            grant_id=subject.grant_id,
            session_id=subject.session_id,
            lineage=lineage,
            details=details,
        )

    async def _require_delegation(self, client: Client, subject: Caller, acts: str, audience: str) -> None:
        """Whether ``acts`` may act for the subject of a token that came into the client's hands."""
        if acts == subject.subject:
            raise InvalidGrant("the subject token is another client's")
        may_act = subject.claims.get("may_act")
        if may_act is not None:
            if not isinstance(may_act, dict) or may_act.get("sub") != acts:
                raise InvalidGrant("the subject token lets somebody else act")
            return
        served = {client.client_id, *client.audiences}
        if subject.client_id != client.client_id and served.isdisjoint(subject.audiences):
            raise InvalidGrant("the subject token was neither issued to the client nor meant for it")
        if not await self._subjects.rights.may_act_as(acts, subject.subject, audience):
            raise UnauthorizedClient("nothing lets the client act for the subject there")

    async def _start_family(self, issuance: Issuance) -> Mapping[str, Any]:
        _, token = await self._refresh.start(
            GrantStart(
                client=issuance.client,
                subject=issuance.subject,
                scopes=issuance.scopes,
                audience=issuance.audience,
                jkt=issuance.jkt,
                actor=issuance.actor,
                session_id=issuance.session_id,
                lineage=issuance.lineage,
                details=issuance.details,
            )
        )
        return {
            "access_token": token,
            "issued_token_type": REFRESH_TOKEN,
            "token_type": "N_A",
            "scope": " ".join(issuance.scopes),
        }


def _narrows(client: Client, subject: Caller, actor: Caller | None, audience: str) -> bool:
    """Whether a client only makes less of a token that is its own: the same subject where it could be before."""
    if actor is not None or subject.client_id != client.client_id:
        return False
    return subject.subject == client.subject or audience in subject.audiences


def _targets(form: Form) -> list[str]:
    """The audience asked for, by either parameter (RFC 8693, section 2.1)."""
    audience = form.get("audience")
    targets = [*form.resources, *([audience] if audience else [])]
    if len(set(targets)) > 1:
        raise InvalidTarget("a token has one audience")
    return targets[:1]
