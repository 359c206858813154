"""The case files hold for the oracle, and together they cover what they are there to cover."""

from collections.abc import Iterator, Mapping
from itertools import combinations

import pytest

from pdp.relationships import WILDCARD, Operation, Update
from pdp.validate import check_updates
from schema.model import (
    ComputedUserset,
    Exclusion,
    Intersection,
    Nil,
    Rewrite,
    SelfSubject,
    This,
    TupleToUserset,
    Union,
)
from tests import cases, kleene
from tests.cases import Case, SubjectsExpected
from tests.oracle import LACKS, Kind, Oracle, Verdict

CASES = cases.load_all()
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def oracle_for(case: Case, context: Mapping[str, object]) -> Oracle:
    """The oracle on a case's data, with a request's context."""
    return Oracle(
        case.schema,
        case.relationships,
        instant=case.instant,
        valuation=kleene.judge_by_hand(case.schema, context),
    )


@each_case
def test_assertions(case: Case) -> None:
    """What was reasoned by hand is what the oracle says."""
    wrong = [
        f"{goal.resource}#{goal.relation}@{goal.subject} with {context} is {found}, not {verdict}"
        for goal, context, verdict in case.assertions
        if (found := oracle_for(case, context).check(*goal)) != verdict
    ]
    assert not wrong


@each_case
def test_resources(case: Case) -> None:
    """Lookups of resources are whole and hold nothing else."""
    for type_, permission, subject, context, expected in case.resources:
        assert oracle_for(case, context).lookup_resources(type_, permission, subject) == expected, (
            permission,
            subject,
        )


@each_case
def test_subjects(case: Case) -> None:
    """Lookups of subjects say of each subject what a check says."""
    for expected in case.subjects:
        verdicts = oracle_for(case, expected.context).lookup_subjects(
            expected.resource, expected.permission, expected.type, expected.relation
        )
        wrong = {
            id_: (told, verdict)
            for id_, verdict in verdicts.items()
            if not agrees(told := read_subject(expected, id_), verdict)
        }
        assert not wrong, expected
        assert {*expected.found, *expected.excluded} <= verdicts.keys(), expected


def read_subject(listed: SubjectsExpected, id_: str) -> Verdict:
    """What a list of subjects says of one: its own row, else ``*`` less the exclusions."""
    if id_ in listed.found:
        return listed.found[id_]
    everybody = listed.found.get(WILDCARD, LACKS)
    if id_ not in listed.excluded or everybody == LACKS:
        return everybody
    excluded = listed.excluded[id_]
    if excluded.kind is Kind.HAS:
        return LACKS
    return Verdict(Kind.CONDITIONAL, everybody.missing | excluded.missing)


def agrees(told: Verdict, verdict: Verdict) -> bool:
    """Whether what a list tells of a subject is what a check says."""
    return told == verdict


CONSTRUCTS = ("wildcard", "exclusion", "caveat", "arrow", "userset", "expiry", "self", "cycle", "all", "nil")


def constructs(case: Case) -> set[str]:
    """Which of the constructs a case has to do with, read off its schema and its data."""
    found = {
        "self" if isinstance(part, SelfSubject) else "nil" if isinstance(part, Nil) else "exclusion"
        for part in _parts(case)
        if isinstance(part, SelfSubject | Nil | Exclusion)
    }
    arrows = {part.quantifier for part in _parts(case) if isinstance(part, TupleToUserset)}
    found |= {"all"} if "all" in arrows else set()
    found |= {"arrow"} if "any" in arrows else set()
    for each in case.relationships:
        found |= {"wildcard"} if each.subject_id == WILDCARD else set()
        found |= {"userset"} if each.subject_relation else set()
        found |= {"caveat"} if each.caveat_name else set()
        found |= {"expiry"} if each.expires_at is not None or each.valid_from is not None else set()
    return found | ({"cycle"} if _has_cycle(case) else set())


def _parts(case: Case) -> Iterator[Rewrite]:
    ahead = [
        relation.rewrite
        for definition in case.schema.definitions.values()
        for relation in definition.relations.values()
    ]
    while ahead:
        part = ahead.pop()
        yield part
        match part:
            case Union(children) | Intersection(children):
                ahead.extend(children)
            case Exclusion(base, subtract):
                ahead += [base, subtract]
            case This() | Nil() | SelfSubject() | ComputedUserset() | TupleToUserset():
                pass


def _has_cycle(case: Case) -> bool:
    """Whether one comes back to an object by relationships that lead from object to object."""
    edges = {(each.resource, each.subject[:2]) for each in case.relationships}
    while grown := {(start, end) for start, middle in edges for again, end in edges if middle == again} - edges:
        edges |= grown
    return any(start == end for start, end in edges)


@each_case
def test_relationships_are_accepted(case: Case) -> None:
    """What a case stores could have been written."""
    check_updates(case.schema, [Update(Operation.CREATE, each) for each in case.relationships])


def test_there_are_enough_cases() -> None:
    """Each is a schema with data of its own."""
    assert len(CASES) >= 150
    assert len({(case.schema_text, tuple(case.relationships)) for case in CASES}) == len(CASES)
    assert all(case.assertions or case.resources for case in CASES)


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_each_construct_stands_alone_somewhere(construct: str) -> None:
    """So that a failure there points at it. A cycle needs usersets or arrows to close."""
    beside = {"userset"} if construct == "cycle" else set()
    assert any(constructs(case) == {construct} | beside for case in CASES)


@pytest.mark.parametrize("pair", list(combinations(CONSTRUCTS, 2)), ids="-".join)
def test_each_pair_of_constructs_meets_somewhere(pair: tuple[str, str]) -> None:
    """With at most one other beside them."""
    assert any(constructs(case) >= set(pair) and len(constructs(case)) <= 3 for case in CASES)


GOOD = """
schema: |-
  definition user {}
  definition document {
      relation viewer: user
  }
relationships: |-
  document:one#viewer@user:ann
assertions:
  assertTrue:
    - document:one#viewer@user:ann
"""


def test_a_case_is_read() -> None:
    """The smallest file that says something."""
    case = cases.load("good", GOOD)
    assert [verdict.kind for _, _, verdict in case.assertions] == [Kind.HAS]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("assertTrue", "asserttrue", "unknown", id="misspelt kind of assertion"),
        pytest.param("assertions:", "assertion:", "unknown", id="misspelt key"),
        pytest.param("assertTrue", "assertCaveated", "missing", id="conditional without names"),
        pytest.param("one#viewer@user:ann\nassert", "one#viewer@group:x\nassert", "does not fit", id="stray subject"),
        pytest.param("one#viewer@user:ann\nassert", "one#view@user:ann\nassert", "does not fit", id="stray relation"),
        pytest.param(
            "one#viewer@user:ann\nassert", "one#viewer@user:ann[cav]\nassert", "does not fit", id="stray caveat"
        ),
        pytest.param(
            "  document:one#viewer@user:ann\nassert",
            "  document:one#viewer@user:ann\n  document:one#viewer@user:ann\nassert",
            "twice",
            id="a relationship twice",
        ),
    ],
)
def test_a_case_with_a_mistake_is_refused(old: str, new: str, message: str) -> None:
    """Rather than passed because what it says was not understood."""
    assert old in GOOD
    with pytest.raises(AssertionError, match=message):
        cases.load("bad", GOOD.replace(old, new))
