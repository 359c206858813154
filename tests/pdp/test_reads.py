"""What an evaluation asks to be fetched: level by level, once, and nothing that can no longer matter."""

from collections.abc import Sequence

import pytest

from pdp.evaluate import Evaluation, Permissionship, Unknown
from pdp.program import compile_program
from pdp.relationships import Instant, ObjectRef, Relationship, SubjectRef
from pdp.stores.protocol import Read, SubjectsRead
from schema.compile import compile_schema
from tests import notation
from tests.rationed import RationedGraph

SCHEMA = compile_schema("""
    definition robot {}
    definition user {}
    definition group {
        relation member: user | group#member
    }
    definition folder {
        relation parent: folder
        relation viewer: user | user:* | group#member | robot
        relation banned: user
        permission view = viewer + parent->view - banned
    }
    definition document {
        relation folder: folder
        relation owner: user
        relation viewer: user | group#member
        relation auditor: robot
        permission edit = owner
        permission view = viewer + folder->view
        permission read = owner & folder->view
        permission either = folder->view + owner
    }
""")

ANN = SubjectRef("user", "ann")


def asked(question: str) -> Evaluation:
    """An evaluation of one question."""
    resource, relation, subject = notation.question(question)
    evaluation = Evaluation(
        compile_program(SCHEMA), subject, instant=Instant(0), judge=lambda _name, _context: Unknown()
    )
    evaluation.ask(resource, relation)
    return evaluation


def rounds(stored: Sequence[Relationship], question: str) -> list[list[Read]]:
    """The reads of each round, all of them fetched."""
    evaluation, graph = asked(question), RationedGraph(stored, share=1.0)
    found = []
    while not evaluation.run(graph):
        found.append(list(evaluation.needs))
        graph.fetch(evaluation.needs)
    return found


def slots(reads: Sequence[Read]) -> set[str]:
    """Reads as ``resource#relation@type#relation``."""
    found = [read for read in reads if isinstance(read, SubjectsRead)]
    kinds = [f"{read.subject_type}#{read.subject_relation}".removesuffix("#") for read in found]
    return {f"{read.resource}#{read.relation}@{kind}" for read, kind in zip(found, kinds, strict=True)}


@pytest.mark.parametrize("levels", [1, 5, 50])
def test_rounds_are_levels(levels: int) -> None:
    """A chain is one round a level; the same chain many times over, side by side, is not one more."""
    chains = [
        Relationship("folder", f"{chain}.{level}", "parent", "folder", f"{chain}.{level + 1}")
        for chain in range(5)
        for level in range(levels)
    ]
    roots = [Relationship("document", "one", "folder", "folder", f"{chain}.0") for chain in range(5)]
    one = rounds(
        [roots[0], *(each for each in chains if each.resource_id.startswith("0."))], "document:one#view@user:ann"
    )
    five = rounds([*roots, *chains], "document:one#view@user:ann")
    assert len(five) == len(one) <= levels + 2


def test_no_read_is_asked_for_twice() -> None:
    """Round a ring and over a diamond, each slot of each object is fetched once."""
    stored = notation.relationships("""
        document:one#folder@folder:left
        document:one#folder@folder:right
        folder:left#parent@folder:top
        folder:right#parent@folder:top
        folder:top#parent@folder:left
        folder:top#viewer@group:a#member
        group:a#member@group:b#member
        group:b#member@group:a#member
    """)
    reads = [read for level in rounds(stored, "document:one#view@user:ann") for read in level]
    assert len(set(reads)) == len(reads)


def test_what_cannot_hold_the_subject_is_not_read() -> None:
    """Slots of other kinds of subject are left alone, and so is a permission that can never hold this one."""
    first = rounds([], "document:one#view@user:ann")[0]
    assert slots(first) == {
        "document:one#viewer@user",
        "document:one#viewer@group#member",
        "document:one#folder@folder",
    }
    assert rounds([], "document:one#edit@robot:r2") == []
    assert slots(rounds([], "document:one#auditor@robot:r2")[0]) == {"document:one#auditor@robot"}


def test_terminal_subjects_are_read_by_id() -> None:
    """And beside it the wildcard, only where one may be stored."""
    (owner,) = rounds([], "document:one#edit@user:ann")[0]
    assert isinstance(owner, SubjectsRead)
    assert owner.subject_ids == ("ann",)
    viewer = next(
        read
        for read in rounds([], "folder:one#view@user:ann")[0]
        if isinstance(read, SubjectsRead) and (read.relation, read.subject_type) == ("viewer", "user")
    )
    assert set(viewer.subject_ids) == {"ann", "*"}


def test_a_decided_branch_is_not_fetched_further() -> None:
    """Once a side of an intersection is false, nothing more of the other is asked for."""
    stored = notation.relationships(
        "document:one#folder@folder:a\nfolder:a#parent@folder:b\nfolder:b#viewer@user:ann"
    )
    assert len(rounds(stored, "document:one#read@user:ann")) == 1
    stored += notation.relationships("document:one#owner@user:ann")
    assert len(rounds(stored, "document:one#read@user:ann")) == 3


def test_a_question_that_is_decided_leaves_nothing_to_fetch() -> None:
    """Of two questions together, only the open one's reads are asked for."""
    stored = notation.relationships("document:one#viewer@user:ann\ndocument:two#viewer@group:a#member")
    evaluation, graph = asked("document:one#view@user:ann"), RationedGraph(stored, share=1.0)
    evaluation.ask(ObjectRef("document", "two"), "view")
    assert not evaluation.run(graph)
    direct = [read for read in evaluation.needs if isinstance(read, SubjectsRead) and read.subject_type == "user"]
    graph.fetch([read for read in direct if read.resource.id == "one"])
    assert not evaluation.run(graph)
    assert {read.resource.id for read in evaluation.needs if isinstance(read, SubjectsRead)} == {"two"}


def test_a_branch_that_waited_is_let_go_when_another_decides() -> None:
    """Also within one turn: the arrow came first and waits, then the owner decides without it."""
    stored = notation.relationships("document:one#owner@user:ann")
    evaluation, graph = asked("document:one#either@user:ann"), RationedGraph(stored, share=1.0)
    evaluation.ask(ObjectRef("document", "two"), "either")
    graph.fetch([SubjectsRead(ObjectRef("document", "one"), "owner", "user", "", ("ann",))])
    assert not evaluation.run(graph)
    assert slots(list(evaluation.needs)) == {"document:two#folder@folder", "document:two#owner@user"}


def test_a_yes_waits_for_nothing_else() -> None:
    """Where the loaded part of the graph decides, what is not loaded is not needed."""
    stored = notation.relationships("document:one#viewer@user:ann")
    evaluation, graph = asked("document:one#view@user:ann"), RationedGraph(stored, share=1.0)
    graph.fetch([SubjectsRead(ObjectRef("document", "one"), "viewer", "user", "", ("ann",))])
    node = evaluation.ask(ObjectRef("document", "one"), "view")
    assert evaluation.run(graph)
    assert evaluation.answer(node).permissionship is Permissionship.HAS_PERMISSION


def test_interrupted_steps_need_nothing() -> None:
    """When only the steps ran out there is nothing to fetch, and going on is enough."""
    evaluation, graph = asked("document:one#view@user:ann"), RationedGraph([], loaded=1.0)
    turns = 0
    while not evaluation.run(graph, 1):
        assert not evaluation.needs
        turns += 1
    assert 1 < turns < 20
