"""Which reads changed lately: the window of the changelog that tells whether something kept is still true."""

from collections import deque
from collections.abc import Iterable, Sequence
from hashlib import blake2b
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

    def digest(self, secret: bytes) -> bytes:
        """Eight bytes that stand for it where it would be too long."""
        return _digest(secret, b"forward", self)


class ReverseSlot(NamedTuple):
    """Resources of one type and relation of a subject: what a `ResourcesRead` rests on."""

    subject_type: str
    subject_id: str
    subject_relation: str
    resource_type: str
    relation: str

    def digest(self, secret: bytes) -> bytes:
        """Eight bytes that stand for it where it would be too long."""
        return _digest(secret, b"reverse", self)


def _digest(secret: bytes, person: bytes, parts: Sequence[str]) -> bytes:
    digest = blake2b(key=secret, digest_size=8, person=person)
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(2, "big") + raw)
    return digest.digest()


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

    def __init__(self, changes_max: int = 200_000, digest_secret: bytes | None = None) -> None:
        """With ``digest_secret`` dependencies can be asked for by their digests too."""
        self.since = Revision(0)
        self._secret = digest_secret
        self._digest_changed_at: dict[bytes, Revision] = {}
        self._changes_max = changes_max
        self._changed_at: dict[Dependency, Revision] = {}
        self._order: deque[tuple[Revision, Dependency]] = deque()

    def restart(self, since: Revision) -> None:
        """Know of nothing up to a revision, and of everything after it."""
        self.since = since
        self._changed_at.clear()
        self._digest_changed_at.clear()
        self._order.clear()

    def apply(self, transactions: Sequence[Transaction]) -> None:
        """Note what transactions changed, in order."""
        for transaction in transactions:
            for changed in touched(transaction):
                self._changed_at[changed] = transaction.revision
                if self._secret is not None:
                    self._digest_changed_at[changed.digest(self._secret)] = transaction.revision
                self._order.append((transaction.revision, changed))
        while len(self._order) > self._changes_max:
            revision, changed = self._order.popleft()
            self.since = revision
            if self._changed_at.get(changed) == revision:
                del self._changed_at[changed]
                if self._secret is not None:
                    digest = changed.digest(self._secret)
                    if self._digest_changed_at.get(digest) == revision:
                        del self._digest_changed_at[digest]

    def reach_back(self, transactions: Sequence[Transaction], since: Revision) -> None:
        """Know of what was changed above an earlier revision too: every transaction from there to where it began."""
        before: list[tuple[Revision, Dependency]] = []
        for transaction in transactions:
            if transaction.revision > self.since:
                break
            for changed in touched(transaction):
                before.append((transaction.revision, changed))
                self._changed_at[changed] = max(transaction.revision, self._changed_at.get(changed, Revision(0)))
                if self._secret is not None:
                    digest = changed.digest(self._secret)
                    known = self._digest_changed_at.get(digest, Revision(0))
                    self._digest_changed_at[digest] = max(transaction.revision, known)
        self._order.extendleft(reversed(before))
        self.since = since
        self.apply(())

    def unchanged(self, dependencies: Iterable[Dependency], after: Revision) -> bool:
        """Whether none of them was changed after a revision. A revision before the window gives False."""
        if after < self.since:
            return False
        changed_at = self._changed_at
        return all(changed_at.get(each, 0) <= after for each in dependencies)

    def unchanged_hashes(self, digests: Iterable[bytes], after: Revision) -> bool:
        """The same of dependencies by their digests. Two of one digest count as one, changed when either was."""
        if after < self.since:
            return False
        changed_at = self._digest_changed_at
        return all(changed_at.get(each, 0) <= after for each in digests)
