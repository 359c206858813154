"""What is kept on demand is what the store would say, at every revision, whatever changed meanwhile."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.changes import ChangeWindow, dependency
from pdp.errors import StoreUnavailable
from pdp.ondemand import Fetcher, ReadCache
from pdp.relationships import Instant, ObjectRef, Relationship, Revision, SubjectRef
from pdp.stores.protocol import Found, Read, ResourcesRead, SubjectsRead, Transaction
from schema.model import Schema
from tests import strategies
from tests.pdp.test_replica import History, transactions
from tests.rationed import RationedGraph
from tests.strategies import examples


class Stored:
    """A store that answers reads from a history, and counts how often it is asked."""

    def __init__(self, history: History) -> None:
        self._graphs = [
            RationedGraph(strategies.written(history[:revision]), loaded=1.0) for revision in range(len(history) + 1)
        ]
        self.asked: list[Sequence[Read]] = []
        self.failing = False

    async def fetch(self, at: Revision, reads: Sequence[Read]) -> list[Sequence[Found]]:
        """See `pdp.stores.protocol.RelationshipStore`."""
        await asyncio.sleep(0)
        self.asked.append(reads)
        if self.failing:
            raise StoreUnavailable("gone")
        return [self._graphs[at].get(read) or () for read in reads]


def fetcher(store: Any) -> Fetcher:
    """A fetcher over it."""
    return Fetcher(store)


@st.composite
def uses(draw: st.DrawFn) -> tuple[Schema, History, list[tuple[str, int, int]]]:
    """A history, and what is done between its transactions: apply the next, or read something."""
    schema = draw(strategies.schemas())
    history = draw(strategies.histories(schema))
    step = st.one_of(
        st.tuples(st.just("apply"), st.just(0), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 10_000), st.integers(0, 10)),
    )
    return schema, history, draw(st.lists(step, max_size=40))


@examples(200)
@given(uses(), st.integers(1, 6))
def test_the_cache_tells_what_the_store_tells(
    use: tuple[Schema, History, list[tuple[str, int, int]]], found_max: int
) -> None:
    """Reads at old and new revisions, between changes, in a cache that has to forget."""
    schema, history, steps = use
    changelog = transactions(history, 0)
    reads: list[Read] = []
    for resource, relation in strategies.resources(schema):
        for subject in strategies.subjects(schema):
            reads.append(SubjectsRead(resource, relation, subject.type, subject.relation))
            reads.append(SubjectsRead(resource, relation, subject.type, subject.relation, (subject.id,)))
            reads.append(ResourcesRead(subject, resource.type, relation))
    graphs = [RationedGraph(strategies.written(history[:n]), loaded=1.0) for n in range(len(history) + 1)]
    window = ChangeWindow(changes_max=found_max)
    cache = ReadCache(window, found_max)
    applied = 0
    for kind, number, back in steps:
        if kind == "apply" and applied < len(history):
            window.apply(changelog[applied : applied + 1])
            applied += 1
        elif kind == "read" and reads:
            read, at = reads[number % len(reads)], max(0, applied - back)
            truth = graphs[at].get(read) or ()
            kept = cache.get(read, Revision(at))
            assert kept is None or sorted(kept) == sorted(truth)
            cache.put(read, Revision(at), truth)


READ = SubjectsRead(ObjectRef("doc", "d"), "viewer", "user")
OTHER = SubjectsRead(ObjectRef("doc", "e"), "viewer", "user")


def change(revision: int, resource_id: str) -> Transaction:
    """A relationship written on a document."""
    return Transaction(
        Revision(revision), Instant(0), [Relationship("doc", resource_id, "viewer", "user", f"u{revision}")]
    )


def test_an_entry_survives_unrelated_changes_and_no_others() -> None:
    """A change elsewhere leaves it; a change of what it rests on does not."""
    window = ChangeWindow()
    cache = ReadCache(window)
    cache.put(READ, Revision(0), [Found("ann")])
    window.apply([change(1, "e")])
    assert cache.get(READ, Revision(1)) == [Found("ann")]
    window.apply([change(2, "d")])
    assert cache.get(READ, Revision(2)) is None
    assert cache.get(READ, Revision(1)) is None


def test_an_answer_read_before_a_change_is_not_kept_after_it() -> None:
    """A fetch that was under way while its relationships changed is no entry."""
    window = ChangeWindow()
    cache = ReadCache(window)
    window.apply([change(1, "d")])
    cache.put(READ, Revision(0), [])
    assert cache.get(READ, Revision(1)) is None


def test_an_entry_older_than_the_window_is_not_used() -> None:
    """What the window does not reach back to cannot be vouched for."""
    window = ChangeWindow(changes_max=2)
    cache = ReadCache(window)
    cache.put(READ, Revision(0), [Found("ann")])
    window.apply([change(1, "e"), change(2, "f")])
    assert cache.get(READ, Revision(2)) is None


def test_an_entry_does_not_answer_for_before_it_was_read() -> None:
    """An older snapshot may have been different."""
    cache = ReadCache(ChangeWindow())
    cache.put(READ, Revision(3), [Found("ann")])
    assert cache.get(READ, Revision(2)) is None


def test_window_names_both_directions() -> None:
    """A written relationship touches the read of its resource and the read of its subject."""
    window = ChangeWindow()
    window.apply([change(1, "d")])
    reverse = ResourcesRead(SubjectRef("user", "u1"), "doc", "viewer")
    assert not window.unchanged([dependency(READ)], Revision(0))
    assert not window.unchanged([dependency(reverse)], Revision(0))
    assert window.unchanged([dependency(OTHER), dependency(READ)], Revision(1))


async def test_concurrent_requests_share_a_round_trip() -> None:
    """What ten requests ask in one turn of the loop is fetched together, each read once."""
    store = Stored([])
    fetching = fetcher(store)
    graphs = [fetching.graph(Revision(0)) for _ in range(10)]
    reads = [[READ, SubjectsRead(ObjectRef("doc", f"d{n}"), "viewer", "user")] for n in range(10)]
    await asyncio.gather(*(fetching.load(g, Revision(0), r) for g, r in zip(graphs, reads, strict=True)))
    assert fetching.round_trips == len(store.asked) == 1
    assert len(store.asked[0]) == 11
    assert all(graph.get(READ) is not None for graph in graphs)


async def test_a_read_under_way_is_not_repeated() -> None:
    """A request that comes while another one's read is under way waits for that."""
    store = Stored([])
    fetching = fetcher(store)
    first, second = fetching.graph(Revision(0)), fetching.graph(Revision(0))
    loading = asyncio.create_task(fetching.load(first, Revision(0), [READ]))
    await asyncio.sleep(0)
    await fetching.load(second, Revision(0), [READ])
    await loading
    assert len(store.asked) == 1


async def test_a_failed_fetch_leaves_nothing_behind() -> None:
    """Every waiting request is told, nothing is kept, and the next one asks again."""
    store = Stored([])
    store.failing = True
    fetching = fetcher(store)
    graphs = [fetching.graph(Revision(0)) for _ in range(2)]
    outcomes = await asyncio.gather(
        *(fetching.load(graph, Revision(0), [READ]) for graph in graphs), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, StoreUnavailable]
    store.failing = False
    await fetching.load(graphs[0], Revision(0), [READ])
    assert graphs[0].get(READ) == ()


@pytest.mark.parametrize("found_max", [1, 3, 10])
def test_the_cache_is_bounded(found_max: int) -> None:
    """The least recently used entries go first, and large answers are not kept at all."""
    cache = ReadCache(ChangeWindow(), found_max)
    for number in range(30):
        cache.put(SubjectsRead(ObjectRef("doc", str(number)), "viewer", "user"), Revision(0), [Found("ann")])
    assert len(cache) <= max(1, found_max // 2)
    cache.put(READ, Revision(0), [Found(str(n)) for n in range(found_max)])
    assert cache.get(READ, Revision(0)) is None
