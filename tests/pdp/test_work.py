"""An evaluation's work is linear in the goals and relationships that it meets, whatever their shape.

Each shape is evaluated at two sizes, one four times the other, and the times compared: linear work takes some four
times as long, quadratic sixteen. The bound between them leaves room for a noisy machine.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import pytest

from pdp.evaluate import Unknown
from pdp.program import compile_program
from pdp.relationships import Instant, ObjectRef, Relationship, SubjectRef
from schema.compile import compile_schema
from tests.oracle import HAS, LACKS, PARADOX, Verdict, conditional
from tests.rationed import RationedGraph, ask

GROWTH = 4
GROWTH_MAX = 9

SCHEMA = compile_schema("""
    caveat ask(inside bool) { inside }
    definition user {}
    definition group {
        relation member: user | user with ask | group#member | group#allowed
        relation banned: user | group#allowed | group#banned
        permission allowed = member - banned
    }
    definition folder {
        relation parent: folder
        relation viewer: user
        relation banned: user
        permission view = viewer + parent->view
        permission strict = viewer + parent->strict - banned
        permission every = viewer + parent.all(every)
    }
""")

ANN = SubjectRef("user", "ann")


class Shape(NamedTuple):
    """Relationships, the questions about ann, and the one answer to all of them."""

    stored: Sequence[Relationship]
    questions: Sequence[tuple[ObjectRef, str]]
    expected: Verdict


Build: TypeAlias = Callable[[int], Shape]


def group(id_: object, relation: str, subject: SubjectRef, caveat: str = "") -> Relationship:
    """A subject in a group's relation."""
    return Relationship("group", str(id_), relation, *subject, caveat_name=caveat)


def userset(id_: object, relation: str) -> SubjectRef:
    """A group's userset."""
    return SubjectRef("group", str(id_), relation)


def folders_in_a_row(permission: str) -> Build:
    """Each in the next, and the last one gives."""

    def build(size: int) -> Shape:
        stored = [Relationship("folder", str(i), "parent", "folder", str(i + 1)) for i in range(size)]
        stored.append(Relationship("folder", str(size), "viewer", *ANN))
        return Shape(stored, [(ObjectRef("folder", "0"), permission)], HAS)

    return build


def wide(size: int) -> Shape:
    """One group of many groups."""
    stored = [group("top", "member", userset(i, "member")) for i in range(size)] + [group(size - 1, "member", ANN)]
    return Shape(stored, [(ObjectRef("group", "top"), "member")], HAS)


def crowded(size: int) -> Shape:
    """Groups that all contain each other; ``size`` is their edges."""
    side = int(size**0.5)
    stored = [group(a, "member", userset(b, "member")) for a in range(side) for b in range(side)]
    return Shape(stored, [(ObjectRef("group", "0"), "member")], LACKS)


def bans_in_a_row(size: int) -> Shape:
    """Whoever is allowed in the next group is banned from this one."""
    stored = [group(i, "member", ANN) for i in range(size + 1)]
    stored += [group(i, "banned", userset(i + 1, "allowed")) for i in range(size)]
    return Shape(stored, [(ObjectRef("group", "0"), "allowed")], HAS if size % 2 == 0 else LACKS)


def bans_over_rings(size: int) -> Shape:
    """The same, each group's bans nested in themselves, so that no level is decided before the one below it."""
    shape = bans_in_a_row(size)
    rings = [group(i, "banned", userset(i, "banned")) for i in range(size)]
    return shape._replace(stored=[*shape.stored, *rings])


def bans_that_end_in_a_paradox(size: int) -> Shape:
    """The same again, the last group banning itself: the error names that cycle."""
    shape = bans_in_a_row(size)
    liar = group(size, "banned", userset(size, "allowed"))
    return Shape([*shape.stored, liar], shape.questions, PARADOX)


def many_questions(size: int) -> Shape:
    """One subject asked about many groups at once."""
    stored = [group(i, "member", ANN) for i in range(size)]
    return Shape(stored, [(ObjectRef("group", str(i)), "member") for i in range(size)], HAS)


def many_conditional_questions(size: int) -> Shape:
    """The same, with a parameter missing for each."""
    stored = [group(i, "member", ANN, "ask") for i in range(size)]
    return Shape(stored, [(ObjectRef("group", str(i)), "member") for i in range(size)], conditional("inside"))


def seconds(shape: Shape) -> float:
    """The best of three evaluations."""
    program, graph = compile_program(SCHEMA), RationedGraph(shape.stored, loaded=1.0)
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        answers = ask(
            program,
            graph,
            ANN,
            shape.questions,
            instant=Instant(0),
            judge=lambda _name, _context: Unknown(("inside",)),
        )
        taken.append(time.perf_counter() - started)
        assert {verdict for verdict, _ in answers} == {shape.expected}
    return min(taken)


@pytest.mark.parametrize(
    ("build", "size"),
    [
        pytest.param(folders_in_a_row("view"), 4_000, id="union through arrows"),
        pytest.param(folders_in_a_row("strict"), 4_000, id="exclusion through arrows"),
        pytest.param(folders_in_a_row("every"), 4_000, id="all through arrows"),
        pytest.param(wide, 4_000, id="one group of many"),
        pytest.param(crowded, 16_384, id="groups in each other"),
        pytest.param(bans_in_a_row, 2_000, id="bans in a row"),
        pytest.param(
            bans_over_rings,
            400,
            id="bans over rings",
        ),
        pytest.param(
            bans_that_end_in_a_paradox,
            400,
            id="bans that end in a paradox",
        ),
        pytest.param(
            many_questions,
            2_000,
            id="many questions at once",
        ),
        pytest.param(
            many_conditional_questions,
            300,
            id="many conditional questions at once",
        ),
    ],
)
def test_work_is_linear(build: Build, size: int) -> None:
    """Four times as much of the same takes some four times as long."""
    assert seconds(build(GROWTH * size)) < GROWTH_MAX * seconds(build(size))
