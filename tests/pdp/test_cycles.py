"""Data in circles and data without end: exact answers, in work linear in what there is, at any depth.

Time bounds are a multiple of what a slow machine needs: they catch the exponential and the quadratic, not the slow.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from pdp.errors import NegationCycle, WorkExceeded
from pdp.evaluate import Evaluation, Permissionship, Unknown
from pdp.program import compile_program
from pdp.relationships import Instant, ObjectRef, Relationship, Revision, SubjectRef
from pdp.replica.compiled import CompiledChecks
from pdp.replica.replica import ReplicaBuilder
from schema.compile import compile_schema
from schema.model import Schema
from tests import notation
from tests.oracle import HAS, LACKS, PARADOX, Verdict
from tests.rationed import RationedGraph, ask

NOW = Instant(0)

GROUPS = compile_schema("""
    definition user {}
    definition group {
        relation member: user | group#member
        relation banned: user
        permission allowed = member - banned
    }
""")

FOLDERS = compile_schema("""
    definition user {}
    definition folder {
        relation parent: folder
        relation viewer: user
        relation banned: user
        permission view = viewer + parent->view
        permission needed = viewer & parent->needed
        permission strict = viewer + parent->strict - banned
        permission every = viewer + parent.all(every)
    }
""")

NEGATED = compile_schema("""
    definition user {}
    definition group {
        relation member: user | group#allowed
        relation banned: user | group#allowed
        permission allowed = member - banned
    }
""")

ANN, TOM = SubjectRef("user", "ann"), SubjectRef("user", "tom")


def never_judged(name: str, context: str) -> bool | Unknown:
    """No relationship here has a caveat."""
    raise AssertionError(f"{name} {context}")


def member(group: object, subject: SubjectRef) -> Relationship:
    """A subject in a group."""
    return Relationship("group", str(group), "member", *subject)


def nested(group: object, inner: object) -> Relationship:
    """A group's members in another."""
    return member(group, SubjectRef("group", str(inner), "member"))


def below(folder: object, parent: object) -> Relationship:
    """A folder in another."""
    return Relationship("folder", str(folder), "parent", "folder", str(parent))


def viewer(folder: object, subject: SubjectRef) -> Relationship:
    """A subject that may view a folder."""
    return Relationship("folder", str(folder), "viewer", *subject)


def check(schema: Schema, stored: Sequence[Relationship], question: str) -> tuple[Verdict, int]:
    """The engine's verdict over a graph that is loaded level by level, and how many fetches it took."""
    graph = RationedGraph(stored, share=1.0)
    resource, relation, subject = notation.question(question)
    ((verdict, _),) = ask(
        compile_program(schema), graph, subject, [(resource, relation)], instant=NOW, judge=never_judged
    )
    return verdict, graph.fetches


def compiled(schema: Schema, stored: Sequence[Relationship]) -> CompiledChecks:
    """Compiled checks over a replica."""
    builder = ReplicaBuilder(Revision(1))
    builder.add(stored)
    return CompiledChecks(compile_program(schema), builder.build())


GENEROUS_SECONDS = 60
"""What linear work never takes, on the slowest machine, and what work that explodes always does."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail when the block takes more of the processor's time."""
    started = time.thread_time()
    yield
    taken = time.thread_time() - started
    assert taken < seconds, f"took {taken:.2f} s"


# Positive cycles


@pytest.mark.parametrize("groups", [2, 10, 300])
def test_groups_that_all_contain_each_other(groups: int) -> None:
    """A complete digraph has one path a group, not one a way to walk it."""
    stored = [nested(a, b) for a in range(groups) for b in range(groups) if a != b]
    stored.append(member(groups - 1, ANN))
    with within(GENEROUS_SECONDS):
        assert check(GROUPS, stored, "group:0#member@user:ann")[0] == HAS
        assert check(GROUPS, stored, "group:0#member@user:tom")[0] == LACKS
        assert check(GROUPS, stored, "group:0#allowed@user:ann")[0] == HAS


def test_a_complete_digraph_asked_for_every_group_at_once() -> None:
    """The questions share the table: the work is that of the edges."""
    groups = 300
    stored = [nested(a, b) for a in range(groups) for b in range(groups) if a != b] + [member(7, ANN)]
    questions = [(ObjectRef("group", str(group)), "member") for group in range(groups)]
    graph = RationedGraph(stored, loaded=1.0)
    with within(GENEROUS_SECONDS):
        answers = ask(compile_program(GROUPS), graph, ANN, questions, instant=NOW, judge=never_judged)
    assert {verdict for verdict, _ in answers} == {HAS}


@pytest.mark.parametrize("closed", [False, True], ids=["chain", "ring"])
def test_ten_thousand_groups_in_a_row(closed: bool) -> None:
    """No depth turns an answer into an error, and the fetches are as many as the levels."""
    levels = 10_000
    stored = [nested(level, level + 1) for level in range(levels - 1)] + [member(levels - 1, ANN)]
    if closed:
        stored.append(nested(levels - 1, 0))
    with within(GENEROUS_SECONDS):
        verdict, fetches = check(GROUPS, stored, "group:0#member@user:ann")
        assert (verdict, fetches <= levels) == (HAS, True)
        verdict, fetches = check(GROUPS, stored, "group:0#member@user:tom")
        assert (verdict, fetches <= levels) == (LACKS, True)


@pytest.mark.parametrize("closed", [False, True], ids=["chain", "ring"])
@pytest.mark.parametrize("permission", ["view", "needed", "strict", "every"])
def test_ten_thousand_folders_in_a_row(permission: str, closed: bool) -> None:
    """Through arrows, also where every level must agree or may refuse."""
    levels = 10_000
    stored = [below(level, level + 1) for level in range(levels - 1)] + [viewer(levels - 1, ANN)]
    if closed:
        stored.append(below(levels - 1, 0))
    has = LACKS if permission == "needed" else HAS
    graph = RationedGraph(stored, loaded=1.0)
    program = compile_program(FOLDERS)
    with within(GENEROUS_SECONDS):
        for subject, expected in ((ANN, has), (TOM, LACKS)):
            question = [(ObjectRef("folder", "0"), permission)]
            ((verdict, _),) = ask(program, graph, subject, question, instant=NOW, judge=never_judged)
            assert verdict == expected


def test_a_tree_of_groups() -> None:
    """A thousand leaves at the end of a thousand levels, each level with a branch that ends at once."""
    depth, leaves = 1_000, 1_000
    stored = [nested(level, level + 1) for level in range(depth)]
    stored += [nested(level, f"end{level}") for level in range(depth)]
    stored += [nested(depth, f"leaf{leaf}") for leaf in range(leaves)] + [member(f"leaf{leaves - 1}", ANN)]
    with within(GENEROUS_SECONDS):
        assert check(GROUPS, stored, "group:0#member@user:ann")[0] == HAS
        assert check(GROUPS, stored, "group:0#member@user:tom")[0] == LACKS
        assert check(GROUPS, stored, "group:end5#member@user:ann")[0] == LACKS


def test_a_ladder_has_two_to_the_power_of_its_rungs_paths() -> None:
    """Each goal is opened once however many ways lead to it."""
    rungs = 200
    stored = [
        below(f"{side}{rung}", f"{other}{rung + 1}") for rung in range(rungs) for side in "lr" for other in "lr"
    ]
    stored.append(viewer(f"l{rungs}", ANN))
    with within(GENEROUS_SECONDS):
        for permission in ("view", "strict"):
            assert check(FOLDERS, stored, f"folder:l0#{permission}@user:ann")[0] == HAS
            assert check(FOLDERS, stored, f"folder:r0#{permission}@user:tom")[0] == LACKS


@pytest.mark.parametrize("closed", [False, True], ids=["chain", "ring"])
def test_compiled_checks_go_as_deep(closed: bool) -> None:
    """The compiled walk and the memberships know no depth either."""
    levels = 10_000
    stored = [nested(level, level + 1) for level in range(levels - 1)] + [member(levels - 1, ANN)]
    stored += [below(level, level + 1) for level in range(levels - 1)] + [viewer(levels - 1, ANN)]
    if closed:
        stored += [nested(levels - 1, 0), below(levels - 1, 0)]
    with within(GENEROUS_SECONDS):
        groups, folders = compiled(GROUPS, stored), compiled(FOLDERS, stored)
        for name, expected in (("ann", True), ("tom", False)):
            assert groups.check("group", "0", "member", "user", name) is expected
            assert groups.check("group", "0", "allowed", "user", name) is expected
            assert folders.check("folder", "0", "view", "user", name) is expected


def test_compiled_checks_of_groups_that_all_contain_each_other() -> None:
    """And the complete digraph is one component to them."""
    groups = 300
    stored = [nested(a, b) for a in range(groups) for b in range(groups) if a != b] + [member(7, ANN)]
    checks = compiled(GROUPS, stored)
    with within(GENEROUS_SECONDS):
        assert all(checks.check("group", str(group), "member", "user", "ann") for group in range(groups))
        assert not any(checks.check("group", str(group), "member", "user", "tom") for group in range(groups))


# Cycles through a negation


def banned(group: object, other: object) -> Relationship:
    """Whoever is allowed in one group is banned from another."""
    return Relationship("group", str(group), "banned", "group", str(other), "allowed")


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 1_000, 1_001])
def test_a_ring_of_bans_is_a_paradox_for_whoever_is_in_all_of_it(length: int) -> None:
    """Round a ring of any length, even or odd: the well-founded model decides none of it."""
    stored = [banned(group, (group + 1) % length) for group in range(length)]
    stored += [member(group, ANN) for group in range(length)] + [member(0, TOM)]
    assert check(NEGATED, stored, "group:0#allowed@user:ann")[0] == PARADOX
    expected = HAS if length > 1 else PARADOX
    assert check(NEGATED, stored, "group:0#allowed@user:tom")[0] == expected


def test_a_chain_of_bans_alternates() -> None:
    """With an end there is no paradox: every other group is allowed, ten thousand bans deep."""
    length = 10_000
    stored = [banned(group, group + 1) for group in range(length)]
    stored += [member(group, ANN) for group in range(length + 1)]
    with within(GENEROUS_SECONDS):
        assert check(NEGATED, stored, f"group:{length}#allowed@user:ann")[0] == HAS
        assert check(NEGATED, stored, "group:1#allowed@user:ann")[0] == LACKS
        assert check(NEGATED, stored, "group:0#allowed@user:ann")[0] == HAS


LIAR = """
    group:liar#member@user:ann
    group:liar#member@user:tom
    group:liar#banned@group:liar#allowed
    group:liar#banned@user:tom
    group:safe#member@group:liar#allowed
    group:safe#member@user:sue
    group:barred#member@group:liar#allowed
    group:barred#banned@user:ann
"""


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        pytest.param("group:liar#allowed@user:ann", PARADOX, id="in the ring"),
        pytest.param("group:safe#member@user:ann", PARADOX, id="behind it"),
        pytest.param("group:liar#member@user:ann", HAS, id="beside it"),
        pytest.param("group:liar#allowed@user:tom", LACKS, id="decided by another ban"),
        pytest.param("group:safe#allowed@user:sue", HAS, id="decided by another way in"),
        pytest.param("group:barred#allowed@user:ann", LACKS, id="subtracted whatever it is"),
        pytest.param("group:liar#allowed@user:kim", LACKS, id="not a member at all"),
        pytest.param("group:liar#allowed@group:liar#allowed", HAS, id="the set itself"),
    ],
)
def test_a_paradox_is_an_error_only_where_the_answer_depends_on_it(question: str, expected: Verdict) -> None:
    """Everywhere else the answer is what the rest decides."""
    assert check(NEGATED, notation.relationships(LIAR), question)[0] == expected


def evaluated(stored: Sequence[Relationship], question: str) -> tuple[Evaluation, int]:
    """An evaluation of one question, run to its end."""
    resource, relation, subject = notation.question(question)
    evaluation = Evaluation(compile_program(NEGATED), subject, instant=NOW, judge=never_judged)
    node = evaluation.ask(resource, relation)
    assert evaluation.run(RationedGraph(stored, loaded=1.0))
    return evaluation, node


def test_the_error_names_the_cycle_and_nothing_beside_it() -> None:
    """Every group of the ring; who merely leads there is left out."""
    stored = notation.relationships("""
        group:outer#member@group:x#allowed
        group:x#member@user:ann
        group:x#banned@group:y#allowed
        group:y#member@user:ann
        group:y#banned@group:z#allowed
        group:z#member@user:ann
        group:z#banned@group:x#allowed
        group:far#member@user:ann
    """)
    evaluation, node = evaluated(stored, "group:outer#member@user:ann")
    with pytest.raises(NegationCycle, match="depends on its own negation") as refused:
        evaluation.answer(node)
    cycle = refused.value.cycle
    named = [goal for goal in cycle if goal.endswith("#allowed")]
    assert set(named) == {"group:x#allowed", "group:y#allowed", "group:z#allowed"}
    assert not any("outer" in goal or "far" in goal for goal in cycle)


def test_only_the_questions_in_a_cycle_are_refused() -> None:
    """Questions asked together fail apart."""
    stored = notation.relationships(LIAR)
    evaluation = Evaluation(compile_program(NEGATED), ANN, instant=NOW, judge=never_judged)
    liar, plain = (evaluation.ask(ObjectRef("group", "liar"), name) for name in ("allowed", "member"))
    assert evaluation.run(RationedGraph(stored, loaded=1.0))
    assert evaluation.answer(plain).permissionship is Permissionship.HAS_PERMISSION
    with pytest.raises(NegationCycle):
        evaluation.answer(liar)


# Bounds


@pytest.mark.parametrize("goals_max", [1, 5, 99])
def test_too_much_work_is_an_error_and_never_a_no(goals_max: int) -> None:
    """A chain longer than the bound on goals is refused."""
    stored = [nested(level, level + 1) for level in range(100)] + [member(100, ANN)]
    evaluation = Evaluation(compile_program(GROUPS), ANN, instant=NOW, judge=never_judged, goals_max=goals_max)
    evaluation.ask(ObjectRef("group", "0"), "member")
    with pytest.raises(WorkExceeded):
        evaluation.run(RationedGraph(stored, loaded=1.0))


def test_a_bound_that_is_enough_is_enough() -> None:
    """A hundred and one goals are asked."""
    stored = [nested(level, level + 1) for level in range(100)] + [member(100, ANN)]
    evaluation = Evaluation(compile_program(GROUPS), ANN, instant=NOW, judge=never_judged, goals_max=101)
    node = evaluation.ask(ObjectRef("group", "0"), "member")
    assert evaluation.run(RationedGraph(stored, loaded=1.0))
    assert evaluation.answer(node).permissionship is Permissionship.HAS_PERMISSION
