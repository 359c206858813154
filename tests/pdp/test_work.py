"""A query's work is linear in the goals and relationships that it meets, whatever their shape.

Each shape is asked at two sizes, one four times the other, and the times compared: linear work takes some four times
as long, quadratic sixteen. Time is the processor's, and garbage is collected in between; the bound leaves room for
caches that are too small.
"""

import gc
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import pytest

from pdp.evaluate import Unknown
from pdp.lookup_resources import LookupResources
from pdp.lookup_subjects import LookupSubjects
from pdp.program import SubjectType, compile_program
from pdp.relationships import Instant, ObjectRef, Relationship, SubjectRef
from schema.compile import compile_schema
from tests.oracle import HAS, LACKS, PARADOX, Verdict, conditional
from tests.rationed import RationedGraph, ask, drive

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


def undecided(_name: str, _context: str) -> Unknown:
    """No caveat can be decided."""
    return Unknown(("inside",))


def best_of_three(work: Callable[[], None]) -> float:
    """Seconds of the processor's time, without the collector's."""
    taken = []
    for _ in range(3):
        gc.collect()
        gc.disable()
        started = time.thread_time()
        work()
        taken.append(time.thread_time() - started)
        gc.enable()
    return min(taken)


def check_seconds(shape: Shape) -> float:
    """For all questions of a shape together."""
    program, graph = compile_program(SCHEMA), RationedGraph(shape.stored, loaded=1.0)

    def work() -> None:
        answers = ask(program, graph, ANN, shape.questions, instant=Instant(0), judge=undecided)
        assert {verdict for verdict, _ in answers} == {shape.expected}

    return best_of_three(work)


@pytest.mark.parametrize(
    ("build", "size"),
    [
        pytest.param(folders_in_a_row("view"), 1_000, id="union through arrows"),
        pytest.param(folders_in_a_row("strict"), 1_000, id="exclusion through arrows"),
        pytest.param(folders_in_a_row("every"), 1_000, id="all through arrows"),
        pytest.param(wide, 1_000, id="one group of many"),
        pytest.param(crowded, 4_096, id="groups in each other"),
        pytest.param(bans_in_a_row, 500, id="bans in a row"),
        pytest.param(bans_over_rings, 300, id="bans over rings"),
        pytest.param(bans_that_end_in_a_paradox, 300, id="bans that end in a paradox"),
        pytest.param(many_questions, 1_000, id="many questions at once"),
        pytest.param(many_conditional_questions, 300, id="many conditional questions at once"),
    ],
)
def test_checks_are_linear(build: Build, size: int) -> None:
    """Four times as much of the same takes some four times as long."""
    assert check_seconds(build(GROWTH * size)) < GROWTH_MAX * check_seconds(build(size))


class List(NamedTuple):
    """Relationships, the resource or subject to list from, the permission, and how many it has."""

    stored: Sequence[Relationship]
    of: ObjectRef
    permission: str
    found: int


BuildList: TypeAlias = Callable[[int], List]


def user(number: int) -> SubjectRef:
    """One of many."""
    return SubjectRef("user", str(number))


def listed_subjects(asked: List) -> float:
    """Seconds to list the users who have the permission on a resource."""
    program, graph = compile_program(SCHEMA), RationedGraph(asked.stored, loaded=1.0)

    def work() -> None:
        walk = LookupSubjects(
            program,
            asked.of,
            asked.permission,
            SubjectType("user"),
            instant=Instant(0),
            judge=undecided,
            goals_max=10_000_000,
            reads_max=10_000_000,
        )
        drive(walk, graph)
        assert sum(1 for _ in walk.findings.after(None)) == asked.found

    return best_of_three(work)


def listed_resources(asked: List) -> float:
    """Seconds to list the objects, of the resource's type, on which ann has the permission."""
    program, graph = compile_program(SCHEMA), RationedGraph(asked.stored, loaded=1.0)

    def work() -> None:
        walk = LookupResources(
            program,
            asked.of.type,
            asked.permission,
            ANN,
            instant=Instant(0),
            judge=undecided,
            goals_max=10_000_000,
            reads_max=10_000_000,
        )
        drive(walk, graph)
        assert sum(1 for _ in walk.findings.after(None)) == asked.found

    return best_of_three(work)


TOP = ObjectRef("group", "top")


def members(size: int, permission: str = "member", caveat: str = "") -> List:
    """Many users in one group."""
    return List([group("top", "member", user(i), caveat) for i in range(size)], TOP, permission, size)


def half_banned(size: int) -> List:
    """The same, every other one banned."""
    stored = [group("top", "banned", user(i)) for i in range(0, size, 2)]
    return List([*members(size).stored, *stored], TOP, "allowed", size // 2)


def each_level_brings_one(size: int) -> List:
    """A chain of groups, each with a user of its own."""
    stored = [group(i, "member", userset(i + 1, "member")) for i in range(size)]
    return List(
        [*stored, *(group(i, "member", user(i)) for i in range(size))], ObjectRef("group", "0"), "member", size
    )


@pytest.mark.parametrize(
    ("build", "size"),
    [
        pytest.param(members, 3_000, id="one group of many"),
        pytest.param(partial(members, permission="allowed", caveat="ask"), 2_000, id="each under a condition"),
        pytest.param(half_banned, 2_000, id="less as many"),
        pytest.param(each_level_brings_one, 500, id="a chain of groups"),
    ],
)
def test_lookups_of_subjects_are_linear(build: BuildList, size: int) -> None:
    """In what there is and in what is found."""
    assert listed_subjects(build(GROWTH * size)) < GROWTH_MAX * listed_subjects(build(size))


def groups_of_ann(size: int, permission: str = "member", caveat: str = "") -> List:
    """One user in many groups."""
    return List([group(i, "member", ANN, caveat) for i in range(size)], TOP, permission, size)


def banned_from_half(size: int) -> List:
    """The same, banned from every other one."""
    stored = [group(i, "banned", ANN) for i in range(0, size, 2)]
    return List([*groups_of_ann(size).stored, *stored], TOP, "allowed", size // 2)


def folders_below(size: int, permission: str) -> List:
    """Every folder of a chain, from the one at its end."""
    return List(folders_in_a_row(permission)(size).stored, ObjectRef("folder", "0"), permission, size + 1)


@pytest.mark.parametrize(
    ("build", "size"),
    [
        pytest.param(groups_of_ann, 1_000, id="many groups"),
        pytest.param(partial(groups_of_ann, permission="allowed", caveat="ask"), 400, id="each under a condition"),
        pytest.param(banned_from_half, 500, id="less as many"),
        pytest.param(partial(folders_below, permission="view"), 400, id="a chain of folders"),
        pytest.param(partial(folders_below, permission="strict"), 400, id="a chain with exclusions"),
        pytest.param(partial(folders_below, permission="every"), 300, id="a chain of all"),
    ],
)
def test_lookups_of_resources_are_linear(build: BuildList, size: int) -> None:
    """In what there is and in what is found."""
    assert listed_resources(build(GROWTH * size)) < GROWTH_MAX * listed_resources(build(size))
