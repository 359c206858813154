"""What lookups list, brought into the oracle's words."""

from collections.abc import Sequence

from pdp.evaluate import Permissionship
from pdp.lookup import Findings, Undecided
from pdp.lookup_resources import FoundResource
from pdp.lookup_subjects import FoundSubject
from pdp.relationships import WILDCARD
from tests.oracle import HAS, LACKS, Kind, Verdict
from tests.rationed import permissionship, told


def read_row(row: FoundResource | FoundSubject | Undecided) -> Verdict:
    """What a list says of an id that has a row."""
    if isinstance(row, Undecided):
        return told(row.error)[0]
    return verdict(row.permissionship, row.missing)


def verdict(value: Permissionship, missing: Sequence[str]) -> Verdict:
    """A row's."""
    assert value is not Permissionship.NO_PERMISSION, "a row for somebody without the permission"
    return permissionship(value, missing)


def read_subjects(findings: Findings[FoundSubject], ids: Sequence[str]) -> dict[str, Verdict]:
    """What a list says of each of these ids, and of everybody else: a row of one's own comes first."""
    rows = dict(findings.after(None))
    assert list(rows) == sorted(rows)
    found: dict[str, Verdict] = {}
    excluded: dict[str, Verdict] = {}
    for id_, row in rows.items():
        found[id_] = read_row(row)
        assert isinstance(row, Undecided) or row.id == id_
        assert id_ == WILDCARD or not row.excluded
        for each in row.excluded:
            assert each.id not in excluded
            if isinstance(rows.get(each.id), Undecided):
                continue  # excluded perhaps, for a reason that has no names
            excluded[each.id] = verdict(each.permissionship, each.missing)
    everybody = found.get(WILDCARD, LACKS)
    return {id_: found[id_] if id_ in found else _less(everybody, excluded.get(id_)) for id_ in (*ids, WILDCARD)}


def _less(everybody: Verdict, excluded: Verdict | None) -> Verdict:
    if excluded is None or everybody == LACKS:
        return everybody
    if excluded == HAS:
        return LACKS
    if everybody.kind in {Kind.FAILED, Kind.PARADOX}:
        return everybody
    return Verdict(Kind.CONDITIONAL, everybody.missing | excluded.missing)
