"""Lookups of resources find what the cases say: however few are decided one by one, and however it is loaded."""

from collections.abc import Mapping
from random import Random

import pytest

from pdp import lookup_resources
from pdp.graph import Graph
from pdp.judge import judge_with
from pdp.lookup_resources import FoundResource, LookupResources
from pdp.program import compile_program
from pdp.relationships import Revision
from pdp.replica.replica import ReplicaBuilder
from tests import cases
from tests.cases import Case, ResourcesExpected
from tests.rationed import RationedGraph, drive, permissionship

CASES = [case for case in cases.load_all() if case.resources]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def lookup(case: Case, asked: ResourcesExpected, graph: Graph, *, steps_max: int = 1_000_000) -> LookupResources:
    """A lookup, at its end."""
    found = LookupResources(
        compile_program(case.schema),
        asked.type,
        asked.permission,
        asked.subject,
        instant=case.instant,
        judge=judge_with(case.schema, asked.context),
        goals_max=1_000_000,
        reads_max=1_000_000,
    )
    drive(found, graph, steps_max=steps_max)
    return found


def rows(found: LookupResources, after: str | None = None) -> Mapping[str, FoundResource]:
    """Rows by id; none could not be decided."""
    listed: dict[str, FoundResource] = {}
    for id_, row in found.findings.after(after):
        assert isinstance(row, FoundResource)
        assert row.id == id_
        assert id_ not in listed
        listed[id_] = row
    return listed


@each_case
@pytest.mark.parametrize("few", [0, 1, 200], ids=["joined as sets", "one evaluated", "evaluated"])
def test_rows(case: Case, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each resource once, in order of id, with what is missing."""
    monkeypatch.setattr(lookup_resources, "_FEW", few)
    luck = Random(len(case.relationships))
    for expected in case.resources:
        for steps_max in (1, 1_000_000):
            listed = rows(lookup(case, expected, RationedGraph(case.relationships, luck), steps_max=steps_max))
            assert {
                id_: permissionship(row.permissionship, row.missing) for id_, row in listed.items()
            } == expected.found
            assert list(listed) == sorted(listed)


@each_case
def test_rows_from_a_replica(case: Case) -> None:
    """The same where everything is loaded."""
    builder = ReplicaBuilder(Revision(1))
    builder.add(case.relationships)
    graph = builder.build().at(Revision(1))
    for expected in case.resources:
        listed = rows(lookup(case, expected, graph))
        assert {id_: permissionship(row.permissionship, row.missing) for id_, row in listed.items()} == expected.found


@each_case
def test_rows_behind_an_id(case: Case) -> None:
    """Going on behind each row in turn gives what the whole list has there."""
    for expected in case.resources:
        found = lookup(case, expected, RationedGraph(case.relationships))
        whole = rows(found)
        for id_ in (*whole, "", "m", "~"):
            assert rows(found, id_) == {other: row for other, row in whole.items() if other > id_}
