"""The graph on demand: what an evaluation needs is fetched, one round trip a level for all requests together.

What was fetched is kept in a bounded cache. An entry holds the revision it was read at, and is used only where the
changelog shows that nothing it rests on was changed since: so it answers every revision from its own to the newest
applied one, and unrelated writes leave it alone.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from pdp.changes import ChangeWindow, dependency
from pdp.errors import RevisionExpired
from pdp.follow import Follower, Listener
from pdp.relationships import Revision
from pdp.second_level import FinishedChecks, SecondLevel
from pdp.stores.protocol import Found, Read, RelationshipStore

_HISTORY_MAX = 5_000


class _Entry(NamedTuple):
    read_at: Revision
    found: Sequence[Found]


class ReadCache:
    """Answers of reads, the least recently used forgotten first.

    Bounded by what the entries hold: ``found_max`` relationships, an entry counting one more.
    """

    def __init__(self, window: ChangeWindow, found_max: int = 500_000) -> None:
        self._window = window
        self._found_max = found_max
        self._entries: OrderedDict[Read, _Entry] = OrderedDict()
        self._found = 0
        self.hits = 0
        self.misses = 0

    def get(self, read: Read, at: Revision) -> Sequence[Found] | None:
        """The answer at a revision that was applied."""
        entry = self._entries.get(read)
        if entry is None:
            self.misses += 1
            return None
        if not self._window.unchanged((dependency(read),), entry.read_at):
            self._forget(read)
            self.misses += 1
            return None
        if entry.read_at > at:
            self.misses += 1
            return None
        self._entries.move_to_end(read)
        self.hits += 1
        return entry.found

    def put(self, read: Read, at: Revision, found: Sequence[Found]) -> None:
        """Keep an answer, if it is still true."""
        if len(found) >= self._found_max or not self._window.unchanged((dependency(read),), at):
            return
        self._forget(read)
        self._entries[read] = _Entry(at, found)
        self._found += len(found) + 1
        while self._found > self._found_max:
            self._forget(next(iter(self._entries)))

    def _forget(self, read: Read) -> None:
        entry = self._entries.pop(read, None)
        if entry is not None:
            self._found -= len(entry.found) + 1

    def __len__(self) -> int:
        """How many reads are kept."""
        return len(self._entries)


class OnDemandGraph:
    """See `pdp.graph.Graph`: what the request fetched, and what the cache knows, at one revision."""

    def __init__(self, cache: ReadCache, revision: Revision) -> None:
        self._cache = cache
        self._revision = revision
        self._loaded: dict[Read, Sequence[Found]] = {}

    def get(self, read: Read) -> Sequence[Found] | None:
        """See `pdp.graph.Graph`."""
        found = self._loaded.get(read)
        if found is None:
            found = self._cache.get(read, self._revision)
            if found is not None:
                self._loaded[read] = found
        return found

    def put(self, read: Read, found: Sequence[Found]) -> None:
        """Keep a fetched answer for this request."""
        self._loaded[read] = found


class Fetcher:
    """Gathers the reads that requests at one revision ask for in one turn of the loop, and fetches them together.

    A read that is already under way at that revision is shared, not repeated.
    """

    def __init__(self, store: RelationshipStore, second_level: SecondLevel | None = None) -> None:
        self._store = store
        self._window = ChangeWindow(digest_secret=store.zookie_key if second_level is not None else None)
        self.cache = ReadCache(self._window)
        self.finished = FinishedChecks(second_level, store, self._window) if second_level is not None else None
        self._gathering: dict[Revision, asyncio.Task[dict[Read, Sequence[Found]]]] = {}
        self._wanted: dict[Revision, dict[Read, None]] = {}
        self._under_way: dict[tuple[Revision, Read], asyncio.Task[dict[Read, Sequence[Found]]]] = {}
        self.round_trips = 0

    async def start(self, follower: Follower) -> None:
        """Follow what changes, from what is applied on.

        With a second level what was changed lately is read too, so that entries of other processes can be used.
        """
        begun_at = follower.applied
        self._window.restart(begun_at)
        follower.listen(Listener(self._window.apply, self._window.restart))
        if self.finished is None:
            return
        since = Revision(max(0, begun_at - _HISTORY_MAX))
        with suppress(RevisionExpired):
            self._window.reach_back(await self._store.changes(since, _HISTORY_MAX), since)

    def graph(self, revision: Revision) -> OnDemandGraph:
        """A graph at a revision, for one request."""
        return OnDemandGraph(self.cache, revision)

    async def load(self, graph: OnDemandGraph, at: Revision, reads: Iterable[Read]) -> None:
        """Fetch the reads into a graph of that revision, in one round trip."""
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
        for read, task in waiting.items():
            graph.put(read, task.result()[read])

    async def _run(self, at: Revision) -> dict[Read, Sequence[Found]]:
        del self._gathering[at]
        reads = list(self._wanted.pop(at))
        self.round_trips += 1
        try:
            answers = dict(zip(reads, await self._store.fetch(at, reads), strict=True))
        finally:
            for read in reads:
                del self._under_way[at, read]
        for read, found in answers.items():
            self.cache.put(read, at, found)
        return answers
