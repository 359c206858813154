"""The audit log: one event becomes a log line, a row in a chain that only grows, and a count.

Each process has a chain of its own. A row's hash is a MAC over its record and the hash before it, under a secret of
the installation: whoever can write to the database but does not have the key-encryption key can neither change a row
nor take one away unnoticed. At its start and every minute a chain records how far the others go, so that cutting the
end off one shows in another. Rows are written together, at latest a twentieth of a second after the event; who
needs to be sure waits for that.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from authn.clock import Millis, World, uuid7
from authn.errors import StoreUnavailable, TemporarilyUnavailable
from authn.events import REFUSALS, Event, EventName
from authn.metrics import AuthnMetrics
from authn.stores import audit as rows
from authn.stores.audit import EventRow
from authn.stores.statements import Database

FLUSH_AFTER_S = 0.05
BATCH_MAX = 1_000
WAITING_MAX = 50_000
"""With this many events unwritten no token is issued any more."""
REFUSALS_PER_S_MAX = 100
ANCHOR_EVERY_S = 60.0
_ANCHORED_CHAINS_MAX = 64
_RETRY_AFTER_S = 0.2
_VERIFY_PAGE = 1_000

LogLines = Callable[[bytes], object]


@dataclass(slots=True)
class _Waiting:
    """An event on its way."""

    at_ms: Millis
    event: Event
    written: "asyncio.Future[None] | None" = None


class AuditLog:
    """This process' chain.

    Args:
        key: the installation's secret for audit chains.
        log: takes log lines, as bytes with their line ends.
    """

    def __init__(self, database: Database, key: bytes, world: World, metrics: AuthnMetrics, log: LogLines) -> None:
        self._database = database
        self._key = key
        self._world = world
        self._counts = {name: metrics.events.labels(name.value) for name in EventName}
        self._log = log
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._writer: asyncio.Task[None] | None = None
        self._refusals_second = 0
        self._refusals = 0
        self._suppressed = 0
        self._number = 0
        self.chain = uuid7(world.now_ms(), world.random_bytes(10))
        self._hash = root_hash(key, self.chain)

    async def start(self) -> None:
        """Begin the chain."""
        await self._database.run(rows.start(self.chain, self._hash, self._world.now_ms()))
        await self._anchor(EventName.CHAIN_STARTED)
        self._writer = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write what is waiting and close the chain."""
        if self._writer is None:
            return
        self.record(Event(EventName.CHAIN_CLOSED))
        self._closing = True
        self._wake.set()
        await self._writer

    def record(self, event: Event) -> None:
        """Take an event; it is written soon."""
        now_ms = self._world.now_ms()
        self._counts[event.name].inc()
        if event.name in REFUSALS and self._is_too_many(now_ms):
            return
        self._waiting.append(_Waiting(now_ms, event))
        self._wake.set()

    async def record_durably(self, event: Event) -> None:
        """Take an event and return when it is written."""
        self._counts[event.name].inc()
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(self._world.now_ms(), event, written))
        self._wake.set()
        await written

    def require_room(self) -> None:
        """Refuse what could not be told of.

        Raises:
            TemporarilyUnavailable: too many events wait to be written.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise TemporarilyUnavailable("the audit log cannot be written")

    def _is_too_many(self, now_ms: Millis) -> bool:
        """Whether a refusal is one too many in its second. How many were left out is told afterwards."""
        second = now_ms // 1000
        if second != self._refusals_second:
            if self._suppressed:
                suppressed = Event(EventName.REFUSALS_SUPPRESSED, {"count": self._suppressed})
                self._waiting.append(_Waiting(now_ms, suppressed))
            self._refusals_second, self._refusals, self._suppressed = second, 0, 0
        self._refusals += 1
        if self._refusals > REFUSALS_PER_S_MAX:
            self._suppressed += 1
            return True
        return False

    async def _write(self) -> None:
        anchored_at_s = self._world.monotonic_s()
        while not (self._closing and not self._waiting):
            if not self._waiting:
                self._wake.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(ANCHOR_EVERY_S):
                        await self._wake.wait()
            if not self._closing and not any(waiting.written for waiting in self._waiting):
                await asyncio.sleep(FLUSH_AFTER_S)
            try:
                if self._world.monotonic_s() - anchored_at_s >= ANCHOR_EVERY_S:
                    anchored_at_s = self._world.monotonic_s()
                    await self._anchor(EventName.CHAIN_ANCHORED)
                if self._waiting:
                    await self._flush(self._waiting[:BATCH_MAX])
            except StoreUnavailable:
                if self._closing:
                    return
                await asyncio.sleep(_RETRY_AFTER_S)

    async def _anchor(self, name: EventName) -> None:
        """Record how far the other chains go."""
        others = await self._database.run(rows.recent(self.chain, _ANCHORED_CHAINS_MAX))
        heads = {other.chain: f"{other.head}:{other.head_hash.hex()}" for other in others}
        await self._flush([_Waiting(self._world.now_ms(), Event(name, {"heads": heads}))], waits=False)

    async def _flush(self, batch: Sequence[_Waiting], *, waits: bool = True) -> None:
        number, last_hash, events, lines = self._number, self._hash, [], []
        for waiting in batch:
            number += 1
            record = _record(self.chain, number, waiting)
            last_hash = next_hash(self._key, last_hash, record)
            name = waiting.event.name.value
            events.append(EventRow(number, waiting.at_ms, name, record.decode(), last_hash))
            lines.append(_line(waiting))
        closed = self._world.now_ms() if batch[-1].event.name is EventName.CHAIN_CLOSED else None
        if not await self._database.run(rows.append(self.chain, self._number, events, closed)):
            raise StoreUnavailable("this process' audit chain is gone from the database")
        self._number, self._hash = number, last_hash
        if waits:
            del self._waiting[: len(batch)]
        self._log(b"".join(lines))
        for waiting in batch:
            if waiting.written is not None and not waiting.written.done():
                waiting.written.set_result(None)


def root_hash(key: bytes, chain: str) -> bytes:
    """The hash before a chain's first event."""
    return hmac.new(key, b"tessera audit chain " + chain.encode(), hashlib.sha256).digest()


def next_hash(key: bytes, previous: bytes, record: bytes) -> bytes:
    """The hash of an event."""
    return hmac.digest(key, previous + record, "sha256")


def _record(chain: str, number: int, waiting: _Waiting) -> bytes:
    event = waiting.event
    return orjson.dumps(
        {"chain": chain, "number": number, "at_ms": waiting.at_ms, "name": event.name.value, "facts": event.facts}
    )


def _line(waiting: _Waiting) -> bytes:
    at = datetime.fromtimestamp(waiting.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    members: dict[str, Any] = {
        "event": waiting.event.name.value,
        "logger": "audit",
        "level": "info",
        "timestamp": at,
        **waiting.event.facts,
    }
    return orjson.dumps(members, option=orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class Verification:
    """What reading every chain again has shown."""

    chains: int
    events: int
    faults: Sequence[str]


async def verify_audit(database: Database, key: bytes) -> Verification:
    """Hold every chain against its hashes and against what other chains recorded of it."""
    faults: list[str] = []
    count = 0
    chains = await database.run(rows.chains())
    anchors: dict[str, dict[int, str]] = {}
    for chain in chains:
        for name in (EventName.CHAIN_STARTED, EventName.CHAIN_ANCHORED):
            for record in await database.run(rows.named(chain.chain, name.value)):
                _collect(record, anchors)
    for chain in chains:
        checked, fault = await _verify_chain(database, key, chain, anchors.pop(chain.chain, {}))
        count += checked
        if fault is not None:
            faults.append(f"chain {chain.chain}: {fault}")
    faults += [f"chain {missing}: is gone, and others tell of it" for missing in anchors]
    return Verification(len(chains), count, faults)


def _collect(record: str, anchors: dict[str, dict[int, str]]) -> None:
    heads: Mapping[str, str] = orjson.loads(record)["facts"].get("heads", {})
    for chain, head in heads.items():
        number, _, digest = head.partition(":")
        anchors.setdefault(chain, {})[int(number)] = digest


async def _verify_chain(
    database: Database, key: bytes, chain: rows.ChainRow, anchors: Mapping[int, str]
) -> tuple[int, str | None]:
    """How many events are as they were written, and what is wrong with the next one."""
    number, last_hash = 0, root_hash(key, chain.chain)
    while page := await database.run(rows.events(chain.chain, number, _VERIFY_PAGE)):
        for found, record, stored in page:
            if found != number + 1:
                return number, f"event {number + 1} is missing"
            last_hash = next_hash(key, last_hash, record.encode())
            if not hmac.compare_digest(last_hash, stored):
                return number, f"event {found} is not as it was written"
            number = found
            if anchors.get(number, last_hash.hex()) != last_hash.hex():
                return number, f"event {number} is not the one that another chain recorded"
    if (chain.head, chain.head_hash) != (number, last_hash):
        return number, f"it goes to event {chain.head} and ends at {number}"
    if any(known > number for known in anchors):
        return number, f"another chain recorded event {max(anchors)} and it ends at {number}"
    return number, None
