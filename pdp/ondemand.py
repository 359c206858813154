"""The graph on demand: what an evaluation needs is fetched, one round trip a level for all requests together."""

import asyncio
from collections.abc import Iterable, Sequence

from pdp.relationships import Revision
from pdp.stores.protocol import Found, Read, RelationshipStore


class Fetcher:
    """Gathers the reads that requests at one revision ask for in one turn of the loop, and fetches them together.

    A read that is already under way at that revision is shared, not repeated.
    """

    def __init__(self, store: RelationshipStore) -> None:
        self._store = store
        self._gathering: dict[Revision, asyncio.Task[dict[Read, Sequence[Found]]]] = {}
        self._wanted: dict[Revision, dict[Read, None]] = {}
        self._under_way: dict[tuple[Revision, Read], asyncio.Task[dict[Read, Sequence[Found]]]] = {}
        self.round_trips = 0

    async def fetch(self, at: Revision, reads: Iterable[Read]) -> dict[Read, Sequence[Found]]:
        """Answers for the reads, from the snapshot at that revision."""
        waiting: dict[Read, asyncio.Task[dict[Read, Sequence[Found]]]] = {}
        for read in reads:
            task = self._under_way.get((at, read))
            if task is None:
                task = self._gathering.get(at)
                if task is None:
                    self._wanted[at] = {}
                    task = self._gathering[at] = asyncio.create_task(self._run(at))
                self._wanted[at][read] = None
                self._under_way[at, read] = task
            waiting[read] = task
        for task in dict.fromkeys(waiting.values()):
            await asyncio.shield(task)
        return {read: task.result()[read] for read, task in waiting.items()}

    async def _run(self, at: Revision) -> dict[Read, Sequence[Found]]:
        del self._gathering[at]
        reads = list(self._wanted.pop(at))
        self.round_trips += 1
        try:
            return dict(zip(reads, await self._store.fetch(at, reads), strict=True))
        finally:
            for read in reads:
                del self._under_way[at, read]
