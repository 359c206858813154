"""One slot's relationships in both directions: compact arrays, and over them what changed since.

A `Slot` holds the relationships of one resource type, relation, subject type and subject relation. Its base is two
adjacencies in compressed rows, immutable, made at a *base revision*. Changes after it are kept twice: ``current``
rows, merged and sorted, which answer for the newest revision at the price of one dictionary look-up; and
``history``, every state of every changed relationship with the revision that made it, which answers for any revision
since the base. History is only ever added to and each entry names its revision, so that another thread may read at
a published revision while changes are applied.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pdp.relationships import Instant, Revision

NODE_BITS = 32
NODE_MASK = (1 << NODE_BITS) - 1

_NO_ARRAY = array("I")


class SlotKey(NamedTuple):
    """What a slot holds."""

    resource_type: str
    relation: str
    subject_type: str
    subject_relation: str


class Row(NamedTuple):
    """When a relationship counts."""

    caveat_name: str = ""
    caveat_context: str = ""
    expires_at: Instant | None = None
    valid_from: Instant | None = None


PLAIN = Row()


class Adjacency:
    """From nodes to the nodes beside them, sorted.

    Dense: the row of ``node`` is ``ends[starts[node]:starts[node + 1]]``. Sparse (``keys`` not None): the row of
    ``keys[i]`` is ``ends[starts[i]:starts[i + 1]]``.
    """

    __slots__ = ("current", "ends", "find", "keys", "size", "starts")

    def __init__(
        self,
        starts: Sequence[int] = _NO_ARRAY,
        ends: Sequence[int] = _NO_ARRAY,
        keys: Sequence[int] | None = None,
    ) -> None:
        self.starts = starts
        self.ends = ends
        self.keys = keys
        self.size = max(len(starts) - 1, 0)
        self.find = None if keys is None else self._find
        self.current: dict[int, list[int]] = {}

    def _find(self, node: int) -> int:
        """Where a node's row is, of those that have one; -1 where it has none."""
        keys = self.keys or ()
        position = bisect_left(keys, node)
        return position if position < self.size and keys[position] == node else -1

    def base(self, node: int) -> Sequence[int]:
        """The row at the base revision."""
        position = node if self.find is None else self.find(node)
        if not 0 <= position < self.size:
            return _NO_ARRAY
        return self.ends[self.starts[position] : self.starts[position + 1]]

    def row(self, node: int) -> Sequence[int]:
        """The row at the newest revision."""
        current = self.current.get(node)
        return self.base(node) if current is None else current

    def change(self, node: int, other: int, *, present: bool) -> None:
        """Add ``other`` to the newest row of ``node``, or take it out."""
        current = self.current.get(node)
        if current is None:
            current = self.current[node] = list(self.base(node))
        if present:
            insort(current, other)
        else:
            del current[bisect_left(current, other)]


def holds(row: Sequence[int], node: int) -> bool:
    """Whether a sorted row holds the node."""
    position = bisect_left(row, node)
    return position < len(row) and row[position] == node


class Slot:
    """Relationships of one slot, at every revision since ``base_revision``."""

    __slots__ = (
        "base_conditions",
        "conditions",
        "forward",
        "forward_changed",
        "history",
        "key",
        "reverse",
        "reverse_changed",
    )

    def __init__(self, key: SlotKey) -> None:
        self.key = key
        self.forward = Adjacency()
        self.reverse = Adjacency()
        # rows that do not always count, at the base and at the newest revision, by packed edge
        self.base_conditions: dict[int, Row] = {}
        self.conditions: dict[int, Row] = {}
        # states of changed edges, oldest first
        self.history: dict[int, list[tuple[Revision, Row | None]]] = {}
        self.forward_changed: dict[int, list[int]] = {}
        self.reverse_changed: dict[int, list[int]] = {}

    def array_bytes(self) -> int:
        """What the arrays and the conditions beside them take."""
        items = sum(len(part) for a in (self.forward, self.reverse) for part in (a.starts, a.ends, a.keys or ()))
        return 4 * items + 500 * len(self.base_conditions)

    def now(self, resource: int, subject: int) -> Row | None:
        """The relationship's row at the newest revision."""
        if not holds(self.forward.row(resource), subject):
            return None
        return self.conditions.get(resource << NODE_BITS | subject, PLAIN)

    def at(self, resource: int, subject: int, revision: Revision) -> Row | None:
        """The relationship's row at a revision since the base."""
        states = self.history.get(resource << NODE_BITS | subject)
        if states is not None:
            for made_at, row in reversed(states):
                if made_at <= revision:
                    return row
        if not holds(self.forward.base(resource), subject):
            return None
        return self.base_conditions.get(resource << NODE_BITS | subject, PLAIN)

    def set(self, revision: Revision, resource: int, subject: int, row: Row | None) -> None:
        """Apply one change. Revisions come in ascending order."""
        edge = resource << NODE_BITS | subject
        before = self.now(resource, subject)
        states = self.history.get(edge)
        if states is None:
            states = self.history[edge] = []
            self.forward_changed.setdefault(resource, []).append(subject)
            self.reverse_changed.setdefault(subject, []).append(resource)
        states.append((revision, row))
        if (before is None) != (row is None):
            self.forward.change(resource, subject, present=row is not None)
            self.reverse.change(subject, resource, present=row is not None)
        if row is None or row == PLAIN:
            self.conditions.pop(edge, None)
        else:
            self.conditions[edge] = row

    def subjects(self, resource: int, revision: Revision) -> Iterator[tuple[int, Row]]:
        """Subjects on a resource at a revision, ascending."""
        yield from self._row(
            self.forward.base(resource), self.forward_changed.get(resource), resource, None, revision
        )

    def resources(self, subject: int, revision: Revision) -> Iterator[tuple[int, Row]]:
        """Resources of a subject at a revision, ascending."""
        yield from self._row(self.reverse.base(subject), self.reverse_changed.get(subject), None, subject, revision)

    def _row(
        self,
        base: Sequence[int],
        changed: Sequence[int] | None,
        resource: int | None,
        subject: int | None,
        revision: Revision,
    ) -> Iterator[tuple[int, Row]]:
        if not changed and not self.base_conditions:
            for other in base:
                yield other, PLAIN
            return
        for other in sorted({*base, *changed}) if changed else base:
            row = self.at(other if resource is None else resource, other if subject is None else subject, revision)
            if row is not None:
                yield other, row
