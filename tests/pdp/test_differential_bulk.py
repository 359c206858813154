"""Bulk checks and lists of permissions answer as the oracle does, each item as if it had been asked alone."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from pdp.bulk import BulkCheck, BulkItem, Outcome
from pdp.errors import (
    CaveatParameterInvalid,
    PdpError,
    UnknownDefinition,
    UnknownRelation,
    WildcardNotAllowed,
    WorkExceeded,
)
from pdp.judge import judge_with
from pdp.list_permissions import ListPermissions, names
from pdp.program import compile_program
from pdp.relationships import ObjectRef, Relationship, SubjectRef
from schema.compile import compile_schema
from schema.model import Schema
from tests import kleene, notation, strategies
from tests.oracle import HAS, LACKS, Oracle, Verdict
from tests.rationed import RationedGraph, drive, told
from tests.strategies import NOW, examples

LUCK = st.integers(0, 9999).map(Random)
CONTEXTS: Sequence[Mapping[str, Any]] = (
    {},
    {"inside": True},
    {"inside": False},
    {"used": 1},
    {"used": 2, "inside": True},
    {"used": 3, "limit": 9, "stray": "x"},
)


def truth(schema: Schema, stored: Sequence[Relationship], item: BulkItem) -> Verdict:
    """The oracle's verdict on an item, its caveats judged by hand."""
    valuation = kleene.judge_by_hand(schema, item.context)
    return Oracle(schema, stored, instant=NOW, valuation=valuation).check(
        item.resource, item.permission, item.subject
    )


@st.composite
def items(draw: st.DrawFn, schema: Schema) -> list[BulkItem]:
    """Up to twenty questions, subjects and contexts often shared, some asked twice."""
    question, subject = st.sampled_from(strategies.resources(schema)), st.sampled_from(strategies.subjects(schema))
    context = st.sampled_from(CONTEXTS)
    return [BulkItem(*draw(question), draw(subject), draw(context)) for _ in range(draw(st.integers(1, 20)))]


@examples(200)
@given(data=st.data(), schema=strategies.schemas(), luck=LUCK, steps_max=st.sampled_from((2, 1_000_000)))
def test_bulk_checks_agree_with_the_oracle(data: st.DataObject, schema: Schema, luck: Random, steps_max: int) -> None:
    """In order, whatever they share, and no context is seen by another's item."""
    stored = data.draw(strategies.relationships(schema))
    asked = data.draw(items(schema))
    bulk = BulkCheck(compile_program(schema), asked, instant=NOW, goals_max=1_000_000)
    drive(bulk, RationedGraph(stored, luck), steps_max=steps_max)
    found = [told(outcome)[0] for outcome in bulk.outcomes]
    assert found == [truth(schema, stored, item) for item in asked]


MISTAKES: Sequence[tuple[BulkItem, type[PdpError]]] = (
    (BulkItem(ObjectRef("nothing", "one"), "view", SubjectRef("user", "one")), UnknownDefinition),
    (BulkItem(ObjectRef("user", "one"), "nothing", SubjectRef("user", "one")), UnknownRelation),
    (BulkItem(ObjectRef("group", "one"), "member", SubjectRef("nobody", "one")), UnknownDefinition),
    (BulkItem(ObjectRef("group", "one"), "member", SubjectRef("group", "one", "nothing")), UnknownRelation),
    (BulkItem(ObjectRef("group", "one"), "member", SubjectRef("user", "*")), WildcardNotAllowed),
)


@examples(60)
@given(data=st.data(), schema=strategies.schemas(types=("user", "group")), luck=LUCK)
def test_a_mistake_is_the_answer_to_its_own_item(data: st.DataObject, schema: Schema, luck: Random) -> None:
    """And the others do not notice."""
    stored = data.draw(strategies.relationships(schema))
    right = data.draw(items(schema))
    asked: list[tuple[BulkItem, type[PdpError] | None]] = [(item, None) for item in right]
    for mistake in data.draw(st.lists(st.sampled_from(MISTAKES), min_size=1, max_size=4)):
        asked.insert(data.draw(st.integers(0, len(asked))), mistake)
    bulk = BulkCheck(compile_program(schema), [item for item, _ in asked], instant=NOW, goals_max=1_000_000)
    drive(bulk, RationedGraph(stored, luck))
    for (item, error), outcome in zip(asked, bulk.outcomes, strict=True):
        if error is None:
            assert told(outcome)[0] == truth(schema, stored, item)
        else:
            assert type(outcome) is error


GROUPS = compile_schema("""
    caveat office(inside bool) { inside }
    definition user {}
    definition group {
        relation member: user | user with office | group#member
    }
""")


def asked_of_groups(stored: str, asked: Sequence[tuple[str, Mapping[str, Any]]], goals_max: int) -> Sequence[Outcome]:
    """Outcomes of questions in the notation, each with its context."""
    items = []
    for text, context in asked:
        resource, relation, subject = notation.question(text)
        items.append(BulkItem(resource, relation, subject, context))
    bulk = BulkCheck(compile_program(GROUPS), items, instant=NOW, goals_max=goals_max)
    drive(bulk, RationedGraph(notation.relationships(stored)))
    return bulk.outcomes


def test_a_context_of_the_wrong_type_is_the_answer_to_the_items_that_need_it() -> None:
    """Items with other contexts, or without the caveat, are answered."""
    stored = "group:one#member@user:ann[office]\ngroup:one#member@user:tom"
    asked = [
        (f"group:one#member@user:{name}", context)
        for name in ("ann", "tom")
        for context in ({"inside": "yes"}, {"inside": True})
    ]
    first, *others = asked_of_groups(stored, asked, 1_000_000)
    assert isinstance(first, CaveatParameterInvalid)
    assert [told(outcome)[0] for outcome in others] == [HAS, HAS, HAS]


def test_too_much_work_is_the_answer_to_its_own_items() -> None:
    """An item about another subject, or about another resource, is answered within a bound of its own."""
    stored = "\n".join(f"group:{level}#member@group:{level + 1}#member" for level in range(100))
    stored += "\ngroup:near#member@user:ann\ngroup:near#member@user:tom"
    asked: list[tuple[str, Mapping[str, Any]]] = [
        ("group:near#member@user:ann", {}),
        ("group:0#member@user:ann", {}),
        ("group:near#member@user:tom", {}),
        ("group:never_named#member@user:ann", {}),
    ]
    before, much, other, behind = asked_of_groups(stored, asked, 50)
    assert isinstance(much, WorkExceeded)
    assert [told(outcome)[0] for outcome in (before, other, behind)] == [HAS, HAS, LACKS]


@examples(60)
@given(data=st.data(), schema=strategies.schemas(), luck=LUCK, context=st.sampled_from(CONTEXTS))
def test_lists_of_permissions_agree_with_the_oracle(
    data: st.DataObject, schema: Schema, luck: Random, context: Mapping[str, Any]
) -> None:
    """Every name of a resource's type, in written order."""
    stored = data.draw(strategies.relationships(schema))
    program = compile_program(schema)
    for resource in sorted({resource for resource, _ in strategies.resources(schema)}):
        asked = names(program, resource.type, relations=True)
        assert asked == list(schema.definitions[resource.type].relations)
        for subject in strategies.subjects(schema):
            listing = ListPermissions(
                program,
                resource,
                asked,
                subject,
                instant=NOW,
                judge=judge_with(schema, context),
                goals_max=1_000_000,
            )
            drive(listing, RationedGraph(stored, luck))
            found = {held.permission: told(held.outcome)[0] for held in listing.held()}
            note(f"{subject} on {resource}")
            assert list(found) == asked
            assert found == {
                name: truth(schema, stored, BulkItem(resource, name, subject, context)) for name in asked
            }
