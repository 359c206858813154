"""What a query is while it runs: a walk over a graph that stops for what is not loaded, and for others' turn.

A walk is plain synchronous code. It goes on as far as the graph is loaded, collects every read that it lacks, and
may be resumed any number of times; whoever drives it fetches all of them in one round trip. `pdp.evaluate.Evaluation`
is one; the lookups are others, written as generators over `Walking`.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from typing import Protocol, TypeAlias, TypeVar

from pdp.errors import WorkExceeded
from pdp.graph import Graph
from pdp.stores.protocol import Found, Read

Result = TypeVar("Result")

Work: TypeAlias = Generator[int, None, Result]
"""Work in progress: yields what it has spent since the last time, in steps of a few microseconds."""


class Walk(Protocol):
    """See the module: `run` until it is True, fetching ``needs`` in between."""

    needs: dict[Read, None]
    steps_left: int

    def run(self, graph: Graph, steps_max: int = ...) -> bool:
        """Go on; True when there is nothing left to do.

        When it is False, ``needs`` holds what to fetch; empty, only the steps ran out. ``steps_left`` is what it
        left of them.
        """
        ...


class Walking(ABC):
    """A walk written as one generator, which yields its steps as it spends them."""

    def __init__(self, reads_max: int) -> None:
        self.needs: dict[Read, None] = {}
        self.steps_left = 0
        self.graph: Graph
        self._lacking: dict[Read, None] = {}
        self._reads_max = reads_max
        self.reads = 0
        self._work = self._walk()

    def run(self, graph: Graph, steps_max: int = 1_000_000) -> bool:
        """See `Walk`.

        Raises:
            WorkExceeded: more reads, or relationships read, than ``reads_max``.
        """
        self.graph = graph
        self.needs = {}
        self.steps_left = steps_max
        for spent in self._work:
            self.steps_left = max(self.steps_left - spent, 0)
            if self.needs or not self.steps_left:
                return False
        return True

    @abstractmethod
    def _walk(self) -> Work[None]:
        """The work, from beginning to end."""

    def read(self, read: Read) -> Sequence[Found] | None:
        """A read's answer; None where it is not loaded, which `wait` mends."""
        found = self.graph.get(read)
        if found is None:
            self._lacking[read] = None
            return None
        self.reads += len(found) + 1
        if self.reads > self._reads_max:
            raise WorkExceeded(f"more than {self._reads_max} relationships were read without an answer")
        return found

    def wait(self) -> Work[None]:
        """Go on when everything that was found to be lacking is loaded."""
        self.needs, self._lacking = self._lacking, {}
        yield 1

    def finish(self, walk: Walk, graph: Graph | None = None) -> Work[None]:
        """Do another walk's work within this one, over this one's graph or one that looks at it."""
        ended = False
        while not ended:
            before = max(self.steps_left, 1)
            ended = walk.run(graph or self.graph, before)
            self.needs = {} if ended else dict(walk.needs)
            yield before - walk.steps_left + 1


class Together:
    """Several walks over one graph at once: what they need is fetched in the same round trips."""

    def __init__(self, walks: Iterable[Walk]) -> None:
        self._ready = deque(walks)
        self._waiting: list[Walk] = []
        self.needs: dict[Read, None] = {}
        self.steps_left = 0

    def run(self, graph: Graph, steps_max: int = 1_000_000) -> bool:
        """See `Walk`. All of them go as far as they can before anything is fetched."""
        self.needs = {}
        self.steps_left = steps_max
        if not self._ready:
            self._ready.extend(self._waiting)
            self._waiting.clear()
        while self._ready:
            if not self.steps_left:
                return False
            walk = self._ready.popleft()
            ended = walk.run(graph, self.steps_left)
            self.steps_left = max(walk.steps_left - 1, 0)
            if ended:
                continue
            if walk.needs:
                self._waiting.append(walk)
            else:
                self._ready.appendleft(walk)
        for walk in self._waiting:
            self.needs.update(walk.needs)
        return not self._waiting
