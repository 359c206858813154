"""Everything that changes a store's relationships: what a door calls.

A request is held against the current schema, then done by the store, which refuses where another schema was written
in between; then it is held against that one, and so on. Nothing is acknowledged before this process has applied it.
"""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Protocol, TypeVar

from pdp.errors import PdpError, SchemaChanged
from pdp.follow import SchemaVersion
from pdp.guards import PermissionNeeded, guard
from pdp.relationships import Operation, Precondition, Relationship, RelationshipFilter, Revision, Update
from pdp.service import StoreService
from pdp.stores.protocol import DeleteRequest, DeleteResult, WriteRequest, WriteResult
from pdp.stores.values import Conflict, ImportResult
from pdp.validate import check_filter, check_relation, check_relationship, check_updates
from schema.model import Schema

_SCHEMA_RACES_MAX = 16


class _Done(Protocol):
    @property
    def revision(self) -> Revision: ...


Request = TypeVar("Request", WriteRequest, DeleteRequest)
Result = TypeVar("Result", bound=_Done)


async def write(store: StoreService, request: WriteRequest, needed: Sequence[PermissionNeeded] = ()) -> WriteResult:
    """Write as one revision, if every permission ``needed`` is held. ``schema_seen`` and ``guards`` are set here.

    Raises:
        PermissionMissing: one is not held.

    Else what `pdp.validate.check_updates` and `pdp.stores.protocol.RelationshipStore.write` raise.
    """

    def prepare(version: SchemaVersion) -> WriteRequest:
        schema = version.program.schema
        for one in request.sets:
            check_relation(schema, one.resource.type, one.relation)
        named = (Update(Operation.TOUCH, relationship) for one in request.sets for relationship in one.relationships)
        check_updates(schema, chain(request.updates, named))
        _check_preconditions(schema, request.preconditions)
        guards = [guard(version.program, one) for one in needed]
        return replace(request, schema_seen=version.written_at, guards=guards)

    return await _by_the_schema(store, prepare, store.store.write)


async def delete(
    store: StoreService, request: DeleteRequest, needed: Sequence[PermissionNeeded] = ()
) -> DeleteResult:
    """Delete by filter as one revision, if every permission ``needed`` is held; as `write`.

    Raises:
        PermissionMissing: one is not held.

    Else what `pdp.validate.check_filter` and `pdp.stores.protocol.RelationshipStore.delete` raise.
    """

    def prepare(version: SchemaVersion) -> DeleteRequest:
        check_filter(version.program.schema, request.filter)
        _check_preconditions(version.program.schema, request.preconditions)
        guards = [guard(version.program, one) for one in needed]
        return replace(request, schema_seen=version.written_at, guards=guards)

    return await _by_the_schema(store, prepare, store.store.delete)


def _check_preconditions(schema: Schema, preconditions: Sequence[Precondition]) -> None:
    for precondition in preconditions:
        check_filter(schema, precondition.filter)


async def _by_the_schema(
    store: StoreService,
    prepare: Callable[[SchemaVersion], Request],
    act: Callable[[Request], Awaitable[Result]],
) -> Result:
    follower = store.follower
    for _ in range(_SCHEMA_RACES_MAX):
        version = await follower.schema(follower.applied)
        try:
            request = prepare(version)
        except PdpError:
            await follower.catch_up(await follower.head())
            if await follower.schema(follower.applied) == version:
                raise
            continue  # another process wrote a newer schema, by which it may be in order
        try:
            result = await act(request)
        except SchemaChanged:
            await follower.catch_up(await follower.head())
            continue
        await follower.catch_up(result.revision)
        return result
    raise SchemaChanged("the schema kept changing while the request was held against it; repeat the request")


async def import_relationships(
    store: StoreService,
    batches: AsyncIterable[Sequence[Relationship]],
    *,
    conflict: Conflict = Conflict.FAIL,
    metadata: Mapping[str, Any] | None = None,
) -> ImportResult:
    """Store a stream of relationships, each held against the schema that was current when it began.

    Raises what `pdp.validate.check_relationship` and `pdp.stores.protocol.Bulk.import_relationships` raise.
    """
    follower = store.follower
    await follower.catch_up(await follower.head())
    version = await follower.schema(follower.applied)

    async def checked() -> AsyncIterator[Sequence[Relationship]]:
        async for batch in batches:
            for relationship in batch:
                check_relationship(version.program.schema, relationship)
            yield batch

    result = await store.store.import_relationships(
        checked(), conflict=conflict, metadata=metadata, schema_seen=version.written_at
    )
    await follower.catch_up(result.revision)
    return result


async def register_counter(store: StoreService, name: str, filter_: RelationshipFilter) -> None:
    """Keep a filter under a name.

    Raises what `pdp.validate.check_filter` and `pdp.stores.protocol.Counters.register_counter` raise.
    """
    follower = store.follower
    await follower.catch_up(await follower.head())
    version = await follower.schema(follower.applied)
    check_filter(version.program.schema, filter_)
    await store.store.register_counter(name, filter_)
