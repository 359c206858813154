"""What was used once, in Redis: quick, shared by all processes, and honest about having forgotten.

Redis may restart (with nothing, or with an old snapshot), be flushed, or be replaced by a replica that missed the
last writes. So a mark stands beside the keys which says since when they are complete and in which run of the server.
Every new connection compares the run; every use looks for the mark in the same atomic step. Where either is not as it
should be, memory begins anew, now. A Redis that may evict keys under pressure is not used for this at all.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import redis.asyncio as redis
from redis.exceptions import RedisError

from authn.clock import Millis, World
from authn.errors import BadConfiguration, StoreUnavailable
from authn.replay import MadeTooEarly

TIMEOUT_S = 2.0
CLOCKS_AGREE_MS = 1_000
"""How far the clocks of our own processes may be apart."""
_MARK = "tessera:authn:used:complete-since"
_PREFIX = b"tessera:authn:used:"
_FIRST_USE, _USED, _TOO_EARLY, _EMPTIED = 1, 0, -1, -2
_CONSUME = f"""
local mark = redis.call('GET', KEYS[2])
if not mark then return {_EMPTIED} end
if tonumber(ARGV[2]) < tonumber(string.match(mark, '%d+$')) then return {_TOO_EARLY} end
if redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[1]) then return {_FIRST_USE} end
return {_USED}
"""
_Info: TypeAlias = Mapping[str, str]


class _Connection(Protocol):
    """What is used of a `redis.asyncio.Connection` that is just being made."""

    async def on_connect(self) -> None: ...
    async def send_command(self, *args: Any) -> None: ...
    async def read_response(self) -> Any: ...


class EvictingRedis(BadConfiguration):
    """This Redis drops keys when it is full, so it cannot remember what was used."""


class RedisReplays:
    """See `authn.replay.ReplayStore`.

    Args:
        first_start: the installation has only just been made, so nothing can have been used before.
    """

    def __init__(self, url: str, world: World, *, first_start: bool = False) -> None:
        self._world = world
        self._first_start = first_start
        self._run = ""
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            redis_connect_func=self._attach,
            protocol=2,
        )
        self._consume = self._client.register_script(_CONSUME)

    async def start(self) -> None:
        """Look at the server.

        Raises:
            EvictingRedis: it cannot be used for this.
            StoreUnavailable: it does not answer.
        """
        try:
            await self._client.ping()
        except (RedisError, OSError) as error:
            raise StoreUnavailable("redis does not answer") from error

    async def consume(self, key: bytes, *, made_at_ms: Millis, good_until_ms: Millis) -> bool:
        """See `ReplayStore`."""
        life_ms = max(1, good_until_ms - self._world.now_ms() + CLOCKS_AGREE_MS)
        try:
            outcome = await self._consume(keys=[_PREFIX + key, _MARK], args=[life_ms, made_at_ms])
            if outcome == _EMPTIED:
                await self._client.set(_MARK, self._new_mark(self._run), nx=True)
        except (RedisError, OSError) as error:
            raise StoreUnavailable("redis does not answer") from error
        if outcome in {_EMPTIED, _TOO_EARLY}:
            raise MadeTooEarly("made before redis' memory begins")
        return bool(outcome == _FIRST_USE)

    async def close(self) -> None:
        """See `ReplayStore`."""
        await self._client.aclose()

    async def _attach(self, connection: _Connection) -> None:
        """Greet a new connection's server: hold its run against the mark."""
        await connection.on_connect()
        info = _parse_info(await _ask(connection, "INFO"))
        if info.get("maxmemory", "0") != "0" and info.get("maxmemory_policy") != "noeviction":
            raise EvictingRedis("redis evicts keys when it is full; `noeviction` is needed to remember what was used")
        self._run = run = info["run_id"]
        mark = await _ask(connection, "GET", _MARK)
        if mark is None or bytes(mark).split()[0].decode() != run:
            await _ask(connection, "SET", _MARK, self._new_mark(run))

    def _new_mark(self, run: str) -> str:
        since_ms = 0 if self._first_start else self._world.now_ms() + CLOCKS_AGREE_MS
        self._first_start = False
        return f"{run} {since_ms}"


async def _ask(connection: _Connection, *command: Any) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()


def _parse_info(text: bytes) -> _Info:
    pairs = (line.split(":", 1) for line in bytes(text).decode().splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}
