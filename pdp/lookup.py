"""What both lookups have in common: relationships sorted out, ids in order, pages, and how a list ends."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from pdp.bulk import Outcome
from pdp.errors import PdpError
from pdp.evaluate import Judge, Permissionship, Unknown
from pdp.program import Program
from pdp.relationships import Instant, Revision
from pdp.stores.protocol import Found
from pdp.subject_sets import Reasons
from pdp.walk import Walking, Work

Row = TypeVar("Row")

_ROWS_A_STEP = 8
"""Ids that a set operation, or a comprehension over them, takes through in about the time of one step."""
_SORTED_AT_ONCE = 10_000


class SortedOut(NamedTuple):
    """Ids met by a read: those whose relationships count, and those that may, with the reasons."""

    certain: Sequence[str]
    perhaps: Sequence[tuple[str, Reasons]]


class Lookup(Walking):
    """A walk that sorts relationships out by the instant and by what the judge says of their caveats."""

    def __init__(self, program: Program, *, instant: Instant, judge: Judge, goals_max: int, reads_max: int) -> None:
        super().__init__(reads_max)
        self.program = program
        self.instant = instant
        self.judge = judge
        self.goals_max = goals_max
        self._singles: dict[Unknown, Reasons] = {}
        self._met: dict[Unknown, int] = {}
        self._tellings: dict[Reasons, tuple[str, ...] | PdpError] = {}

    def sort_out(self, found: Sequence[Found]) -> Work[SortedOut]:
        """Relationships by what becomes of them; those that do not count are left out."""
        certain = [
            one.id for one in found if not one.caveat_name and one.expires_at is None and one.valid_from is None
        ]
        yield len(found) // _ROWS_A_STEP + 1
        if len(certain) == len(found):
            return SortedOut(certain, ())
        perhaps = []
        for position, one in enumerate(found):
            if one.caveat_name or one.expires_at is not None or one.valid_from is not None:
                verdict = self.verdict(one)
                if verdict is True:
                    certain.append(one.id)
                elif isinstance(verdict, Unknown):
                    perhaps.append((one.id, self.because(verdict)))
                if not position % _ROWS_A_STEP:
                    yield _ROWS_A_STEP
        return SortedOut(certain, perhaps)

    def counts(self, one: Found) -> bool:
        """Whether it is valid at the instant."""
        return (one.expires_at is None or self.instant < one.expires_at) and (
            one.valid_from is None or one.valid_from <= self.instant
        )

    def verdict(self, one: Found) -> bool | Unknown:
        """Whether it counts, caveat included."""
        if not self.counts(one):
            return False
        return self.judge(one.caveat_name, one.caveat_context) if one.caveat_name else True

    def because(self, unknown: Unknown) -> Reasons:
        """The reasons of what is undecided for one reason alone."""
        reasons = self._singles.get(unknown)
        if reasons is None:
            self._met[unknown] = len(self._met)
            reasons = self._singles[unknown] = frozenset((unknown,))
        return reasons

    def reasons(self, outcome: Outcome) -> Reasons | bool:
        """What came of an evaluation: in, out, or the reasons of being undecided."""
        if isinstance(outcome, PdpError):
            return self.because(Unknown(failure=outcome))
        if outcome.permissionship is Permissionship.CONDITIONAL_PERMISSION:
            return self.because(Unknown(missing=outcome.missing))
        return outcome.permissionship is Permissionship.HAS_PERMISSION

    def in_order(self, ids: Set[str]) -> Work[list[str]]:
        """Sorted, in turns: sorted runs are joined in linear time."""
        runs = list(ids)
        yield len(runs) // _ROWS_A_STEP + 1
        for start in range(0, len(runs), _SORTED_AT_ONCE):
            runs[start : start + _SORTED_AT_ONCE] = sorted(runs[start : start + _SORTED_AT_ONCE])
            yield _SORTED_AT_ONCE // _ROWS_A_STEP
        runs.sort()
        return runs

    def told(self, reasons: Reasons) -> tuple[str, ...] | PdpError:
        """What reasons tell: names that are missing, in the order they were met in; else why it failed."""
        if reasons not in self._tellings:
            unknowns = sorted(reasons, key=self._met.__getitem__)
            names = tuple(dict.fromkeys(name for unknown in unknowns for name in unknown.missing))
            failures = (unknown.failure for unknown in unknowns if unknown.failure is not None)
            self._tellings[reasons] = names or next(failures)
        return self._tellings[reasons]


class ExcludedSubject(NamedTuple):
    """A subject that ``*`` does not cover, or, where conditional, may not cover."""

    id: str
    permissionship: Permissionship
    missing: tuple[str, ...] = ()


class Undecided(NamedTuple):
    """Why an id has no row; what is undecided of ``*`` is not so of those ``excluded`` for certain."""

    error: PdpError
    excluded: Sequence[ExcludedSubject] = ()


class Findings(NamedTuple, Generic[Row]):
    """All that a lookup found: ids in order, and for each a row, or why there is none."""

    order: Sequence[str]
    tell: Callable[[str], Row | Undecided]

    def after(self, id_: str | None) -> Iterator[tuple[str, Row | Undecided]]:
        """What comes behind an id."""
        start = 0 if id_ is None else bisect_right(self.order, id_)
        for position in range(start, len(self.order)):
            found = self.order[position]
            yield found, self.tell(found)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a list ended: it is whole, or it is not and says why.

    ``more``: the limit was reached and rows follow; go on after the last one. ``undecided``: ids in the range of the
    rows that could not be decided, and ``error`` why the first of them could not.
    """

    more: bool = False
    undecided: Sequence[str] = ()
    error: PdpError | None = None

    @property
    def complete(self) -> bool:
        """Whether there is nothing beyond the rows that were given, up to the end of the list."""
        return not self.more and not self.undecided


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """Rows in order of id (`C` collation), the revision and instant they were found at, and how the list ended.

    The next page: the same request ``after`` the last row, at exactly this revision and instant.
    """

    revision: Revision
    instant: Instant
    rows: Sequence[Row]
    ending: Ending
