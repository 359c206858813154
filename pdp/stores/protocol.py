"""What a store promises. One contract suite, `tests/pdp/store_contract.py`, holds every store to it.

Every committed write takes the next integer of its store's counter under that store's row lock, in the transaction
that writes its rows and its changelog entry, so revisions are totally ordered and without gaps. A snapshot at
revision ``R`` is the rows with ``created <= R < deleted``: the same read at the same revision gives the same answer
for as long as the garbage-collection window keeps it.
"""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
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
from pdp.stores.values import (
    Collected,
    Conflict,
    ImportResult,
    KindCount,
    MigrationStatus,
    Quotas,
    StoreInfo,
    WatchEvent,
    WatchRequest,
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
class RelationSet:
    """Make ``relation`` of ``resource`` exactly these relationships: others go, missing or different ones come."""

    resource: ObjectRef
    relation: str
    relationships: tuple[Relationship, ...] = ()


class Judging(Protocol):
    """The store as a write under judgement sees it: under the lock, after the writes before it."""

    @property
    def revision(self) -> Revision:
        """The newest revision, that of a write judged before it in the same transaction included."""
        ...

    @property
    def schema_revision(self) -> Revision:
        """The revision that wrote the schema now current."""
        ...

    @property
    def instant(self) -> Instant:
        """The instant at which the write is judged; its transaction's ``committed_at``."""
        ...

    async def fetch(self, reads: Sequence[Read]) -> Sequence[Sequence[Found]]:
        """As `RelationshipStore.fetch`, at this point of the history."""
        ...


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition that a caller brings, such as a permission that somebody must have.

    ``hold`` raises a `pdp.errors.PdpError` unless it holds; it is awaited under the store's lock, so it must be quick
    and may read nothing but what it is given. ``text`` says all that the condition depends on, in a canonical form:
    two requests with the same idempotency key must agree in it.
    """

    text: str
    hold: Callable[[Judging], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """Updates and sets that commit together or not at all, judged in order of arrival under the store's lock.

    ``schema_seen`` is the revision of the schema that the updates were checked against. A request with an
    ``idempotency_key`` is applied once: repeated within `IDEMPOTENCY_WINDOW`, it gets the first result again.
    Updates and the relationships that sets name may not touch one relationship twice.
    """

    updates: Sequence[Update] = ()
    preconditions: Sequence[Precondition] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    schema_seen: Revision | None = None
    sets: Sequence[RelationSet] = ()
    guards: Sequence[Guard] = ()
    idempotency_key: str = ""


IDEMPOTENCY_WINDOW = 24 * 3600 * 1_000_000
"""Microseconds for which the result of a request with an idempotency key is kept."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The revision that the write took, and one outcome per update, in order.

    ``set_outcomes`` has, for each set, each relationship that it named or removed. ``repeated`` tells that an earlier
    request with the same idempotency key did it.
    """

    revision: Revision
    outcomes: tuple[Outcome, ...] = ()
    set_outcomes: tuple[tuple[tuple[Relationship, Outcome], ...], ...] = ()
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """Delete all relationships that match, as one revision; expired ones count too.

    With ``limit`` at most so many. Where more match, nothing is deleted unless ``partial``.
    """

    filter: RelationshipFilter
    preconditions: Sequence[Precondition] = ()
    limit: int | None = None
    partial: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    schema_seen: Revision | None = None
    guards: Sequence[Guard] = ()
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """The revision, how many went, and whether fewer than the limit did (so that none is left)."""

    revision: Revision
    deleted: int
    complete: bool
    repeated: bool = False


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
    """One changelog entry: what a revision changed. ``removed`` holds the rows as they were stored.

    ``updates`` tells the same in the request's order, as a watcher sees it: TOUCH of what was added or changed,
    DELETE of what was removed. A large one decodes its sequences as they are iterated.
    """

    revision: Revision
    committed_at: Instant
    added: Sequence[Relationship] = ()
    removed: Sequence[Relationship] = ()
    schema_changed: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    updates: Sequence[Update] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Relationships in the filter's order; ``more`` tells whether others follow the last one."""

    relationships: Sequence[Relationship]
    more: bool


class RelationshipStore(Protocol):
    """One tenant's schema, relationships and revisions.

    Any method raises `pdp.errors.StoreUnavailable` when the database cannot be reached; the same call may then be
    repeated, a `write` only where repeating it is harmless (TOUCH, DELETE, or with an idempotency key). Any raises
    `pdp.errors.StoreNotFound` once the store is deleted. Reads at a revision raise `pdp.errors.RevisionExpired` when
    the window has passed it and `pdp.errors.RevisionInFuture` when it is ahead.
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
            IdempotencyConflict: another request was made with the same idempotency key.
            QuotaExceeded: the store may not hold so many relationships, or not take so many writes now.
            PdpError: whatever a guard raises.
        """
        ...

    async def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete what matches a filter, durably, as one revision.

        Raises:
            TooManyToDelete: more than ``limit`` match and ``partial`` is not set; nothing was deleted.
            SchemaChanged, PreconditionFailed, IdempotencyConflict, QuotaExceeded: as `write`.
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
        """Relationships matching the filter, at most ``limit``.

        Their order is the index's, a resource's or a subject's relationships together: always the same for the same
        filter, whatever is written meanwhile, so that ``after`` resumes behind that identity. With ``instant`` only
        those that count then.
        """
        ...

    def scan(self, at: Revision) -> AsyncIterator[Sequence[tuple[Any, ...]]]:
        """Every relationship of a snapshot, in any order, as rows of `Relationship`'s ten columns.

        In batches of a few thousand, so that memory stays bounded.
        """
        ...

    async def count(self) -> int:
        """How many living relationships there are, expired ones included."""
        ...

    async def changes(self, after: Revision, limit: int) -> Sequence[Transaction]:
        """Changelog entries with revisions above ``after``, oldest first, at most ``limit``; ``[]`` at the end.

        May be fewer, so that memory stays bounded; never none where there are some.

        Raises:
            RevisionExpired: entries directly after ``after`` are no longer kept.
        """
        ...


class History(Protocol):
    """What a store was and becomes: times, kinds, events."""

    async def revision_at(self, instant: Instant) -> Revision:
        """The revision that was current at a time.

        Raises:
            RevisionExpired: the time is before the window.
            RevisionInFuture: the time is ahead of the database's clock.
        """
        ...

    async def oldest(self) -> Revision:
        """The oldest revision that can still be read."""
        ...

    async def count_matching(self, at: Revision, filter_: RelationshipFilter, instant: Instant | None) -> int:
        """How many relationships match, by counting them."""
        ...

    async def kinds(self) -> Sequence[KindCount]:
        """Living relationships by kind, sorted."""
        ...

    def watch(self, after: Revision, request: WatchRequest) -> AsyncIterator[WatchEvent]:
        """Events after a revision, without end.

        Raises (while iterating):
            RevisionExpired: changes directly after ``after`` are no longer kept.
            RevisionInFuture: the store has not reached ``after``.
            WatchTooSlow: the reader fell behind what is kept for it; resume from the last event.
        """
        ...


class Bulk(Protocol):
    """Relationships in and out by the million."""

    async def import_relationships(
        self,
        batches: AsyncIterable[Sequence[Relationship]],
        *,
        conflict: Conflict = Conflict.FAIL,
        metadata: Mapping[str, Any] | None = None,
        schema_seen: Revision | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ImportResult:
        """Store a stream of relationships that the caller has checked against the schema.

        With `Conflict.FAIL` the stream is one revision: all of it or nothing. It takes the store's lock once
        `pdp.stores.bulk.SPOOLED_MAX` relationships came or the stream ended, and other writers wait from then on;
        a stream that then pauses for long is refused. With the other policies every batch of
        `pdp.stores.bulk.BATCH` is a revision of its own. ``progress`` hears how many were taken so far.

        Raises:
            AlreadyExists: `Conflict.FAIL`, and one is stored or comes twice. (Coming twice in one batch is an error
                under `Conflict.TOUCH` too: which should win?)
            SchemaChanged, QuotaExceeded: as `RelationshipStore.write`; batches before stay.
            ImportRefused: the stream paused or is too large for one revision.
        """
        ...

    def export(
        self,
        at: Revision,
        *,
        filter_: RelationshipFilter | None = None,
        after: Relationship | None = None,
        batch: int = 10_000,
    ) -> AsyncIterator[Sequence[Relationship]]:
        """Every relationship of a snapshot that matches, in a filter's order, expired ones included."""
        ...


class Counters(Protocol):
    """Named filters whose matches are counted on demand."""

    async def register_counter(self, name: str, filter_: RelationshipFilter) -> None:
        """Keep a filter under a name. Raises `pdp.errors.CounterAlreadyRegistered`."""
        ...

    async def unregister_counter(self, name: str) -> None:
        """Forget it. Raises `pdp.errors.CounterNotRegistered`."""
        ...

    async def counter(self, name: str) -> RelationshipFilter:
        """The filter of that name. Raises `pdp.errors.CounterNotRegistered`."""
        ...

    async def count_counter(self, name: str) -> tuple[int, Revision]:
        """How many relationships match it, and at which revision. Raises `pdp.errors.CounterNotRegistered`."""
        ...


class Store(RelationshipStore, History, Bulk, Counters, Protocol):
    """All that a store can do."""


class Datastore(Protocol):
    """A database with the stores in it."""

    async def migrate(self, to: str = "head") -> None:
        """Bring the database to the newest schema, or to that version. Harmless when it is there.

        Raises:
            UnknownMigration: there is no such version, or the database is at one not known here.
        """
        ...

    async def migration_status(self) -> MigrationStatus:
        """Where the database's tables stand."""
        ...

    async def verify(self) -> None:
        """Raise `pdp.errors.DatabaseNotMigrated` unless this program can run on the tables as they are."""
        ...

    async def is_empty(self) -> bool:
        """Whether nothing of ours was ever made in it."""
        ...

    async def ping(self) -> None:
        """Raise `pdp.errors.StoreUnavailable` unless the database answers."""
        ...

    async def open(self, name: str) -> Store:
        """The store of that name. Raises `pdp.errors.StoreNotFound`."""
        ...

    async def create(self, name: str, quotas: Quotas | None = None) -> Store:
        """Make a store, or open it where it exists (whose quotas then stay)."""
        ...

    def names(self) -> AsyncIterator[str]:
        """Names of all stores, sorted."""
        ...

    async def info(self, name: str) -> StoreInfo:
        """One store's facts. Raises `pdp.errors.StoreNotFound`."""
        ...

    def infos(self, *, deleted: bool = False) -> AsyncIterator[StoreInfo]:
        """All stores' facts by name, or those of the deleted ones that can be recovered."""
        ...

    async def set_quotas(self, name: str, quotas: Quotas) -> None:
        """Replace a store's quotas. Raises `pdp.errors.StoreNotFound`."""
        ...

    async def delete(self, name: str) -> StoreInfo:
        """Take a store away; it can be recovered until the window has passed. Raises `pdp.errors.StoreNotFound`."""
        ...

    async def recover(self, store_id: int) -> Store:
        """Bring a deleted store back under its name.

        Raises:
            StoreNotFound: there is no such deleted store (any more).
            StoreExists: its name was given to another store meanwhile.
        """
        ...

    async def collect(self, window: Instant | None = None) -> Collected:
        """Remove what the window has passed, in small steps; nothing where another process is at it."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then let go of every connection."""
        ...
