"""Relationships as values: what is stored, written, filtered and read back.

Instants are whole microseconds since the Unix epoch (`Instant`), the resolution of Postgres' ``timestamptz``.
"""

from enum import Enum
from typing import NamedTuple, NewType

Instant = NewType("Instant", int)
Revision = NewType("Revision", int)

WILDCARD = "*"


class ObjectRef(NamedTuple):
    """An object: its type and id."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"


class SubjectRef(NamedTuple):
    """A subject: an object, every object of a type (id ``*``), or a userset (``relation`` not empty)."""

    type: str
    id: str
    relation: str = ""

    def __str__(self) -> str:
        return f"{self.type}:{self.id}#{self.relation}" if self.relation else f"{self.type}:{self.id}"


class Relationship(NamedTuple):
    """One fact, flat as its row is. Identity is the first six fields; the rest says when it counts.

    ``caveat_context`` is canonical JSON (sorted keys, no blanks), ``""`` where there is none. The relationship
    counts from ``valid_from`` (inclusive) until ``expires_at`` (exclusive); ``None`` is no bound.
    """

    resource_type: str
    resource_id: str
    relation: str
    subject_type: str
    subject_id: str
    subject_relation: str = ""
    caveat_name: str = ""
    caveat_context: str = ""
    expires_at: Instant | None = None
    valid_from: Instant | None = None

    @property
    def resource(self) -> ObjectRef:
        """The object that the relationship is about."""
        return ObjectRef(self.resource_type, self.resource_id)

    @property
    def subject(self) -> SubjectRef:
        """Who is related to the resource."""
        return SubjectRef(self.subject_type, self.subject_id, self.subject_relation)

    @property
    def identity(self) -> tuple[str, str, str, str, str, str]:
        """What makes two relationships the same one: caveat and times do not."""
        return self[:6]

    def counts_at(self, instant: Instant) -> bool:
        """Whether it is valid at that instant."""
        return (self.expires_at is None or instant < self.expires_at) and (
            self.valid_from is None or self.valid_from <= instant
        )

    def __str__(self) -> str:
        """Render as ``document:1#viewer@user:ann``, caveat and times left out."""
        return f"{self.resource}#{self.relation}@{self.subject}"


class Operation(Enum):
    """What an update does with its relationship."""

    CREATE = 1
    TOUCH = 2
    DELETE = 3


class Update(NamedTuple):
    """One change that a write asks for."""

    operation: Operation
    relationship: Relationship


class SubjectFilter(NamedTuple):
    """Subjects to match. ``relation`` ``None`` is any, ``""`` only subjects without a relation."""

    type: str
    id: str | None = None
    relation: str | None = None


class RelationshipFilter(NamedTuple):
    """Relationships to match: every field given must match; none given is refused at the doors.

    ``resource_ids`` matches any of the ids and excludes ``resource_id_prefix``.
    """

    resource_type: str | None = None
    resource_ids: tuple[str, ...] = ()
    resource_id_prefix: str | None = None
    relation: str | None = None
    subject: SubjectFilter | None = None


class Precondition(NamedTuple):
    """What must hold when the write is judged: some relationship matches the filter, or none does."""

    must_match: bool
    filter: RelationshipFilter
