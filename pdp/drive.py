"""Bringing walks to their end: fetch what they need, give others their turn, stop at the deadline.

The only place in a query that waits for relationships.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pdp.errors import DeadlineExceeded
from pdp.graph import Graph, WithContextual
from pdp.ondemand import Fetcher, OnDemandGraph
from pdp.relationships import Relationship, Revision
from pdp.replica.keeper import ReplicaKeeper
from pdp.walk import Walk


@dataclass(frozen=True, slots=True)
class Driver:
    """One request's way to the relationships of one revision, with its contextual ones, until ``deadline``.

    ``deadline`` is a reading of the monotonic clock, in seconds.
    """

    fetcher: Fetcher
    loaded: OnDemandGraph
    graph: Graph
    revision: Revision
    deadline: float
    steps_a_turn: int

    async def finish(self, walk: Walk) -> None:
        """Run a walk until it has come to its end.

        Raises:
            DeadlineExceeded: it did not in time.
        """
        while not walk.run(self.graph, self.steps_a_turn):
            if walk.needs:
                await self.fetcher.load(self.loaded, self.revision, walk.needs)
            else:
                await asyncio.sleep(0)
            if time.monotonic() > self.deadline:
                raise DeadlineExceeded("the evaluation ran out of time before it knew the answer")


def driver(
    fetcher: Fetcher,
    keeper: ReplicaKeeper,
    revision: Revision,
    contextual: Sequence[Relationship],
    *,
    deadline: timedelta,
    steps_a_turn: int,
) -> Driver:
    """A driver over the replica where it keeps the revision, else over what is fetched on demand."""
    loaded = fetcher.graph(revision)
    graph: Graph = keeper.graph(revision) or loaded
    if contextual:
        graph = WithContextual(graph, contextual)
    return Driver(fetcher, loaded, graph, revision, time.monotonic() + deadline.total_seconds(), steps_a_turn)
