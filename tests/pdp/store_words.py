"""Requests to a store as its tests write them, and answers as they compare them."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence

from pdp.relationships import (
    Instant,
    ObjectRef,
    Operation,
    Precondition,
    Relationship,
    RelationshipFilter,
    Revision,
    SubjectFilter,
    SubjectRef,
    Update,
)
from pdp.stores.protocol import (
    Outcome,
    Read,
    RelationSet,
    ResourcesRead,
    Store,
    SubjectsRead,
    Transaction,
    WriteRequest,
)
from tests.notation import relationship

PAST = Instant(1)
FUTURE = Instant(4_000_000_000_000_000)
NONE_STORED = RelationshipFilter("doc", ("nowhere",))


def many(*texts: str) -> list[Relationship]:
    """Relationships from their notation."""
    return [relationship(text) for text in texts]


def create(*texts: str) -> list[Update]:
    """CREATE each."""
    return [Update(Operation.CREATE, one) for one in many(*texts)]


def touch(*texts: str) -> list[Update]:
    """TOUCH each."""
    return [Update(Operation.TOUCH, one) for one in many(*texts)]


def delete(*texts: str) -> list[Update]:
    """DELETE each."""
    return [Update(Operation.DELETE, one) for one in many(*texts)]


def exactly(resource: str, relation: str, *subjects: str) -> RelationSet:
    """Make a relation exactly these subjects."""
    type_, _, id_ = resource.partition(":")
    return RelationSet(
        ObjectRef(type_, id_), relation, tuple(many(*(f"{resource}#{relation}@{subject}" for subject in subjects)))
    )


def matching(resource: str = "", relation: str | None = None, subject: str = "") -> RelationshipFilter:
    """A filter: ``type`` or ``type:id`` or ``type:id1,id2`` or ``type:prefix*``; a subject likewise, with ``#``."""
    type_, _, ids = resource.partition(":")
    prefix = ids.removesuffix("%") if ids.endswith("%") else None
    return RelationshipFilter(
        type_ or None,
        tuple(ids.split(",")) if ids and prefix is None else (),
        prefix,
        relation,
        _subject(subject) if subject else None,
    )


def _subject(text: str) -> SubjectFilter:
    object_, has_relation, relation = text.partition("#")
    type_, _, id_ = object_.partition(":")
    return SubjectFilter(type_, id_ or None, relation if has_relation else None)


def must(filter_: RelationshipFilter) -> Precondition:
    """Some relationship matches."""
    return Precondition(must_match=True, filter=filter_)


def must_not(filter_: RelationshipFilter) -> Precondition:
    """No relationship matches."""
    return Precondition(must_match=False, filter=filter_)


def subjects_of(resource: str, relation: str, type_: str = "user", of: str = "", ids: str = "") -> SubjectsRead:
    """Subjects of one kind on a relation."""
    resource_type, _, resource_id = resource.partition(":")
    return SubjectsRead(ObjectRef(resource_type, resource_id), relation, type_, of, tuple(ids.split()) if ids else ())


def resources_of(subject: str, type_: str, relation: str) -> ResourcesRead:
    """Resources of one type on which a subject stands in a relation."""
    object_, _, of = subject.partition("#")
    subject_type, _, subject_id = object_.partition(":")
    return ResourcesRead(SubjectRef(subject_type, subject_id, of), type_, relation)


async def write(store: Store, updates: Sequence[Update], *preconditions: Precondition) -> Revision:
    """Write and return the revision."""
    return (await store.write(WriteRequest(updates, preconditions))).revision


async def outcomes(store: Store, updates: Sequence[Update]) -> list[str]:
    """Write and return what became of each update."""
    return [outcome.value for outcome in (await store.write(WriteRequest(updates))).outcomes]


async def stored(store: Store, at: Revision | None = None) -> list[str]:
    """All relationships at a revision, the newest by default, sorted, in notation without traits."""
    return sorted(str(one) for one in await everything(store, at))


async def everything(store: Store, at: Revision | None = None) -> list[Relationship]:
    """All relationships at a revision, the newest by default."""
    found: list[Relationship] = []
    async for rows in store.scan(await store.head() if at is None else at):
        found += [Relationship._make(row) for row in rows]
    return found


async def ids(store: Store, *reads: Read, at: Revision | None = None) -> list[list[str]]:
    """The far ids that reads find, sorted."""
    answers = await store.fetch(await store.head() if at is None else at, reads)
    return [sorted(found.id for found in answer) for answer in answers]


async def read_all(
    store: Store, filter_: RelationshipFilter, *, at: Revision | None = None, instant: Instant | None = None
) -> list[str]:
    """All that a filter selects, read page by page, sorted."""
    at = await store.head() if at is None else at
    found: list[Relationship] = []
    while True:
        after = found[-1] if found else None
        page = await store.read(at, filter_, instant=instant, after=after, limit=2)
        found += page.relationships
        if not page.more:
            return sorted(map(str, found))


async def in_batches(relationships: Iterable[Relationship], size: int = 100) -> AsyncIterator[list[Relationship]]:
    """A stream of relationships."""
    batch: list[Relationship] = []
    for one in relationships:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


async def collected(stream: AsyncIterable[Sequence[Relationship]]) -> list[Relationship]:
    """All of a stream."""
    return [one async for batch in stream for one in batch]


def changed(transaction: Transaction) -> tuple[list[str], list[str]]:
    """What a changelog entry added and removed, in notation without traits."""
    return list(map(str, transaction.added)), list(map(str, transaction.removed))


CREATED, UNCHANGED, CHANGED, DELETED, ABSENT = (outcome.value for outcome in Outcome)
