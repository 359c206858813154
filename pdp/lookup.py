"""What both lookups have in common: how a list ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pdp.errors import PdpError
from pdp.relationships import Instant, Revision

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a list ended: it is whole, or it is not and says why.

    ``more``: the limit was reached and rows follow; go on after the last one. ``undecided``: ids in the range of the
    rows that could not be decided, and ``error`` why the first of them could not.
    """

    more: bool = False
    undecided: tuple[str, ...] = ()
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
