"""Following the feed: revocations and changes made anywhere take effect here within a second.

`Revocations` is what has been taken back, as plain values. `Feed` reads the database's feed a few times a second and
applies what is new, in order. How long ago it last succeeded is known, and whoever judges a token looks: a process
that has not heard from the database for more than a second asks first, or refuses (`authn.errors.NeedsStore`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from authn.clients.client import client_subject
from authn.clock import Millis, World
from authn.errors import InvalidToken, NeedsStore, StoreUnavailable
from authn.stores import feed as rows
from authn.stores.feed import FeedEntry
from authn.stores.statements import Database, Work
from authn.tokens.access import Caller

POLL_INTERVAL_S = 0.25
STALE_AFTER_S = 1.0
_PURGE_EVERY_S = 60.0


class Revocations:
    """What was taken back and could still be presented.

    Tokens, grants and sessions are revoked by their id. All that a subject or client has is revoked up to a position
    in the feed: a token carries the position that its issuer had reached, so the comparison needs no clock, and a
    token made meanwhile by a process that did not know yet is caught as well.
    """

    def __init__(self) -> None:
        self.version = 0
        self._tokens: dict[str, Millis] = {}
        self._grants: dict[str, Millis] = {}
        self._sessions: dict[str, Millis] = {}
        self._subjects: dict[str, tuple[int, Millis]] = {}

    def apply(self, entry: FeedEntry) -> None:
        """Take an entry in. Doing it twice is harmless."""
        expires_at_ms = entry.expires_at_ms
        match entry.kind:
            case rows.TOKEN:
                self._tokens[entry.value] = expires_at_ms
            case rows.GRANT:
                self._grants[entry.value] = expires_at_ms
            case rows.SESSION:
                self._sessions[entry.value] = expires_at_ms
            case rows.SUBJECT:
                known, _ = self._subjects.get(entry.value, (0, 0))
                self._subjects[entry.value] = max(known, entry.position), expires_at_ms
            case _:
                return
        self.version += 1

    def check(self, caller: Caller) -> None:
        """Refuse a token that was taken back.

        Raises:
            InvalidToken: it was.
        """
        if caller.jti in self._tokens or not self._tokens.keys().isdisjoint(caller.lineage):
            raise InvalidToken("revoked by its id, or exchanged from one that was")
        if caller.grant_id in self._grants:
            raise InvalidToken("of a grant that was revoked")
        if caller.session_id in self._sessions:
            raise InvalidToken("of a session that was ended")
        if self._subjects:
            for subject in (caller.subject, client_subject(caller.client_id), *caller.actors):
                if caller.epoch < self._subjects.get(subject, (0, 0))[0]:
                    raise InvalidToken("everything of its subject, client or actor was revoked")

    def purge(self, now_ms: Millis) -> None:
        """Forget what has expired anyway."""
        for kept in (self._tokens, self._grants, self._sessions):
            for value in [value for value, expires_at_ms in kept.items() if expires_at_ms <= now_ms]:
                del kept[value]
        for subject in [subject for subject, (_, expires) in self._subjects.items() if expires <= now_ms]:
            del self._subjects[subject]

    def __len__(self) -> int:
        return len(self._tokens) + len(self._grants) + len(self._sessions) + len(self._subjects)


class Feed:
    """Reads the feed and applies it.

    Args:
        on_client: a client changed. on_keys: the keys changed. on_reset: anything may have changed.
    """

    def __init__(
        self,
        database: Database,
        world: World,
        *,
        on_client: Callable[[str], None],
        on_keys: Callable[[], Awaitable[None]],
        on_reset: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._world = world
        self._on_client = on_client
        self._on_keys = on_keys
        self._on_reset = on_reset
        self._asking: asyncio.Task[None] | None = None
        self._fresh_at_s = -STALE_AFTER_S
        self._purged_at_s = world.monotonic_s()
        self.revocations = Revocations()
        self.position = 0

    async def start(self) -> None:
        """Take in everything that still counts.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        begun_s = self._world.monotonic_s()
        await self._reset()
        self._fresh_at_s = begun_s

    @property
    def age_s(self) -> float:
        """How long ago the database was last known to have nothing newer than what was applied."""
        return self._world.monotonic_s() - self._fresh_at_s

    def require_fresh(self) -> None:
        """Refuse to judge with what may be out of date.

        Raises:
            NeedsStore: it may be; `catch_up` and try again.
        """
        if self._world.monotonic_s() - self._fresh_at_s > STALE_AFTER_S:
            raise NeedsStore("the revocation feed has not been heard from for more than a second")

    async def catch_up(self) -> None:
        """Read the feed now; callers that come meanwhile share the next reading, not the present one.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        asking = self._asking
        if asking is not None and not asking.done():
            with suppress(StoreUnavailable):
                await asyncio.shield(asking)
            if self.age_s <= STALE_AFTER_S:
                return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self.poll())
            self._asking.add_done_callback(_look_at)
        await asyncio.shield(self._asking)

    async def poll(self) -> None:
        """Read and apply what is new.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        begun_s = self._world.monotonic_s()
        head, entries = await self._database.run(_news(self.position))
        if head < self.position:
            await self._reset()  # a backup was restored
        else:
            await self._take(entries)
            self.position = max(self.position, head)
        self._fresh_at_s = max(self._fresh_at_s, begun_s)
        if begun_s - self._purged_at_s > _PURGE_EVERY_S:
            self._purged_at_s = begun_s
            self.revocations.purge(self._world.now_ms())

    def apply_own(self, entry: FeedEntry) -> None:
        """What this process has just recorded counts here at once."""
        self.revocations.apply(entry)

    async def _take(self, entries: Sequence[FeedEntry]) -> None:
        keys_changed = False
        for entry in entries:
            if entry.kind == rows.CLIENT:
                self._on_client(entry.value)
            elif entry.kind == rows.KEYS:
                keys_changed = True
            else:
                self.revocations.apply(entry)
        if keys_changed:
            await self._on_keys()

    async def _reset(self) -> None:
        head, entries = await self._database.run(_everything())
        now_ms = self._world.now_ms()
        for entry in entries:
            if entry.expires_at_ms > now_ms:
                self.revocations.apply(entry)
        await self._on_reset()
        self.position = head


def _look_at(task: "asyncio.Task[None]") -> None:
    """Have the outcome looked at even when everybody who waited for it is gone."""
    if not task.cancelled():
        task.exception()


def _news(position: int) -> Work[tuple[int, Sequence[FeedEntry]]]:
    head = yield from rows.head()
    if head <= position:
        return head, ()
    return head, [entry for entry in (yield from rows.after(position)) if entry.position <= head]


def _everything() -> Work[tuple[int, Sequence[FeedEntry]]]:
    head = yield from rows.head()
    return head, [entry for entry in (yield from rows.after(0)) if entry.position <= head]
