"""What ``pdp`` raises on purpose: one class for each thing that a caller can do something about.

No class knows a status code; `api` maps each to one in a single table.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pdp.relationships import ObjectRef, Precondition, Relationship, RelationshipFilter, SubjectRef


class PdpError(Exception):
    """The root of what ``pdp`` raises on purpose; anything else is a bug."""


class StoreUnavailable(PdpError):
    """The database cannot be reached or did not answer in time; the same call may pass later."""


class StoreNotFound(PdpError):
    """No store of that name."""

    def __init__(self, store: str) -> None:
        super().__init__(f"no store `{store}`")
        self.store = store


class SchemaMissing(PdpError):
    """The store has no schema yet."""

    def __init__(self) -> None:
        super().__init__("no schema has been defined; write one first")


class SchemaChanged(PdpError):
    """Another schema was written between reading and writing; read again and repeat."""


class SchemaInUse(PdpError):
    """A schema change would orphan a stored relationship; ``usage`` is the index of what must be unused.

    ``names`` tells what the change would take away: ``operation`` and the names that go with it.
    """

    def __init__(
        self, relationship: Relationship, usage: int, why: str = "", names: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        super().__init__(f"{why or 'the change would orphan a relationship'}: `{relationship}`")
        self.relationship = relationship
        self.usage = usage
        self.names = names


class SchemaChangeRefused(PdpError):
    """A schema change that is refused whether or not anything is stored, such as a caveat's parameter retyped."""

    def __init__(self, why: str, names: Mapping[str, str]) -> None:
        super().__init__(why)
        self.names = names


class UnknownDefinition(PdpError):
    """A type that the schema does not define."""

    def __init__(self, name: str, near: str | None = None) -> None:
        hint = f"; did you mean `{near}`?" if near else ""
        super().__init__(f"no definition `{name}`{hint}")
        self.name = name


class UnknownRelation(PdpError):
    """A relation or permission that its definition does not have."""

    def __init__(self, definition: str, name: str, near: str | None = None) -> None:
        hint = f"; did you mean `{near}`?" if near else ""
        super().__init__(f"no relation or permission `{name}` on `{definition}`{hint}")
        self.definition = definition
        self.name = name


class UnknownCaveat(PdpError):
    """A caveat that the schema does not define."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no caveat `{name}`")
        self.name = name


class InvalidSubjectType(PdpError):
    """A relation does not take subjects of that type, relation, caveat or expiration."""

    def __init__(self, definition: str, relation: str, subject_type: str, near: str | None = None) -> None:
        hint = f"; did you mean `{near}`?" if near else ""
        super().__init__(
            f"subjects of type `{subject_type}` are not allowed on relation `{definition}#{relation}`{hint}"
        )
        self.definition = definition
        self.relation = relation
        self.subject_type = subject_type


class CannotUpdatePermission(PdpError):
    """A relationship names a permission where it must name a relation."""

    def __init__(self, definition: str, permission: str) -> None:
        super().__init__(f"cannot write a relationship to permission `{definition}#{permission}`")
        self.definition = definition
        self.permission = permission


class NothingStored(PdpError):
    """Relationships of a permission were asked for; only relations have any."""

    def __init__(self, definition: str, permission: str) -> None:
        super().__init__(f"`{permission}` of `{definition}` is a permission: no relationships are stored under it")
        self.definition = definition
        self.permission = permission


class DuplicateUpdate(PdpError):
    """One request names the same relationship twice."""

    def __init__(self, relationship: Relationship) -> None:
        super().__init__(f"more than one update of relationship `{relationship}` in this request")
        self.relationship = relationship


class AlreadyExists(PdpError):
    """A relationship to be created is there already and has not expired."""

    def __init__(self, relationship: Relationship) -> None:
        super().__init__(f"could not create relationship `{relationship}`, as it already exists")
        self.relationship = relationship


class PreconditionFailed(PdpError):
    """A precondition of the write does not hold; nothing was written."""

    def __init__(self, precondition: Precondition) -> None:
        wanted = "a matching relationship" if precondition.must_match else "no matching relationship"
        super().__init__(f"unable to satisfy write precondition: {wanted} was wanted")
        self.precondition = precondition


class PermissionMissing(PdpError):
    """A permission that the write was made to depend on is not held; nothing was written."""

    def __init__(self, resource: ObjectRef, permission: str, subject: SubjectRef) -> None:
        super().__init__(f"`{subject}` has no permission `{permission}` on `{resource}`, which the write depends on")
        self.resource = resource
        self.permission = permission
        self.subject = subject


class InvalidZookie(PdpError):
    """A zookie that cannot be read, was forged, or belongs to another store or timeline."""


class RevisionInFuture(PdpError):
    """A revision that the store has not reached."""


class RevisionExpired(PdpError):
    """A revision older than what is kept."""


class WorkExceeded(PdpError):
    """Evaluation stopped before it knew the answer. Never read this as a denial."""


class DeadlineExceeded(WorkExceeded):
    """Evaluation ran out of time before it knew the answer."""


class NegationCycle(PdpError):
    """The answer depends on a permission that depends on its own negation, so it has no meaning."""

    def __init__(self, cycle: Sequence[str]) -> None:
        super().__init__(f"the answer depends on its own negation: {' → '.join(cycle)}")
        self.cycle = tuple(cycle)


class CaveatEvaluationFailed(PdpError):
    """A caveat's expression could not be evaluated with the context given, and the answer depends on it."""

    def __init__(self, caveat: str, reason: str) -> None:
        super().__init__(f"evaluation error for caveat `{caveat}`: {reason}")
        self.caveat = caveat
        self.reason = reason


class CaveatParameterInvalid(CaveatEvaluationFailed):
    """A context has a value of the wrong type for a parameter of a caveat, or one for a parameter there is not."""

    def __init__(self, caveat: str, parameter: str, reason: str) -> None:
        PdpError.__init__(
            self, f"cannot use the context for caveat `{caveat}`: parameter `{parameter[:64]}`: {reason}"
        )
        self.caveat = caveat
        self.parameter = parameter
        self.reason = reason


class WildcardNotAllowed(PdpError):
    """A question about ``type:*`` as if it were one subject; ``field`` is where it was asked."""

    def __init__(self, field: str) -> None:
        super().__init__("cannot perform this query on a wildcard subject; name one subject")
        self.field = field


class DatabaseNotMigrated(PdpError):
    """The database's tables are of a version that this program cannot run on."""


class UnknownMigration(PdpError):
    """A version of the database's tables that is not known here."""

    def __init__(self, version: str) -> None:
        super().__init__(f"no migration `{version}` is known to this program")
        self.version = version


class StoreExists(PdpError):
    """A store of that name is there already."""

    def __init__(self, store: str) -> None:
        super().__init__(f"a store `{store}` exists already")
        self.store = store


class QuotaExceeded(PdpError):
    """A store's quota does not allow the write; ``quota`` names it."""

    def __init__(self, quota: str, maximum: int) -> None:
        wanted = "takes no more writes in this second" if quota == "writes_per_second_max" else "is full"
        super().__init__(f"the store {wanted}: its quota `{quota}` is {maximum}")
        self.quota = quota
        self.maximum = maximum


class IdempotencyConflict(PdpError):
    """An idempotency key was used before, with another request."""

    def __init__(self, key: str) -> None:
        super().__init__(f"idempotency key `{key}` was used for another request")
        self.key = key


class TooManyToDelete(PdpError):
    """More relationships match than one call may delete; none was deleted."""

    def __init__(self, limit: int, filter_: RelationshipFilter) -> None:
        super().__init__(f"more than {limit} relationships match, and a partial deletion was not asked for")
        self.limit = limit
        self.filter = filter_


class KeyCollision(PdpError):
    """Two relationships have the same row key. It has never been seen; nothing is overwritten."""

    def __init__(self, stored: Relationship, wanted: Relationship) -> None:
        super().__init__(f"relationships `{stored}` and `{wanted}` have the same row key")
        self.stored = stored
        self.wanted = wanted


class ImportRefused(PdpError):
    """A stream of relationships that cannot be stored as one revision."""


class WatchTooSlow(PdpError):
    """A watcher did not take its events in time; it may resume from the last one it took."""


class CounterAlreadyRegistered(PdpError):
    """A counter of that name exists."""

    def __init__(self, name: str, filter_: RelationshipFilter) -> None:
        super().__init__(f"counter `{name}` is already registered")
        self.name = name
        self.filter = filter_


class CounterNotRegistered(PdpError):
    """No counter of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"counter `{name}` is not registered")
        self.name = name


class InvalidFilter(PdpError):
    """A filter that asks for nothing, or for what contradicts itself."""

    def __init__(self, reason: str, filter_: RelationshipFilter) -> None:
        super().__init__(f"invalid filter: {reason}")
        self.filter = filter_


class InvalidBackup(PdpError):
    """A file that is no backup, is damaged, or was made by a newer version."""
