"""Taking tokens back (RFC 7009), and everything of a grant, a session, a subject or a client.

A revocation is recorded in the feed, in the transaction that makes it; this process acts on it at once and every
other one within a second.
"""

from authn.audit import AuditLog
from authn.clients.client import Client, client_subject
from authn.clock import World
from authn.errors import InvalidToken, UnauthorizedClient
from authn.events import Event, EventName
from authn.feed import Feed
from authn.settings import AuthnSettings
from authn.stores import grants as rows
from authn.stores.feed import FeedEntry
from authn.stores.statements import Database, Work
from authn.tokens.introspect import ADMIN_SCOPE
from authn.tokens.reader import TokenReader
from authn.tokens.refresh import REFRESH_PREFIX, RefreshTokens

_CLIENT = "client:"


class Revoker:
    """See the module."""

    def __init__(
        self,
        database: Database,
        settings: AuthnSettings,
        reader: TokenReader,
        refresh: RefreshTokens,
        feed: Feed,
        audit: AuditLog,
        world: World,
    ) -> None:
        self._database = database
        self._longest_ms = settings.rotation.token_lifetime_max_ms
        self._reader = reader
        self._refresh = refresh
        self._feed = feed
        self._audit = audit
        self._world = world

    async def revoke(self, token: str, client: Client) -> None:
        """Take back a token at its client's wish. One that is not good any more needs nothing.

        Raises:
            UnauthorizedClient: it is another client's.
        """
        await self._revoke_text(token, client, "revoked by its client")

    async def revoke_any(self, token: str, why: str) -> None:
        """Take back a token, whosever it is."""
        await self._revoke_text(token, None, why)

    async def _revoke_text(self, token: str, owner: Client | None, why: str) -> None:
        if token.startswith(REFRESH_PREFIX):
            found = await self._refresh.find(token)
            if found is not None:
                _require_own(found[1].client_id, owner)
                await self._refresh.revoke(found[1].grant_id, why)
            return
        try:
            caller = await self._reader.read(token)
        except InvalidToken:
            return
        _require_own(caller.client_id, owner)
        await self.revoke_token(caller.jti, caller.expires_at_ms, why)

    async def revoke_token(self, jti: str, until_ms: int, why: str) -> None:
        """Take back one access token, and what was exchanged from it."""
        work = rows.revoke_token(jti, why, until_ms=until_ms, now_ms=self._world.now_ms())
        await self._take_back(work, Event(EventName.TOKEN_REVOKED, {"jti": jti, "why": why}))

    async def revoke_session(self, session_id: str, why: str) -> None:
        """Take back everything of a session."""
        now_ms = self._world.now_ms()
        work = rows.revoke_of_session(session_id, why, until_ms=now_ms + self._longest_ms, now_ms=now_ms)
        await self._take_back(work, Event(EventName.SESSION_REVOKED, {"sid": session_id, "why": why}))

    async def revoke_subject(self, subject: str, why: str) -> None:
        """Take back everything of a subject until now; of a client also what it got for others."""
        now_ms = self._world.now_ms()
        client_id = subject.removeprefix(_CLIENT) if subject.startswith(_CLIENT) else None
        work = rows.revoke_of_subject(subject, client_id, why, until_ms=now_ms + self._longest_ms, now_ms=now_ms)
        await self._take_back(work, Event(EventName.SUBJECT_REVOKED, {"subject": subject, "why": why}))

    async def revoke_client(self, client_id: str, why: str) -> None:
        """Take back everything of a client until now."""
        await self.revoke_subject(client_subject(client_id), why)

    async def _take_back(self, work: Work[FeedEntry], event: Event) -> None:
        self._feed.apply_own(await self._database.run(work))
        await self._audit.record_durably(event)


def _require_own(client_id: str, owner: Client | None) -> None:
    if owner is not None and client_id != owner.client_id and ADMIN_SCOPE not in owner.scopes:
        raise UnauthorizedClient("the token is another client's")
