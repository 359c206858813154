"""Lookups driven without a store, and what they list brought into the oracle's words."""

from collections.abc import Sequence

from pdp.errors import CaveatEvaluationFailed, NegationCycle, PdpError
from pdp.evaluate import Permissionship
from pdp.graph import Graph, WithContextual
from pdp.lookup import Findings
from pdp.lookup_subjects import FoundSubject
from pdp.relationships import WILDCARD, Relationship
from pdp.walk import Walk
from tests.oracle import FAILED, HAS, LACKS, PARADOX, Kind, Verdict
from tests.rationed import ROUNDS_MAX, RationedGraph


def finish(
    walk: Walk, graph: RationedGraph, *, contextual: Sequence[Relationship] = (), steps_max: int = 1_000_000
) -> None:
    """Run a walk to its end, fetching what it needs."""
    seen: Graph = WithContextual(graph, contextual) if contextual else graph
    for _ in range(ROUNDS_MAX):
        if walk.run(seen, steps_max):
            return
        if walk.needs:
            graph.fetch(walk.needs)
    raise AssertionError("the walk does not end")


def verdict(permissionship: Permissionship, missing: Sequence[str]) -> Verdict:
    """An answer's."""
    assert len(set(missing)) == len(missing), "a parameter is named twice"
    match permissionship:
        case Permissionship.HAS_PERMISSION:
            return HAS
        case Permissionship.CONDITIONAL_PERMISSION:
            return Verdict(Kind.CONDITIONAL, frozenset(missing))
        case _:
            raise AssertionError("a row for somebody without the permission")


def failure(error: PdpError) -> Verdict:
    """Of an id that could not be decided."""
    if isinstance(error, NegationCycle):
        return PARADOX
    assert isinstance(error, CaveatEvaluationFailed), error
    return FAILED


def read_subjects(findings: Findings[FoundSubject], ids: Sequence[str]) -> dict[str, Verdict]:
    """What a list says of each of these ids, and of everybody else: a row of one's own comes first."""
    rows = dict(findings.after(None))
    assert list(rows) == sorted(rows)
    told: dict[str, Verdict] = {}
    excluded: dict[str, Verdict] = {}
    for id_, row in rows.items():
        if isinstance(row, PdpError):
            told[id_] = failure(row)
            continue
        assert row.id == id_
        told[id_] = verdict(row.permissionship, row.missing)
        assert id_ == WILDCARD or not row.excluded
        for each in row.excluded:
            assert each.id not in excluded
            excluded[each.id] = verdict(each.permissionship, each.missing)
    everybody = told.get(WILDCARD, LACKS)
    return {id_: told[id_] if id_ in told else _less(everybody, excluded.get(id_)) for id_ in (*ids, WILDCARD)}


def _less(everybody: Verdict, excluded: Verdict | None) -> Verdict:
    if excluded is None or everybody == LACKS:
        return everybody
    if excluded == HAS:
        return LACKS
    if everybody.kind in {Kind.FAILED, Kind.PARADOX}:
        return everybody
    return Verdict(Kind.CONDITIONAL, everybody.missing | excluded.missing)
