"""The replica tells what was written, at every revision it keeps; its compiled checks tell what the table tells."""

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.program import compile_program
from pdp.relationships import Instant, ObjectRef, Operation, Relationship, Revision, SubjectRef, Update
from pdp.replica.build import fill
from pdp.replica.compact import Compaction
from pdp.replica.compiled import CompiledChecks, Undecided
from pdp.replica.replica import Replica, ReplicaBuilder
from pdp.replica.slots import Slot, SlotKey
from pdp.stores.protocol import ResourcesRead, SubjectsRead, Transaction
from schema.model import (
    AllowedSubject,
    ComputedUserset,
    Definition,
    Exclusion,
    Relation,
    Schema,
    This,
    TupleToUserset,
    Union,
)
from tests import strategies
from tests.oracle import HAS, LACKS
from tests.rationed import RationedGraph, ask, judge_by
from tests.strategies import NOW, Verdicts, examples

History = Sequence[Sequence[Update]]


def transactions(history: History, before: int) -> list[Transaction]:
    """The changelog of a history, its revisions counting on from ``before``."""
    made = []
    for number, updates in enumerate(history, start=1):
        stored = {r.identity: r for r in strategies.written(history[: number - 1])}
        removed = [stored[u.relationship.identity] for u in updates if u.relationship.identity in stored]
        added = [u.relationship for u in updates if u.operation is not Operation.DELETE]
        made.append(Transaction(Revision(before + number), Instant(number), added, removed))
    return made


def loaded(stored: Sequence[Relationship], revision: int) -> Replica:
    """A replica of what is stored at a revision."""
    builder = ReplicaBuilder(Revision(revision))
    builder.add(stored)
    return builder.build()


def compact(replica: Replica, to: int) -> None:
    """Fold what was changed up to a revision into the arrays."""
    compaction = Compaction(replica, Revision(to))
    compaction.begin()
    compaction.build()
    compaction.finish()


@st.composite
def lives(draw: st.DrawFn) -> tuple[Schema, History, int, list[int]]:
    """A schema, a history, how much of it is loaded as rows, and when the replica is compacted."""
    schema = draw(strategies.schemas())
    history = draw(strategies.histories(schema))
    base = draw(st.integers(0, len(history)))
    return schema, history, base, draw(st.lists(st.integers(base, len(history)), max_size=2))


def live(history: History, base: int, compactions: Sequence[int]) -> tuple[Replica, list[Transaction]]:
    """A replica that was loaded at ``base``, followed the rest, and was compacted after some revisions."""
    changelog = transactions(history, 0)
    replica = loaded(strategies.written(history[:base]), base)
    for revision in range(base, len(history) + 1):
        if revision > base:
            replica.apply(changelog[revision - 1 : revision])
        if revision in compactions:
            compact(replica, max(replica.base_revision, revision - 1))
    return replica, changelog


@examples(300)
@given(lives(), strategies.caveat_verdicts())
def test_every_kept_revision_is_what_was_written(
    life: tuple[Schema, History, int, list[int]], verdicts: Verdicts
) -> None:
    """Each read, in both directions, finds exactly the relationships of its revision."""
    schema, history, base, compactions = life
    replica, _ = live(history, base, compactions)
    for revision in range(replica.base_revision, len(history) + 1):
        truth = RationedGraph(strategies.written(history[:revision]), loaded=1.0)
        graph = replica.at(Revision(revision))
        for resource, relation in strategies.resources(schema):
            for subject in strategies.subjects(schema):
                forward = SubjectsRead(resource, relation, subject.type, subject.relation)
                one = SubjectsRead(resource, relation, subject.type, subject.relation, (subject.id, "*"))
                backward = ResourcesRead(subject, resource.type, relation)
                for read in (forward, one, backward):
                    expected = truth.get(read)
                    assert expected is not None
                    assert sorted(graph.get(read)) == sorted(expected)


@examples(400)
@given(lives(), strategies.caveat_verdicts())
def test_compiled_checks_agree_with_the_table(
    life: tuple[Schema, History, int, list[int]], verdicts: Verdicts
) -> None:
    """Asked before and after every change, so that what is remembered is made untrue: has, lacks, or undecided."""
    schema, history, base, compactions = life
    program = compile_program(schema)
    changelog = transactions(history, 0)
    replica = loaded(strategies.written(history[:base]), base)
    checks = CompiledChecks(program, replica)
    for revision in range(base, len(history) + 1):
        if revision > base:
            changed = changelog[revision - 1]
            replica.apply([changed])
            checks.forget_changes([changed])
        if revision in compactions:
            compact(replica, revision)
            checks = CompiledChecks(program, replica, checks)
        graph = RationedGraph(strategies.written(history[:revision]), loaded=1.0)
        for subject in strategies.subjects(schema):
            questions = strategies.resources(schema)
            truth = ask(program, graph, subject, questions, instant=NOW, judge=judge_by(verdicts))
            for (resource, relation), (verdict, _) in zip(questions, truth, strict=True):
                try:
                    answer = checks.check(*resource, relation, *subject)
                except Undecided:
                    continue
                assert verdict == (HAS if answer else LACKS), f"{resource}#{relation}@{subject} at {revision}"


def allowed(*texts: str) -> tuple[AllowedSubject, ...]:
    """Subject types from their spellings."""
    found = []
    for text in texts:
        type_, _, relation = text.partition("#")
        found.append(AllowedSubject(type_.removesuffix(":*"), relation, wildcard=type_.endswith(":*")))
    return tuple(found)


HOSTING = Schema(
    {
        definition.name: definition
        for definition in (
            Definition("user", {}),
            Definition("team", {"member": Relation("member", This(), allowed("user", "team#member"))}),
            Definition(
                "repo",
                {
                    "parent": Relation("parent", This(), allowed("repo")),
                    "reader": Relation("reader", This(), allowed("user", "user:*", "team#member")),
                    "banned": Relation("banned", This(), allowed("user")),
                    "see": Relation("see", Union((ComputedUserset("reader"), TupleToUserset("parent", "see")))),
                    "view": Relation("view", Exclusion(ComputedUserset("see"), ComputedUserset("banned"))),
                    "walk": Relation("walk", Exclusion(TupleToUserset("parent", "walk"), ComputedUserset("banned"))),
                },
            ),
        )
    }
)


def row(text: str, *, expires_at: Instant | None = None) -> Relationship:
    """A relationship from ``team:a#member@user:ann``."""
    resource, _, rest = text.partition("#")
    relation, _, subject = rest.partition("@")
    name, _, subject_relation = subject.partition("#")
    type_, id_ = resource.split(":")
    subject_type, subject_id = name.split(":")
    return Relationship(type_, id_, relation, subject_type, subject_id, subject_relation, expires_at=expires_at)


@pytest.mark.parametrize(
    ("stored", "question", "expected"),
    [
        pytest.param(["repo:r#reader@user:ann"], "repo:r#view@user:ann", True, id="direct"),
        pytest.param(["repo:r#reader@user:ann"], "repo:r#view@user:bob", False, id="somebody else"),
        pytest.param(["repo:r#reader@user:*"], "repo:r#view@user:unheard", True, id="wildcard, subject unknown"),
        pytest.param(["repo:r#reader@user:*"], "repo:other#view@user:ann", False, id="resource unknown"),
        pytest.param(
            ["repo:r#reader@user:*", "repo:r#banned@user:ann"], "repo:r#view@user:ann", False, id="exclusion wins"
        ),
        pytest.param(
            ["repo:r#reader@team:a#member", "team:a#member@team:b#member", "team:b#member@user:ann"],
            "repo:r#view@user:ann",
            True,
            id="nested teams",
        ),
        pytest.param(
            ["team:a#member@team:b#member", "team:b#member@team:a#member"],
            "team:a#member@user:ann",
            False,
            id="a cycle holds nobody",
        ),
        pytest.param(["team:a#member@team:b#member"], "team:a#member@team:b#member", True, id="a userset as subject"),
        pytest.param([], "team:a#member@team:a#member", None, id="a userset of an unknown object"),
        pytest.param(
            ["repo:r#parent@repo:p", "repo:p#parent@repo:q", "repo:q#reader@user:ann"],
            "repo:r#view@user:ann",
            True,
            id="parents, walked",
        ),
        pytest.param(["repo:r#parent@repo:r"], "repo:r#see@user:ann", False, id="its own parent"),
        pytest.param(["repo:r#parent@repo:p"], "repo:r#walk@user:ann", None, id="recursion through an exclusion"),
    ],
)
def test_compiled(stored: list[str], question: str, expected: bool | None) -> None:
    """Known small cases; None is left to the table."""
    replica = loaded([row(text) for text in stored], 1)
    checks = CompiledChecks(compile_program(HOSTING), replica)
    if expected is None:
        with pytest.raises(Undecided):
            checks.check(*row(question)[:6])
    else:
        assert checks.check(*row(question)[:6]) is expected


def test_a_time_bound_is_left_to_the_table() -> None:
    """A relationship that does not always count is never decided by compiled code."""
    checks = CompiledChecks(
        compile_program(HOSTING), loaded([row("repo:r#reader@user:ann", expires_at=Instant(5))], 1)
    )
    with pytest.raises(Undecided):
        checks.check("repo", "r", "view", "user", "ann")
    assert checks.check("repo", "r", "view", "user", "bob") is False


def test_a_chain_of_ten_thousand_teams() -> None:
    """Depth of data is no depth of calls."""
    stored = [row(f"team:t{n}#member@team:t{n + 1}#member") for n in range(10_000)]
    stored += [row("team:t10000#member@user:ann"), row("repo:r#reader@team:t0#member")]
    checks = CompiledChecks(compile_program(HOSTING), loaded(stored, 1))
    assert checks.check("repo", "r", "view", "user", "ann") is True
    assert checks.check("repo", "r", "view", "user", "bob") is False


def test_a_chain_of_ten_thousand_parents() -> None:
    """The same for an arrow."""
    stored = [row(f"repo:r{n}#parent@repo:r{n + 1}") for n in range(10_000)] + [row("repo:r10000#reader@user:ann")]
    checks = CompiledChecks(compile_program(HOSTING), loaded(stored, 1))
    assert checks.check("repo", "r0", "view", "user", "ann") is True
    assert checks.check("repo", "r0", "view", "user", "bob") is False


@pytest.mark.parametrize("spread", [1, 1000], ids=["dense", "sparse"])
def test_rows_of_many_nodes(spread: int) -> None:
    """Dense and sparse rows give back the edges that they were made from."""
    luck = Random(spread)
    edges = {(luck.randrange(200) * spread, luck.randrange(300) * spread) for _ in range(2_000)}
    slot = Slot(SlotKey("repo", "reader", "user", ""))
    fill(slot, np.array([resource << 32 | subject for resource, subject in edges], np.uint64), {})
    for resource in range(0, 201 * spread, spread):
        assert list(slot.forward.base(resource)) == sorted(s for r, s in edges if r == resource)
    for subject in range(0, 301 * spread, spread):
        assert list(slot.reverse.base(subject)) == sorted(r for r, s in edges if s == subject)
    assert list(slot.forward.base(-1)) == []
    assert list(slot.forward.base(1 << 31)) == []


def test_a_graph_stays_what_it_is() -> None:
    """A graph handed out is not changed by what is applied or compacted after."""
    replica = loaded([row("team:a#member@user:ann")], 1)
    graph = replica.at(Revision(1))
    read = SubjectsRead(ObjectRef("team", "a"), "member", "user")
    gone = Transaction(Revision(2), Instant(0), (), [row("team:a#member@user:ann")])
    replica.apply([gone])
    compact(replica, 2)
    assert [found.id for found in graph.get(read)] == ["ann"]
    assert list(replica.at(Revision(2)).get(read)) == []
    assert SubjectRef("user", "ann") not in {SubjectRef("user", f.id) for f in replica.at(Revision(2)).get(read)}
