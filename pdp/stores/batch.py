"""Deciding a batch of writes, without I/O: what each request's outcome is, and what rows come of it.

All stores decide under the store's lock, in request order, from what they selected there. Later requests of a batch
see the earlier ones' changes, as if each had been a transaction of its own; one that is refused leaves nothing for
them to see.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, TypeAlias, assert_never

import msgspec

from pdp.errors import (
    AlreadyExists,
    IdempotencyConflict,
    KeyCollision,
    PreconditionFailed,
    QuotaExceeded,
    SchemaChanged,
)
from pdp.relationships import (
    WILDCARD,
    Instant,
    ObjectRef,
    Operation,
    Precondition,
    Relationship,
    RelationshipFilter,
    Revision,
)
from pdp.stores.changelog import PART_CHANGES_MAX, Change, encode_changes, encode_metadata
from pdp.stores.filters import matches
from pdp.stores.keys import Key, KeyMaker
from pdp.stores.protocol import (
    DeleteRequest,
    DeleteResult,
    Found,
    Outcome,
    Read,
    RelationSet,
    ResourcesRead,
    SubjectsRead,
    WriteRequest,
    WriteResult,
)
from pdp.stores.tables import LIVING

_A_WRITE = 1_000  # thousandths

Place: TypeAlias = tuple[int, int]
"""A relationship's slot and pair."""


class StoreRow(NamedTuple):
    """What a store's row holds when its lock was taken, and the database's clock then."""

    revision: int
    committed_at: int
    schema_revision: int
    relationships: int
    relationships_max: int | None
    writes_per_second_max: int | None
    allowance: int
    deleted_at: int | None
    now: int


class Kind(NamedTuple):
    """What is counted together (`pdp.stores.protocol.Usage` asks for the same)."""

    resource_type: str
    relation: str
    subject_type: str
    subject_relation: str
    wildcard: int
    caveat_name: str
    expiration: int


class Remembered(NamedTuple):
    """The request that was made with an idempotency key, and its result in JSON."""

    request_hash: bytes
    result: str


class Row(NamedTuple):
    """A new row of the relationships' table."""

    key: Key
    created: int
    deleted: int
    relationship: Relationship


class Ended(NamedTuple):
    """A living row that a revision deletes."""

    slot: int
    pair: int
    revision: int


class Logged(NamedTuple):
    """A revision for the changelog; its changes are in ``parts`` parts of their own where that is not 0."""

    revision: int
    metadata: str
    schema_changed: int
    added: int
    removed: int
    changes: bytes
    parts: int


class Part(NamedTuple):
    """Changes of a revision that has very many of them."""

    revision: int
    part: int
    changes: bytes


class Saving(NamedTuple):
    """All that a transaction writes for the revisions it takes. Rows that end are ended before others are born."""

    revision: int
    committed_at: int
    schema_revision: int
    relationships: int
    allowance: int
    ended: Sequence[Ended]
    born: Sequence[Row]
    logged: Sequence[Logged]
    parts: Sequence[Part]
    kinds: Mapping[Kind, int]
    remembered: Sequence[tuple[str, Remembered]]


def full_allowance(writes_per_second: int | None) -> int:
    """What may be written at once after a second without a write."""
    return (writes_per_second or 0) * _A_WRITE


def kind_of(relationship: Relationship) -> Kind:
    """The kind of a relationship."""
    return Kind(
        relationship.resource_type,
        relationship.relation,
        relationship.subject_type,
        relationship.subject_relation,
        int(relationship.subject_id == WILDCARD),
        relationship.caveat_name,
        int(relationship.expires_at is not None),
    )


def count_kinds(relationships: Iterable[Relationship]) -> dict[Kind, int]:
    """How many there are of each kind."""
    counted = Counter((r[0], r[2], r[3], r[5], r[4] == WILDCARD, r[6], r[8] is not None) for r in relationships)
    return {Kind(*kind[:4], int(kind[4]), kind[5], int(kind[6])): count for kind, count in counted.items()}


def request_hash(request: WriteRequest | DeleteRequest) -> bytes:
    """What two requests with one idempotency key must have alike."""
    guards = [guard.text for guard in request.guards]
    match request:
        case WriteRequest():
            updates = [(operation.value, relationship) for operation, relationship in request.updates]
            body: object = ("write", updates, request.preconditions, request.metadata, request.sets, guards)
        case DeleteRequest():
            body = (
                "delete",
                request.filter,
                request.preconditions,
                request.limit,
                request.partial,
                request.metadata,
                guards,
            )
        case _:
            assert_never(request)
    return blake2b(msgspec.json.encode(body, order="sorted"), digest_size=16).digest()


@dataclass(slots=True)
class Wanted:
    """What a batch needs to have read under the lock.

    ``filters`` has, beside each precondition's filter, how many matches are enough: one more than the batch could
    take away before that precondition is judged.
    """

    places: dict[Place, None] = field(default_factory=dict)
    filters: dict[RelationshipFilter, int] = field(default_factory=dict)
    relations: dict[tuple[ObjectRef, str], None] = field(default_factory=dict)
    idempotency_keys: dict[str, None] = field(default_factory=dict)


def wanted(requests: Iterable[WriteRequest | DeleteRequest], keys: KeyMaker) -> Wanted:
    """What judging the requests, in that order, needs."""
    found = Wanted()
    before: list[Relationship] = []
    sets: list[RelationSet] = []
    for request in requests:
        if request.idempotency_key:
            found.idempotency_keys[request.idempotency_key] = None
        for precondition in request.preconditions:
            filter_ = precondition.filter
            # a set removes any number, so all that it could remove must be known
            takes_any = any(_may_meet(filter_, one) for one in sets)
            enough = 1 + (sum(matches(filter_, one) for one in before) if not takes_any else 1_000_000)
            found.filters[filter_] = max(enough, found.filters.get(filter_, 0))
        if isinstance(request, WriteRequest):
            for update in request.updates:
                found.places[keys.key(update.relationship)[:2]] = None
                before.append(update.relationship)
            for one in request.sets:
                found.relations[one.resource, one.relation] = None
                before.extend(one.relationships)
                sets.append(one)
    return found


def _may_meet(filter_: RelationshipFilter, one: RelationSet) -> bool:
    return (
        filter_.resource_type in (None, one.resource.type)
        and (not filter_.resource_ids or one.resource.id in filter_.resource_ids)
        and filter_.relation in (None, one.relation)
    )


class Batch:
    """Judges requests one after another over what is stored."""

    def __init__(
        self,
        store: StoreRow,
        keys: KeyMaker,
        *,
        living: Iterable[Relationship],
        matching: Mapping[RelationshipFilter, Sequence[Relationship]],
        relations: Iterable[tuple[ObjectRef, str]] = (),
        remembered: Mapping[str, Remembered],
    ) -> None:
        """``living`` holds what is stored at the wanted places and of the wanted relations."""
        self._keys = keys
        self.stored_revision = self.revision = Revision(store.revision)
        self.schema_revision = Revision(store.schema_revision)
        self.instant = Instant(max(store.now, store.committed_at))
        self._relationships = store.relationships
        self._relationships_max = store.relationships_max
        self._rate = store.writes_per_second_max
        self._allowance = self._refilled(store)
        self._living: dict[Place, Relationship | None] = {}
        self._members: dict[tuple[ObjectRef, str], dict[Place, None]] = {relation: {} for relation in relations}
        for one in living:
            place = keys.key(one)[:2]
            self._living[place] = one
            if (one.resource, one.relation) in self._members:
                self._members[one.resource, one.relation][place] = None
        self._matching = matching
        self._remembered = dict(remembered)
        self._changed: dict[Place, Change] = {}
        self._kinds: Counter[Kind] = Counter()
        self._ended: list[Ended] = []
        self._born: dict[Place, Row] = {}
        self._dead: list[Row] = []
        self._logged: list[Logged] = []
        self._parts: list[Part] = []
        self._newly_remembered: list[tuple[str, Remembered]] = []

    def _refilled(self, store: StoreRow) -> int:
        if self._rate is None:
            return store.allowance
        elapsed = max(0, store.now - store.committed_at)
        return min(full_allowance(self._rate), store.allowance + elapsed * self._rate // _A_WRITE)

    def admit(self, request: WriteRequest | DeleteRequest) -> str | None:
        """Judge all but the changes. The first result, in JSON, where an idempotency key has been used before."""
        if request.idempotency_key:
            remembered = self._remembered.get(request.idempotency_key)
            if remembered is not None:
                if remembered.request_hash != request_hash(request):
                    raise IdempotencyConflict(request.idempotency_key)
                return remembered.result
        if request.schema_seen is not None and request.schema_seen != self.schema_revision:
            raise SchemaChanged("the schema was changed while the write was checked against it")
        if self._rate is not None and self._allowance < _A_WRITE:
            raise QuotaExceeded("writes_per_second_max", self._rate)
        for precondition in request.preconditions:
            if self._matches(precondition) != precondition.must_match:
                raise PreconditionFailed(precondition)
        return None

    def apply(self, request: WriteRequest) -> WriteResult:
        """Judge the changes of an admitted request and take a revision for them."""
        outcomes: list[Outcome] = []
        changes: list[Change] = []
        for operation, relationship in request.updates:
            outcomes.append(self._update(operation, relationship, changes))
        set_outcomes = tuple(self._set(one, changes) for one in request.sets)
        self.take(request.metadata, changes)
        result = WriteResult(self.revision, tuple(outcomes), set_outcomes)
        self.remember(request, result)
        return result

    def take(self, metadata: Mapping[str, object], changes: Sequence[Change], *, schema: bool = False) -> None:
        """Take the next revision for changes that are decided, or for a schema."""
        added = sum(change.after is not None for change in changes)
        removed = sum(change.before is not None for change in changes)
        self.admit_growth(added - removed)
        self._relationships += added - removed
        self._allowance -= _A_WRITE if self._rate is not None else 0
        self.revision = Revision(self.revision + 1)
        if schema:
            self.schema_revision = self.revision
        for change in changes:
            self._record(change)
        inline = len(changes) <= PART_CHANGES_MAX
        parts = (
            [] if inline else [changes[n : n + PART_CHANGES_MAX] for n in range(0, len(changes), PART_CHANGES_MAX)]
        )
        self._parts += [Part(self.revision, n, encode_changes(part)) for n, part in enumerate(parts)]
        self._logged.append(
            Logged(
                self.revision,
                encode_metadata(metadata),
                int(schema),
                added,
                removed,
                encode_changes(changes if inline else ()),
                len(parts),
            )
        )

    def admit_growth(self, relationships: int) -> None:
        """Raise `QuotaExceeded` where the store may not hold so many more."""
        maximum = self._relationships_max
        if maximum is not None and relationships > 0 and self._relationships + relationships > maximum:
            raise QuotaExceeded("relationships_max", maximum)

    def take_bulk(self, metadata: Mapping[str, object], added: int, removed: int, parts: int) -> None:
        """Take the next revision for changes whose rows, parts and kinds are written apart."""
        self._relationships += added - removed
        self._allowance -= _A_WRITE if self._rate is not None else 0
        self.revision = Revision(self.revision + 1)
        logged = Logged(self.revision, encode_metadata(metadata), 0, added, removed, encode_changes(()), parts)
        self._logged.append(logged)

    def count_kinds(self, kinds: Mapping[Kind, int]) -> None:
        """Count living relationships that come or go beside those that `take` sees."""
        for kind, difference in kinds.items():
            self._kinds[kind] += difference

    def remember(self, request: WriteRequest | DeleteRequest, result: WriteResult | DeleteResult) -> None:
        """Keep the result for the request's idempotency key, if it has one."""
        if request.idempotency_key:
            remembered = Remembered(request_hash(request), msgspec.json.encode(result).decode())
            self._remembered[request.idempotency_key] = remembered
            self._newly_remembered.append((request.idempotency_key, remembered))

    def _update(self, operation: Operation, wanted: Relationship, changes: list[Change]) -> Outcome:
        before = self._stored(wanted)
        if operation is Operation.DELETE:
            if before is None:
                return Outcome.ABSENT
            changes.append(Change(before, None))
            return Outcome.DELETED
        expired = before is not None and before.expires_at is not None and before.expires_at <= self.instant
        if operation is Operation.CREATE and before is not None and not expired:
            raise AlreadyExists(wanted)
        if before == wanted and operation is Operation.TOUCH:
            return Outcome.UNCHANGED
        changes.append(Change(before, wanted))
        return Outcome.CREATED if before is None or expired else Outcome.CHANGED

    def _set(self, one: RelationSet, changes: list[Change]) -> tuple[tuple[Relationship, Outcome], ...]:
        outcomes = [
            (relationship, self._update(Operation.TOUCH, relationship, changes)) for relationship in one.relationships
        ]
        kept = {self._keys.key(relationship)[:2] for relationship in one.relationships}
        for place in self._members[one.resource, one.relation]:
            if place not in kept:
                gone = self._living[place]
                if gone is not None:
                    changes.append(Change(gone, None))
                    outcomes.append((gone, Outcome.DELETED))
        return tuple(outcomes)

    def _stored(self, wanted: Relationship) -> Relationship | None:
        stored = self._living.get(self._keys.key(wanted)[:2])
        if stored is not None and stored.identity != wanted.identity:
            raise KeyCollision(stored, wanted)
        return stored

    def _record(self, change: Change) -> None:
        before, after = change
        key = self._keys.key(change.relationship)
        place = key[:2]
        if before is not None:
            self._kinds[kind_of(before)] -= 1
            born = self._born.pop(place, None)
            if born is None:
                self._ended.append(Ended(*place, self.revision))
            else:
                self._dead.append(born._replace(deleted=self.revision))
        if after is not None:
            self._kinds[kind_of(after)] += 1
            self._born[place] = Row(key, self.revision, LIVING, after)
        self._living[place] = after
        self._changed[place] = change
        members = self._members.get((change.relationship.resource, change.relationship.relation))
        if members is not None:
            members.pop(place, None)
            if after is not None:
                members[place] = None

    def _matches(self, precondition: Precondition) -> bool:
        filter_ = precondition.filter
        if any(self._keys.key(one)[:2] not in self._changed for one in self._matching[filter_]):
            return True
        return any(
            one is not None and one.counts_at(self.instant) and matches(filter_, one)
            for _, one in self._changed.values()
        )

    def overlay(self, read: Read, stored: Sequence[Found]) -> Sequence[Found]:
        """A read's answer from the store, with what the batch has changed since."""
        found = {one.id: one for one in stored}
        for change in self._changed.values():
            far_id = _far_id(read, change.relationship)
            if far_id is None:
                continue
            if change.after is None:
                found.pop(far_id, None)
            else:
                found[far_id] = Found(far_id, *change.after[6:])
        return list(found.values())

    def saving(self) -> Saving | None:
        """What is to be written; ``None`` where no revision was taken."""
        if not self._logged:
            return None
        return Saving(
            self.revision,
            self.instant,
            self.schema_revision,
            self._relationships,
            self._allowance,
            self._ended,
            [*self._dead, *self._born.values()],
            self._logged,
            self._parts,
            {kind: difference for kind, difference in self._kinds.items() if difference},
            self._newly_remembered,
        )


def _far_id(read: Read, one: Relationship) -> str | None:
    """The id at the far end of a relationship, if it is one that the read asks for."""
    match read:
        case SubjectsRead(resource, relation, subject_type, subject_relation, ids):
            near = (one.resource, one.relation, one.subject_type, one.subject_relation)
            asked = near == (resource, relation, subject_type, subject_relation)
            return one.subject_id if asked and (not ids or one.subject_id in ids) else None
        case ResourcesRead(subject, resource_type, relation):
            asked = (one.subject, one.resource_type, one.relation) == (subject, resource_type, relation)
            return one.resource_id if asked else None
        case _:
            assert_never(read)
