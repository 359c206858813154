"""Keeping a store's replica: whether there is one, loading it, following the changelog, folding changes in.

There is a replica while the store fits its budget. Until it is loaded, and whenever there is none, answers come on
demand; the move in either direction is one assignment, so no answer is ever asked of a replica that is not whole.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from pdp.follow import Follower, Listener, SchemaVersion
from pdp.relationships import Instant, Revision
from pdp.replica.compact import Compaction
from pdp.replica.compiled import CompiledChecks
from pdp.replica.replica import Replica, ReplicaBuilder, ReplicaGraph
from pdp.stores.protocol import RelationshipStore, Transaction

_BYTES_A_RELATIONSHIP = 100
"""What one takes with its share of ids, generously; measured 55 on a code-hosting company's million."""
_RETRY_SECONDS = 5.0
_WATCH_SECONDS = 0.5
_TOO_LARGE_SECONDS = 30.0
_WINDOW_MICROS = 10 * 60 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """``bytes_max`` for one store, 0 for no replica; changes kept apart before they are folded into the arrays."""

    bytes_max: int = 1 << 30
    changes_max: int = 500_000


class ReplicaKeeper:
    """The replica of one store, if there is one. Everything but the building runs on the event loop."""

    def __init__(self, store: RelationshipStore, follower: Follower, settings: ReplicaSettings) -> None:
        self._store = store
        self._follower = follower
        self._settings = settings
        self.replica: Replica | None = None
        self._checks: CompiledChecks | None = None
        self._checked_schema: SchemaVersion | None = None
        # transactions that came while the replica was being loaded; None while none is
        self._pending: list[Transaction] | None = None
        self._marks: deque[tuple[Instant, Revision]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(component="replica", store=store.name)
        self.loads = 0
        self.compactions = 0

    def start(self) -> None:
        """Begin to keep it."""
        self._follower.listen(Listener(self._applied, self._lost))
        self._task = asyncio.create_task(self._keep(), name=f"replica of {self._store.name}")

    async def stop(self) -> None:
        """Stop keeping it."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def checks(self, schema: SchemaVersion, revision: Revision) -> CompiledChecks | None:
        """Compiled checks of that schema, where the replica stands exactly at the revision."""
        replica = self.replica
        if replica is None or replica.revision != revision:
            return None
        if self._checks is None or self._checked_schema is not schema:
            self._checks = CompiledChecks(schema.program, replica)
            self._checked_schema = schema
        return self._checks

    def graph(self, revision: Revision) -> ReplicaGraph | None:
        """The replica's graph, where it keeps the revision."""
        replica = self.replica
        if replica is None or not replica.base_revision <= revision <= replica.revision:
            return None
        return replica.at(revision)

    def _applied(self, transactions: Sequence[Transaction]) -> None:
        if self._pending is not None:
            self._pending.extend(transactions)
        if self.replica is None:
            return
        self.replica.apply(transactions)
        if self._checks is not None:
            self._checks.forget_changes(transactions)
        if transactions:
            self._marks.append((transactions[-1].committed_at, transactions[-1].revision))

    def _lost(self, revision: Revision) -> None:
        """What was loaded cannot be brought to the present: it is let go, and loaded again."""
        self._drop()
        self._pending = None

    async def _keep(self) -> None:
        while True:
            try:
                if self.replica is None:
                    if await self._fits():
                        await self._load()
                    else:
                        await asyncio.sleep(_TOO_LARGE_SECONDS)
                elif not self._small_enough():
                    self._drop()
                else:
                    await self._compact_when_due()
            except Exception as error:  # without a keeper, changes would pile up beside the arrays for ever
                self._log.warning("the replica cannot be kept", error=f"{type(error).__name__}: {error}")
                self._pending = None
                await asyncio.sleep(_RETRY_SECONDS)
            await asyncio.sleep(_WATCH_SECONDS)

    async def _fits(self) -> bool:
        if not self._settings.bytes_max:
            return False
        return await self._store.count() * _BYTES_A_RELATIONSHIP <= self._settings.bytes_max

    def _small_enough(self) -> bool:
        replica = self.replica
        return replica is None or replica.size_bytes() <= self._settings.bytes_max

    def _drop(self) -> None:
        self.replica = self._checks = self._checked_schema = None
        self._marks.clear()

    async def _load(self) -> None:
        self._pending = []
        revision = self._follower.applied
        builder = ReplicaBuilder(revision)
        async for rows in self._store.scan(revision):
            builder.add(rows)
            if builder.rows * _BYTES_A_RELATIONSHIP > 2 * self._settings.bytes_max:
                self._pending = None
                return
            await asyncio.sleep(0)
        self._take_over(await asyncio.to_thread(builder.build))

    def _take_over(self, replica: Replica) -> None:
        """Answer from a loaded replica, brought to the present; unless the changelog was lost meanwhile."""
        pending, self._pending = self._pending, None
        if pending is not None:
            replica.apply([t for t in pending if t.revision > replica.revision])
            self.replica = replica
            self.loads += 1

    async def _compact_when_due(self) -> None:
        replica = self.replica
        if replica is None or replica.changes < min(self._settings.changes_max, replica.base_rows // 10 + 10_000):
            return
        base = self._base_to_be(replica)
        if base <= replica.base_revision:
            return
        compaction = Compaction(replica, base)
        compaction.begin()
        await asyncio.to_thread(compaction.build)
        compaction.finish()
        self.compactions += 1
        while self._marks and self._marks[0][1] <= base:
            self._marks.popleft()
        if self._checks is not None and self._checked_schema is not None:
            self._checks = CompiledChecks(self._checked_schema.program, replica, self._checks)

    def _base_to_be(self, replica: Replica) -> Revision:
        """The newest revision that has left the window; with too many changes since, the newest of all."""
        if replica.changes > self._settings.changes_max:
            return replica.revision
        since = (self._marks[-1][0] if self._marks else Instant(0)) - _WINDOW_MICROS
        left = [revision for committed_at, revision in self._marks if committed_at < since]
        return left[-1] if left else replica.base_revision
