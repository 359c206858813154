"""Deciding a batch of writes, without I/O: what each request's outcome is, and what rows come of it.

All stores decide under the store's lock, in request order, from what they selected there: the living rows of every
relationship that the batch names, and whether each precondition matched. Later requests of a batch see the earlier
ones' changes, as if each had been a transaction of its own; one that is refused leaves nothing for them to see.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pdp.errors import AlreadyExists, PdpError, PreconditionFailed, SchemaChanged
from pdp.relationships import (
    Instant,
    Operation,
    Precondition,
    Relationship,
    RelationshipFilter,
    Revision,
)
from pdp.stores.protocol import Outcome, WriteRequest, WriteResult

Identity = tuple[str, str, str, str, str, str]


@dataclass(slots=True)
class Change:
    """A relationship's change by one revision: the row that ends and the row that begins."""

    before: Relationship | None
    after: Relationship | None


@dataclass(slots=True)
class Verdicts:
    """What a batch comes to: a result or an error per request, and the changes of each revision taken."""

    results: list[WriteResult | PdpError] = field(default_factory=list)
    changes: list[tuple[Revision, WriteRequest, list[Change]]] = field(default_factory=list)


def matches(filter_: RelationshipFilter, relationship: Relationship) -> bool:
    """Whether a relationship is one of those that the filter wants."""
    subject = filter_.subject
    return (
        (filter_.resource_type is None or relationship.resource_type == filter_.resource_type)
        and (not filter_.resource_ids or relationship.resource_id in filter_.resource_ids)
        and (filter_.resource_id_prefix is None or relationship.resource_id.startswith(filter_.resource_id_prefix))
        and (filter_.relation is None or relationship.relation == filter_.relation)
        and (
            subject is None
            or (
                relationship.subject_type == subject.type
                and (subject.id is None or relationship.subject_id == subject.id)
                and (subject.relation is None or relationship.subject_relation == subject.relation)
            )
        )
    )


class Batch:
    """Judges requests one after another over what is stored."""

    def __init__(
        self,
        head: Revision,
        schema_revision: Revision,
        instant: Instant,
        living: Iterable[Relationship],
        matching: Mapping[RelationshipFilter, Sequence[Relationship]],
    ) -> None:
        """``matching`` holds every stored relationship that counts and matches a precondition's filter, or enough
        of them: more than the batch could take away."""
        self._revision = head
        self._schema_revision = schema_revision
        self._instant = instant
        self._living: dict[Identity, Relationship | None] = {r.identity: r for r in living}
        self._matching = matching
        self._changed: dict[Identity, Relationship | None] = {}
        self.verdicts = Verdicts()

    def judge(self, request: WriteRequest) -> None:
        """Decide one request."""
        try:
            outcomes, changes = self._judge(request)
        except PdpError as error:
            self.verdicts.results.append(error)
            return
        self._revision = Revision(self._revision + 1)
        for change in changes:
            one = change.after or change.before
            if one is not None:
                self._living[one.identity] = change.after
                self._changed[one.identity] = change.after
        self.verdicts.results.append(WriteResult(self._revision, tuple(outcomes)))
        self.verdicts.changes.append((self._revision, request, changes))

    def _judge(self, request: WriteRequest) -> tuple[list[Outcome], list[Change]]:
        if request.schema_seen is not None and request.schema_seen != self._schema_revision:
            raise SchemaChanged("the schema was changed while the write was checked against it")
        for precondition in request.preconditions:
            if self._matches(precondition) != precondition.must_match:
                raise PreconditionFailed(precondition)
        outcomes: list[Outcome] = []
        changes: list[Change] = []
        for operation, wanted in request.updates:
            before = self._living.get(wanted.identity)
            if operation is Operation.DELETE:
                outcomes.append(Outcome.ABSENT if before is None else Outcome.DELETED)
                if before is not None:
                    changes.append(Change(before, None))
                continue
            if operation is Operation.CREATE and before is not None and not self._expired(before):
                raise AlreadyExists(wanted)
            if before == wanted:
                outcomes.append(Outcome.UNCHANGED)
                continue
            outcomes.append(Outcome.CREATED if before is None or self._expired(before) else Outcome.CHANGED)
            changes.append(Change(before, wanted))
        return outcomes, changes

    def _expired(self, relationship: Relationship) -> bool:
        return relationship.expires_at is not None and relationship.expires_at <= self._instant

    def _matches(self, precondition: Precondition) -> bool:
        filter_ = precondition.filter
        if any(r.identity not in self._changed for r in self._matching.get(filter_, ())):
            return True
        return any(
            r is not None and r.counts_at(self._instant) and matches(filter_, r) for r in self._changed.values()
        )
