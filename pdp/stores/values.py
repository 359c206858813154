"""What stores take and tell beside relationships: imports, events, quotas and the facts that operators ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from pdp.relationships import Instant, Relationship, RelationshipFilter, Revision, Update


class Conflict(Enum):
    """What an import does with a relationship that is stored already."""

    FAIL = "fail"
    SKIP = "skip"
    TOUCH = "touch"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did. ``unchanged`` were there already: the same, or left as they were by `Conflict.SKIP`.

    ``revision`` is the last of the ``revisions`` that it took.
    """

    revision: Revision
    revisions: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What a watcher wants to see. With neither types nor filters, every relationship.

    ``times`` asks for relationships that expire or begin to count as time passes, which no revision marks.
    """

    resource_types: frozenset[str] = frozenset()
    filters: tuple[RelationshipFilter, ...] = ()
    schema: bool = False
    checkpoints: bool = False
    times: bool = False


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """Something that a watcher asked for, complete through ``revision``.

    Exactly one of these: ``updates`` of one revision, ``schema_changed`` (by a revision, perhaps with updates),
    ``is_checkpoint`` (nothing of interest up to this revision), or relationships that ``expired`` or ``begun`` to
    count between the last such event and ``instant``. The latter may come again after resuming.
    """

    revision: Revision
    instant: Instant
    updates: Sequence[Update] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    schema_changed: bool = False
    is_checkpoint: bool = False
    expired: Sequence[Relationship] = ()
    begun: Sequence[Relationship] = ()


@dataclass(frozen=True, slots=True)
class Quotas:
    """What a store may hold and take; ``None`` is no bound."""

    relationships_max: int | None = None
    writes_per_second_max: int | None = None


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """A store as an operator sees it. ``deleted_at`` is set while it can still be recovered."""

    store_id: int
    name: str
    timeline: str
    created_at: Instant
    deleted_at: Instant | None
    revision: Revision
    oldest: Revision
    relationships: int
    quotas: Quotas


class KindCount(NamedTuple):
    """How many living relationships of one kind a store holds, expired ones included."""

    resource_type: str
    relation: str
    subject_type: str
    subject_relation: str
    wildcard: bool
    caveat_name: str
    expiration: bool
    living: int


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """Where a database's tables stand: the version found, the newest one known here, and those between."""

    current: str | None
    head: str
    pending: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """What a garbage collection removed."""

    relationships: int = 0
    transactions: int = 0
    idempotency_keys: int = 0
    stores: int = 0
