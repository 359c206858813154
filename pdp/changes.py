"""Which reads changed lately: the window of the changelog that tells whether something kept is still true."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from pdp.relationships import Revision
from pdp.stores.protocol import Read, SubjectsRead, Transaction


class ForwardSlot(NamedTuple):
    """Subjects of one type and relation on a resource's relation: what a `SubjectsRead` rests on."""

    resource_type: str
    resource_id: str
    relation: str
    subject_type: str
    subject_relation: str


class ReverseSlot(NamedTuple):
    """Resources of one type and relation of a subject: what a `ResourcesRead` rests on."""

    subject_type: str
    subject_id: str
    subject_relation: str
    resource_type: str
    relation: str


Dependency: TypeAlias = ForwardSlot | ReverseSlot


def dependency(read: Read) -> Dependency:
    """What changes a read's answer."""
    if isinstance(read, SubjectsRead):
        return ForwardSlot(*read.resource, read.relation, read.subject_type, read.subject_relation)
    return ReverseSlot(*read.subject, read.resource_type, read.relation)


def touched(transaction: Transaction) -> Iterable[Dependency]:
    """What a transaction changes, in both directions."""
    for relationship in (*transaction.removed, *transaction.added):
        type_, id_, relation, subject_type, subject_id, subject_relation = relationship[:6]
        yield ForwardSlot(type_, id_, relation, subject_type, subject_relation)
        yield ReverseSlot(subject_type, subject_id, subject_relation, type_, relation)


class ChangeWindow:
    """Every change with a revision above ``since``, at most ``changes_max`` of them.

    What was true at a revision the window reaches back to is true still where nothing it rests on was changed after.
    """

    def __init__(self, changes_max: int = 200_000) -> None:
        self.since = Revision(0)
        self._changes_max = changes_max
        self._changed_at: dict[Dependency, Revision] = {}
        self._order: deque[tuple[Revision, Dependency]] = deque()

    def restart(self, since: Revision) -> None:
        """Know of nothing up to a revision, and of everything after it."""
        self.since = since
        self._changed_at.clear()
        self._order.clear()

    def apply(self, transactions: Sequence[Transaction]) -> None:
        """Note what transactions changed, in order."""
        for transaction in transactions:
            for changed in touched(transaction):
                self._changed_at[changed] = transaction.revision
                self._order.append((transaction.revision, changed))
        while len(self._order) > self._changes_max:
            revision, changed = self._order.popleft()
            self.since = revision
            if self._changed_at.get(changed) == revision:
                del self._changed_at[changed]

    def unchanged(self, dependencies: Iterable[Dependency], after: Revision) -> bool:
        """Whether none of them was changed after a revision. A revision before the window gives False."""
        if after < self.since:
            return False
        changed_at = self._changed_at
        return all(changed_at.get(each, 0) <= after for each in dependencies)
