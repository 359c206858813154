"""What a store promises. One contract suite, `tests/pdp/store_contract.py`, holds every store to it.

Every committed write takes the next integer of its store's counter under that store's row lock, in the transaction
that writes its rows and its changelog entry, so revisions are totally ordered and without gaps. A snapshot at
revision ``R`` is the rows with ``created <= R < deleted``: the same read at the same revision gives the same answer
for as long as the garbage-collection window keeps it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeAlias

from pdp.relationships import (
    Instant,
    ObjectRef,
    Precondition,
    Relationship,
    RelationshipFilter,
    Revision,
    SubjectRef,
    Update,
)


class Found(NamedTuple):
    """One relationship met by a `Read`: the id at its far end, and when it counts."""

    id: str
    caveat_name: str = ""
    caveat_context: str = ""
    expires_at: Instant | None = None
    valid_from: Instant | None = None


class SubjectsRead(NamedTuple):
    """Subjects of one type and relation on ``resource#relation``; only those ids where any are given."""

    resource: ObjectRef
    relation: str
    subject_type: str
    subject_relation: str = ""
    subject_ids: tuple[str, ...] = ()


class ResourcesRead(NamedTuple):
    """Resources of one type on which ``subject`` stands in ``relation``."""

    subject: SubjectRef
    resource_type: str
    relation: str


Read: TypeAlias = SubjectsRead | ResourcesRead


class Outcome(Enum):
    """What became of one update."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    CHANGED = "changed"
    DELETED = "deleted"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """Updates that commit together or not at all, judged in order of arrival under the store's lock.

    ``schema_seen`` is the revision of the schema that the updates were checked against.
    """

    updates: Sequence[Update] = ()
    preconditions: Sequence[Precondition] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    schema_seen: Revision | None = None


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The revision that the write took, and one outcome per update, in order."""

    revision: Revision
    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredSchema:
    """A schema's text as written, with the revision that wrote it."""

    text: str
    written_at: Revision


class Usage(NamedTuple):
    """Relationships that a schema change would orphan: every field given must match (``None`` is any)."""

    resource_type: str | None = None
    relation: str | None = None
    subject_type: str | None = None
    subject_relation: str | None = None
    wildcard: bool | None = None
    caveat_name: str | None = None
    expiration: bool | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """One changelog entry: what a revision changed. ``removed`` holds the rows as they were stored."""

    revision: Revision
    committed_at: Instant
    added: Sequence[Relationship] = ()
    removed: Sequence[Relationship] = ()
    schema_changed: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Relationships in identity order; ``more`` tells whether others follow the last one."""

    relationships: Sequence[Relationship]
    more: bool


class RelationshipStore(Protocol):
    """One tenant's schema, relationships and revisions.

    Any method raises `pdp.errors.StoreUnavailable` when the database cannot be reached; the same call may then be
    repeated, a `write` only where repeating it is harmless (TOUCH, DELETE). Reads at a revision raise
    `pdp.errors.RevisionExpired` when the window has passed it and `pdp.errors.RevisionInFuture` when it is ahead.
    """

    @property
    def name(self) -> str:
        """The store's name, unique in the installation."""
        ...

    @property
    def timeline(self) -> str:
        """Changes whenever a backup is restored into the store, since its revisions then repeat."""
        ...

    @property
    def zookie_key(self) -> bytes:
        """32 random bytes made with the store; authenticates its zookies."""
        ...

    async def head(self) -> Revision:
        """The newest committed revision, read from the primary by a query begun after this call."""
        ...

    async def now(self) -> Instant:
        """The database's clock."""
        ...

    async def write(self, request: WriteRequest) -> WriteResult:
        """Apply the request durably, as one revision.

        Shape, limits and the schema's rules are already checked by the caller.

        Raises:
            SchemaChanged: ``schema_seen`` is given and no longer the current schema: check again and repeat.
            PreconditionFailed: a precondition does not hold.
            AlreadyExists: a CREATE names a living relationship that has not expired.
        """
        ...

    async def write_schema(
        self, text: str, *, expected: Revision | None, must_be_unused: Sequence[Usage] = ()
    ) -> Revision:
        """Store a schema's text as one revision.

        Raises:
            SchemaChanged: the current schema was not written at ``expected`` (``None``: there was none).
            SchemaInUse: a living relationship that has not expired matches one of ``must_be_unused``.
        """
        ...

    async def schema(self, at: Revision) -> StoredSchema | None:
        """The schema current at that revision; ``None`` before the first one."""
        ...

    async def fetch(self, at: Revision, reads: Sequence[Read]) -> Sequence[Sequence[Found]]:
        """Answer all reads from one snapshot in one round trip, in order.

        Times are not judged here: relationships that do not count yet or any more are included.
        """
        ...

    async def read(
        self,
        at: Revision,
        filter_: RelationshipFilter,
        *,
        instant: Instant | None,
        after: Relationship | None = None,
        limit: int,
    ) -> Page:
        """Relationships matching the filter in identity order (`C` collation), at most ``limit``.

        With ``instant`` only those that count then. ``after`` resumes behind that identity.
        """
        ...

    def scan(self, at: Revision) -> AsyncIterator[Sequence[tuple[Any, ...]]]:
        """Every relationship of a snapshot, in any order, as rows of `Relationship`'s ten columns.

        In batches of a few thousand, so that memory stays bounded.
        """
        ...

    async def count(self) -> int:
        """How many living relationships there are, or a good estimate."""
        ...

    async def changes(self, after: Revision, limit: int) -> Sequence[Transaction]:
        """Changelog entries with revisions above ``after``, oldest first, at most ``limit``; ``[]`` at the end.

        Raises:
            RevisionExpired: entries directly after ``after`` are no longer kept.
        """
        ...


class Datastore(Protocol):
    """A database with the stores in it."""

    async def migrate(self) -> None:
        """Bring the database to the newest schema. Harmless when it is there."""
        ...

    async def is_empty(self) -> bool:
        """Whether nothing of ours was ever made in it."""
        ...

    async def ping(self) -> None:
        """Raise `pdp.errors.StoreUnavailable` unless the database answers."""
        ...

    async def open(self, name: str) -> RelationshipStore:
        """The store of that name. Raises `pdp.errors.StoreNotFound`."""
        ...

    async def create(self, name: str) -> RelationshipStore:
        """Make a store, or open it where it exists."""
        ...

    def names(self) -> AsyncIterator[str]:
        """Names of all stores, sorted."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then let go of every connection."""
        ...
