"""What may be used once: DPoP proofs and client assertions, each remembered until it would be too old anyway.

A store says of each key whether this is its first use, by one conditional write, so that of many processes asking at
once exactly one hears yes. A store that lost its memory says so: what was made before it last started may have been
used, and is refused. A store that cannot be reached refuses everything.
"""

from collections.abc import Callable
from typing import Protocol

from authn.clock import Millis, World
from authn.errors import AuthnError
from authn.stores import replays
from authn.stores.statements import Database

_PURGE_EVERY_MS = 30_000


class MadeTooEarly(AuthnError):
    """Made before the store of what was used last started, so it cannot be told from one that was used."""


class ReplayStore(Protocol):
    """Remembers what was used."""

    async def consume(self, key: bytes, *, made_at_ms: Millis, good_until_ms: Millis) -> bool:
        """Whether this is the first use of ``key``, which nothing accepts any more after ``good_until_ms``.

        Args:
            made_at_ms: the earliest instant at which the thing can have been made.

        Raises:
            MadeTooEarly: that is before the store's memory begins.
            StoreUnavailable: the store does not answer.
        """
        ...

    async def close(self) -> None:
        """Let go."""
        ...


class MemoryReplays:
    """For one process alone: a dictionary, whose memory begins with the process.

    Args:
        remembers_from_ms: nothing made before this instant is accepted.
    """

    def __init__(self, world: World, remembers_from_ms: Millis) -> None:
        self._world = world
        self._remembers_from_ms = remembers_from_ms
        self._used: dict[bytes, Millis] = {}
        self._purge_at_ms = 0

    async def consume(self, key: bytes, *, made_at_ms: Millis, good_until_ms: Millis) -> bool:
        """See `ReplayStore`."""
        if made_at_ms < self._remembers_from_ms:
            raise MadeTooEarly("made before this process started")
        now_ms = self._world.now_ms()
        if now_ms >= self._purge_at_ms:
            self._used = {used: until_ms for used, until_ms in self._used.items() if until_ms >= now_ms}
            self._purge_at_ms = now_ms + _PURGE_EVERY_MS
        if key in self._used:
            return False
        self._used[key] = good_until_ms
        return True

    async def close(self) -> None:
        """See `ReplayStore`."""


class DatabaseReplays:
    """In the database, which forgets nothing when it restarts."""

    def __init__(self, database: Database, now_ms: Callable[[], Millis]) -> None:
        self._database = database
        self._now_ms = now_ms
        self._purge_at_ms = 0

    async def consume(self, key: bytes, *, made_at_ms: Millis, good_until_ms: Millis) -> bool:
        """See `ReplayStore`."""
        del made_at_ms  # its memory has no beginning
        now_ms = self._now_ms()
        if now_ms >= self._purge_at_ms:
            self._purge_at_ms = now_ms + _PURGE_EVERY_MS
            await self._database.fetch(replays.PURGE, {"now_ms": now_ms - _PURGE_EVERY_MS})
        return bool(await self._database.fetch(replays.INSERT, {"key": key, "expires_at_ms": good_until_ms}))

    async def close(self) -> None:
        """See `ReplayStore`."""
