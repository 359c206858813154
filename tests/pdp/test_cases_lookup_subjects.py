"""Lookups of subjects list what the cases say, row for row, exclusions included."""

from collections.abc import Mapping
from random import Random

import pytest

from pdp.judge import judge_with
from pdp.lookup_subjects import FoundSubject, LookupSubjects
from pdp.program import SubjectType, compile_program
from pdp.relationships import WILDCARD
from tests import cases
from tests.cases import Case, SubjectsExpected
from tests.oracle import Verdict
from tests.rationed import RationedGraph, drive, permissionship

CASES = [case for case in cases.load_all() if case.subjects]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def lookup(
    case: Case, asked: SubjectsExpected, graph: RationedGraph, *, wildcards: bool = True, steps_max: int = 1_000_000
) -> LookupSubjects:
    """A lookup, at its end."""
    found = LookupSubjects(
        compile_program(case.schema),
        asked.resource,
        asked.permission,
        SubjectType(asked.type, asked.relation),
        instant=case.instant,
        judge=judge_with(case.schema, asked.context),
        goals_max=1_000_000,
        reads_max=1_000_000,
        wildcards=wildcards,
    )
    drive(found, graph, steps_max=steps_max)
    return found


def rows(found: LookupSubjects, after: str | None = None) -> Mapping[str, FoundSubject]:
    """Rows by id; none could not be decided."""
    listed = {}
    for id_, row in found.findings.after(after):
        assert isinstance(row, FoundSubject)
        assert row.id == id_
        assert id_ not in listed
        listed[id_] = row
    return listed


def verdicts(listed: Mapping[str, FoundSubject]) -> dict[str, Verdict]:
    """Rows in the oracle's words."""
    return {id_: permissionship(row.permissionship, row.missing) for id_, row in listed.items()}


@each_case
@pytest.mark.parametrize("steps_max", [1, 1_000_000], ids=["in steps", "at once"])
def test_rows(case: Case, steps_max: int) -> None:
    """Whoever has it, in order of id, with ``*`` and whom it does not cover."""
    luck = Random(len(case.relationships))
    for expected in case.subjects:
        listed = rows(lookup(case, expected, RationedGraph(case.relationships, luck), steps_max=steps_max))
        assert verdicts(listed) == expected.found
        assert list(listed) == sorted(listed)
        excluded = {
            each.id: permissionship(each.permissionship, each.missing)
            for row in listed.values()
            for each in row.excluded
        }
        assert excluded == expected.excluded
        assert all(row.id == WILDCARD or not row.excluded for row in listed.values())


@each_case
def test_rows_behind_an_id(case: Case) -> None:
    """Going on behind each row in turn gives what the whole list has there; behind an id of nobody, too."""
    for expected in case.subjects:
        found = lookup(case, expected, RationedGraph(case.relationships))
        whole = rows(found)
        for id_ in (*whole, "", "m", "~"):
            assert rows(found, id_) == {other: row for other, row in whole.items() if other > id_}


@each_case
def test_rows_without_wildcards(case: Case) -> None:
    """The same less ``*``."""
    for expected in case.subjects:
        graph = RationedGraph(case.relationships)
        listed = verdicts(rows(lookup(case, expected, graph, wildcards=False)))
        assert listed == {id_: verdict for id_, verdict in expected.found.items() if id_ != WILDCARD}
