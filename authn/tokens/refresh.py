"""Refresh tokens: families that are renewed one token at a time (RFC 6749 section 6, RFC 9700 section 4.14.2).

A token is used once; its use and its successor's birth are one transaction. The same client with the same key may
repeat itself for a few seconds and gets the very same answer, which is kept sealed under a key that only the
presented token yields; so a page opened twice does not end a session. Anything else that presents a used token ends
the whole family. A client that is not the token's own is refused before reuse is thought of, so that it cannot end
what belongs to another.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from authn.audit import AuditLog
from authn.clients.authenticator import Authenticated
from authn.clients.client import Client
from authn.clock import Millis, World, uuid7
from authn.errors import InvalidDpopProof, InvalidGrant, InvalidTarget
from authn.events import Event, EventName
from authn.feed import Feed
from authn.jose import b64url
from authn.metrics import AuthnMetrics
from authn.parameters import Form
from authn.rights import Detail
from authn.settings import AuthnSettings
from authn.stores import grants as rows
from authn.stores.grants import GrantRow, TokenRow
from authn.stores.statements import Database
from authn.tokens.details import granted_details, read_details
from authn.tokens.issue import Issuance, TokenIssuer
from authn.tokens.scopes import granted_scopes
from authn.tokens.subjects import Subjects

REFRESH_PREFIX = "trt_"
_TOKEN_BYTES = 32
_NONCE_BYTES = 12
_RACES_MAX = 3
_ROTATE_AFTER = 0.7
"""With ``refresh_token_rotation`` ``auto`` a bound token stays until this much of its idle time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantStart:
    """What a family of refresh tokens begins with."""

    client: Client
    subject: str
    scopes: Sequence[str]
    audience: str
    jkt: str | None = None
    actor: Mapping[str, Any] | None = None
    session_id: str | None = None
    lineage: Sequence[str] = ()
    details: Sequence[Detail] = ()
    extra: Mapping[str, Any] | None = None


class RefreshTokens:
    """Begins and renews families."""

    def __init__(
        self,
        database: Database,
        settings: AuthnSettings,
        issuer: TokenIssuer,
        subjects: Subjects,
        feed: Feed,
        audit: AuditLog,
        metrics: AuthnMetrics,
        world: World,
    ) -> None:
        self._database = database
        self._settings = settings
        self._issuer = issuer
        self._subjects = subjects
        self._feed = feed
        self._audit = audit
        self._metrics = metrics
        self._world = world

    async def start(self, start: GrantStart) -> tuple[str, str]:
        """Begin a family: its id, and its first refresh token."""
        now_ms = self._world.now_ms()
        grant_id = uuid7(now_ms, self._world.random_bytes(10))
        lifetime_s = start.client.refresh_lifetime_s or self._settings.refresh_lifetime_s
        facts = {
            "scope": list(start.scopes),
            "aud": start.audience,
            "act": start.actor,
            "lineage": list(start.lineage),
            "details": list(start.details),
            "extra": start.extra,
        }
        grant = GrantRow(
            grant_id,
            start.client.client_id,
            start.subject,
            {name: value for name, value in facts.items() if value},
            start.jkt,
            start.session_id,
            now_ms,
            now_ms + lifetime_s * 1000,
        )
        token = self._new_token()
        await self._database.run(rows.start(grant, self._row(token, grant, now_ms), start.lineage))
        self._audit.record(
            Event(
                EventName.GRANT_STARTED,
                {"client_id": grant.client_id, "subject": grant.subject, "grant_id": grant_id},
            )
        )
        return grant_id, token

    async def refresh(self, form: Form, who: Authenticated) -> Mapping[str, Any]:
        """Answer a refresh request.

        Raises:
            InvalidGrant: the token is not good for this client.
            OAuthError: something else about the request is not.
        """
        token = form.need("refresh_token")
        digest = token_digest(token)
        for _ in range(_RACES_MAX):
            found = await rows.find(self._database, digest)
            row, grant = self._judge(found, who)
            if row.used_at_ms is not None:
                return await self._answer_again(row, grant, token)
            answer = await self._renew(form, who.client, row, grant, token)
            if answer is not None:
                return answer
        raise InvalidGrant("the token was used or revoked meanwhile")

    async def find(self, token: str) -> tuple[TokenRow, GrantRow] | None:
        """A refresh token that is good, or was, and its family."""
        return await rows.find(self._database, token_digest(token))

    async def revoke(self, grant_id: str, why: str) -> None:
        """End a family, and the access tokens made from it."""
        now_ms = self._world.now_ms()
        until_ms = now_ms + self._settings.rotation.token_lifetime_max_ms
        entry = await self._database.run(rows.revoke(grant_id, why, until_ms=until_ms, now_ms=now_ms))
        if entry is not None:
            self._feed.apply_own(entry)
            await self._audit.record_durably(Event(EventName.GRANT_REVOKED, {"grant_id": grant_id, "why": why}))

    def _judge(self, found: tuple[TokenRow, GrantRow] | None, who: Authenticated) -> tuple[TokenRow, GrantRow]:
        """Hold a token against who presents it and when; its use is looked at afterwards."""
        if found is None:
            raise InvalidGrant("no such refresh token")
        row, grant = found
        now_ms = self._world.now_ms()
        if grant.client_id != who.client.client_id:
            raise InvalidGrant("the refresh token is another client's")
        if grant.revoked_at_ms is not None:
            raise InvalidGrant("the refresh token's family is revoked")
        if now_ms >= min(row.expires_at_ms, grant.expires_at_ms):
            raise InvalidGrant("the refresh token has expired")
        if grant.jkt is not None and grant.jkt != who.jkt:
            if row.used_at_ms is None:
                raise InvalidDpopProof("the refresh token is bound to another key")
            return row._replace(answer=None), grant  # a used token without its key is reuse, window or not
        return row, grant

    async def _answer_again(self, row: TokenRow, grant: GrantRow, token: str) -> Mapping[str, Any]:
        used_at_ms = row.used_at_ms or 0
        in_window = self._world.now_ms() - used_at_ms < self._settings.refresh_window_ms
        if in_window and row.answer is not None:
            answer: Mapping[str, Any] = orjson.loads(unseal(row.answer, token))
            return answer
        self._metrics.refresh_reuse.inc()
        facts = {"client_id": grant.client_id, "subject": grant.subject, "grant_id": grant.grant_id}
        await self._audit.record_durably(Event(EventName.REFRESH_REUSED, facts))
        await self.revoke(grant.grant_id, "reuse of a refresh token")
        raise InvalidGrant("the refresh token was used before")

    async def _renew(
        self, form: Form, client: Client, row: TokenRow, grant: GrantRow, token: str
    ) -> Mapping[str, Any] | None:
        """A fresh answer; ``None`` where somebody else used the token meanwhile."""
        facts = grant.facts
        await self._subjects.require_active(grant.subject, facts.get("act"))
        allowed = [scope for scope in facts.get("scope", ()) if scope in client.scopes]
        scopes = granted_scopes(form.get("scope"), allowed)
        audience = facts["aud"]
        if any(resource != audience for resource in form.resources):
            raise InvalidTarget("the grant is for another resource")
        if audience != self._settings.audience and audience not in client.resources:
            raise InvalidTarget("the resource is the client's no more")
        requested = read_details(form.get("authorization_details"))
        if any(detail not in facts.get("details", ()) for detail in requested):
            raise InvalidGrant("more authorization details are asked for than were granted")
        details = await granted_details(
            requested or facts.get("details", ()),
            client,
            grant.subject,
            self._subjects.rights,
            self._settings.details_types,
        )
        lifetime_s = client.token_lifetime_s or self._settings.access_token_lifetime_s
        issued = await self._issuer.issue(
            Issuance(
                client=client,
                subject=grant.subject,
                scopes=scopes,
                audience=audience,
                lifetime_s=lifetime_s,
                jkt=grant.jkt,
                actor=facts.get("act"),
                grant_id=grant.grant_id,
                session_id=grant.session_id,
                lineage=facts.get("lineage", ()),
                details=details,
                extra=facts.get("extra"),
            ),
            "refresh_token",
        )
        answer = issued.answer(scopes)
        return await self._replace(client, row, grant, token, answer)

    async def _replace(
        self, client: Client, row: TokenRow, grant: GrantRow, token: str, answer: dict[str, Any]
    ) -> Mapping[str, Any] | None:
        now_ms = self._world.now_ms()
        if self._may_stay(client, row, grant, now_ms):
            return answer if await self._database.run(rows.touch(grant.grant_id, now_ms)) else None
        successor = self._new_token()
        answer["refresh_token"] = successor
        sealed = seal(orjson.dumps(answer), token, self._world.random_bytes(_NONCE_BYTES))
        following = self._row(successor, grant, now_ms)
        rotated = await rows.rotate(self._database, row.digest, grant.grant_id, sealed, following, now_ms)
        return answer if rotated else None

    @staticmethod
    def _may_stay(client: Client, row: TokenRow, grant: GrantRow, now_ms: Millis) -> bool:
        """Whether a client that is not public, or a bound token, keeps its token this time."""
        if client.refresh_rotation != "auto" or (client.is_public and grant.jkt is None):
            return False
        return now_ms - row.issued_at_ms < (row.expires_at_ms - row.issued_at_ms) * _ROTATE_AFTER

    def _new_token(self) -> str:
        return REFRESH_PREFIX + b64url(self._world.random_bytes(_TOKEN_BYTES))

    def _row(self, token: str, grant: GrantRow, now_ms: Millis) -> TokenRow:
        idle_until_ms = now_ms + self._settings.refresh_idle_lifetime_s * 1000
        return TokenRow(token_digest(token), now_ms, min(idle_until_ms, grant.expires_at_ms))


def token_digest(token: str) -> bytes:
    """What is kept of a refresh token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def seal(answer: bytes, token: str, nonce: bytes) -> bytes:
    """An answer that only who holds the token can read."""
    return nonce + AESGCM(_answer_key(token)).encrypt(nonce, answer, None)


def unseal(sealed: bytes, token: str) -> bytes:
    """The answer again."""
    return AESGCM(_answer_key(token)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)


def _answer_key(token: str) -> bytes:
    return hashlib.blake2b(token.encode(), digest_size=32, person=b"refresh answer").digest()
