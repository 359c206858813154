"""The table's model is the well-founded one, whatever the order in which nodes and children come."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdp.table import NO, UNDECIDED, YES, Table

Graph = list[tuple[str, list[int]]]  # kind and children, by node


def well_founded(graph: Graph) -> list[int]:
    """The alternating fixpoint, taken literally: what is certain, given what is possible, until nothing changes."""

    def least(assumed_true: set[int], *, unknown: bool) -> set[int]:
        holds: set[int] = set()
        while True:
            more = {
                node
                for node, (kind, children) in enumerate(graph)
                if (kind == "any" and any(c in holds for c in children))
                or (kind == "all" and all(c in holds for c in children))
                or (kind == "not" and children[0] not in assumed_true)
                or (kind == "unknown" and unknown)
            }
            if more == holds:
                return holds
            holds = more

    certain: set[int] = set()
    while True:
        possible = least(certain, unknown=True)
        following = least(possible, unknown=False)
        if following == certain:
            return [YES if n in certain else UNDECIDED if n in possible else NO for n in range(len(graph))]
        certain = following


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    size = draw(st.integers(1, 9))
    nodes = st.integers(0, size - 1)
    graph: Graph = []
    for _ in range(size):
        kind = draw(st.sampled_from(["any", "any", "all", "all", "not", "unknown"]))
        many = {"not": (1, 1), "unknown": (0, 0)}.get(kind, (0, 4))
        graph.append((kind, draw(st.lists(nodes, min_size=many[0], max_size=many[1]))))
    return graph


def build(graph: Graph, attaching: list[tuple[int, int]]) -> tuple[Table[str], list[int]]:
    """Make the nodes, each behind an `any` so that a child may be named before it exists, then attach."""
    table: Table[str] = Table()
    fronts = [table.any() for _ in graph]
    bodies = []
    for node, (kind, children) in enumerate(graph):
        match kind:
            case "not":
                bodies.append(table.negation(fronts[children[0]]))
            case "unknown":
                bodies.append(table.unknown(f"u{node}"))
            case "any":
                bodies.append(table.any())
            case _:
                bodies.append(table.all())
    for node, position in attaching:
        table.attach(bodies[node], fronts[graph[node][1][position]])
    for node, (kind, _) in enumerate(graph):
        if kind in {"any", "all"}:
            table.release(bodies[node])
        table.attach(fronts[node], bodies[node])
        table.release(fronts[node])
    return table, fronts


@settings(max_examples=600, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_model_is_well_founded(graph: Graph, shuffled: object) -> None:
    """Every node, in every order of attaching, has the value that the definition gives it."""
    attaching = [(n, i) for n, (kind, c) in enumerate(graph) if kind in {"any", "all"} for i in range(len(c))]
    shuffled.shuffle(attaching)  # type: ignore[attr-defined]
    table, fronts = build(graph, attaching)
    table.settle()
    assert [table.state[front] for front in fronts] == well_founded(graph)


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_every_undecided_node_has_a_cause(graph: Graph) -> None:
    """A node without a value rests on an unknown that can be named, or on a cycle through a negation."""
    attaching = [(n, i) for n, (kind, c) in enumerate(graph) if kind in {"any", "all"} for i in range(len(c))]
    table, fronts = build(graph, attaching)
    table.settle()
    for front in fronts:
        if table.state[front] == UNDECIDED:
            reasons, cycle = table.causes(front)
            assert reasons or cycle


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        pytest.param([("any", [])], NO, id="any of nothing is false"),
        pytest.param([("all", [])], YES, id="all of nothing is true"),
        pytest.param([("any", [0])], NO, id="a node cannot support itself"),
        pytest.param([("all", [1]), ("any", [0])], NO, id="nor can two each other"),
        pytest.param([("not", [1]), ("any", [1])], YES, id="the negation of an unfounded node is true"),
        pytest.param([("not", [0])], UNDECIDED, id="a node that is its own negation has no value"),
        pytest.param([("any", [1, 2]), ("not", [1]), ("all", [])], YES, id="true beats a paradox"),
        pytest.param([("all", [1, 2]), ("not", [1]), ("any", [])], NO, id="false beats a paradox"),
        pytest.param([("any", [1, 2]), ("unknown", []), ("all", [])], YES, id="true beats unknown"),
        pytest.param([("not", [1]), ("unknown", [])], UNDECIDED, id="not unknown is unknown"),
        pytest.param([("not", [1]), ("not", [0])], UNDECIDED, id="two that deny each other"),
    ],
)
def test_model(graph: Graph, expected: int) -> None:
    """Known small models."""
    assert well_founded(graph)[0] == expected
    attaching = [(n, i) for n, (kind, c) in enumerate(graph) if kind in {"any", "all"} for i in range(len(c))]
    table, fronts = build(graph, attaching)
    table.settle()
    assert table.state[fronts[0]] == expected


def test_an_answer_is_there_before_all_is_explored() -> None:
    """One true child decides an any although another source is still to come; false likewise decides an all."""
    table: Table[str] = Table()
    any_, all_ = table.any(), table.all()
    table.attach(any_, Table.TRUE)
    table.attach(all_, Table.FALSE)
    assert (table.state[any_], table.state[all_]) == (YES, NO)


@pytest.mark.parametrize(("decided", "open_"), list(product(["any", "all"], [True, False])))
def test_a_held_node_waits(decided: str, open_: bool) -> None:
    """A node is not decided for lack of children while a source may still add some."""
    table: Table[str] = Table()
    node = table.any() if decided == "any" else table.all()
    if not open_:
        table.release(node)
    assert (table.state[node] == UNDECIDED) is open_


def test_causes_name_only_what_matters() -> None:
    """An unknown whose branch is decided is no cause."""
    table: Table[str] = Table()
    settled = table.any()
    table.attach(settled, table.unknown("spared"))
    table.attach(settled, Table.TRUE)
    table.release(settled)
    node = table.all()
    table.attach(node, settled)
    table.attach(node, table.unknown("wanted"))
    table.release(node)
    table.settle()
    assert table.causes(node) == (["wanted"], [])
