"""The key sets that clients publish at their ``jwks_uri``: fetched when needed, kept, and not asked for too often.

A set is fetched anew when it has aged, or when an unknown key id turns up, but not twice within a minute, whatever
is sent to us. While its server is out of reach the one kept is used for a while longer.
"""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from authn.cache import BoundedCache
from authn.clients.assertion import candidates
from authn.clients.metadata import KEYS_MAX
from authn.clock import World
from authn.errors import AuthnError, MalformedJose
from authn.jose import Jws, VerifyKey, loads_object
from authn.jwk import verify_key

KEEP_S = 600.0
"""After this a set is fetched again before it is believed."""
REFETCH_AFTER_S = 60.0
"""How long an unknown key id, or a failure, waits until the set is fetched again."""
_SETS_MAX = 1_000


class KeySetUnavailable(AuthnError):
    """A client's key set could not be had; the message is for the log."""


class Fetch(Protocol):
    """Gets the bytes behind a URL."""

    async def __call__(self, url: str) -> bytes:
        """Raises `KeySetUnavailable`."""
        ...


@dataclass(slots=True)
class _Kept:
    keys: tuple[VerifyKey, ...]
    fetched_at_s: float
    asked_at_s: float


class KeySets:
    """The key sets of clients by URL."""

    def __init__(self, fetch: Fetch, world: World) -> None:
        self._fetch = fetch
        self._world = world
        self._kept: BoundedCache[str, _Kept] = BoundedCache(_SETS_MAX)
        self._locks: BoundedCache[str, asyncio.Lock] = BoundedCache(_SETS_MAX)

    async def keys_for(self, url: str, jws: Jws) -> tuple[VerifyKey, ...]:
        """The keys of a set, fetched again if the one that signed ``jws`` is not among those kept.

        Raises:
            KeySetUnavailable: there is none kept that may still be used, and none could be had.
        """
        kept = self._kept.get(url)
        if kept is not None and not self._should_ask(kept, jws):
            return kept.keys
        lock = self._locks.get(url)
        if lock is None:
            lock = asyncio.Lock()
            self._locks.put(url, lock)
        async with lock:
            kept = self._kept.get(url)
            if kept is not None and not self._should_ask(kept, jws):
                return kept.keys
            return await self._refresh(url, kept)

    def _should_ask(self, kept: _Kept, jws: Jws) -> bool:
        now_s = self._world.monotonic_s()
        if now_s - kept.asked_at_s < REFETCH_AFTER_S:
            return False
        return now_s - kept.fetched_at_s > KEEP_S or not candidates(jws, kept.keys)

    async def _refresh(self, url: str, kept: _Kept | None) -> tuple[VerifyKey, ...]:
        now_s = self._world.monotonic_s()
        try:
            keys = read_key_set(await self._fetch(url))
        except KeySetUnavailable:
            if kept is None:
                kept = _Kept((), -math.inf, now_s)
                self._kept.put(url, kept)
            kept.asked_at_s = now_s
            if now_s - kept.fetched_at_s > 2 * KEEP_S:
                raise
            return kept.keys
        self._kept.put(url, _Kept(keys, now_s, now_s))
        return keys


def read_key_set(data: bytes) -> tuple[VerifyKey, ...]:
    """The usable keys of a key set; those of other kinds are passed over (RFC 7517, section 5).

    Raises:
        KeySetUnavailable: it is no key set, or a large one.
    """
    try:
        keys = loads_object(data).get("keys")
    except MalformedJose as error:
        raise KeySetUnavailable("the key set is not JSON") from error
    if not isinstance(keys, list) or len(keys) > KEYS_MAX:
        raise KeySetUnavailable(f"the key set has no `keys`, or more than {KEYS_MAX}")
    return tuple(_usable(keys))


def _usable(keys: Iterable[Any]) -> Iterable[VerifyKey]:
    for jwk in keys:
        if isinstance(jwk, dict):
            try:
                yield verify_key(jwk)
            except MalformedJose:
                continue
