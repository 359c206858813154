"""Relationships in and out by the million.

An import under `Conflict.FAIL` is one revision, so its rows can only be written under the store's lock, which names
that revision. So that a slow sender does not hold up the others, the lock is taken late: when `SPOOLED_MAX`
relationships have come or the stream has ended. Under the other policies every `BATCH` is a revision of its own, and
the lock is free between them. Rows go in sorted by their key, which is worth a third of the time.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pdp.errors import AlreadyExists, ImportRefused, KeyCollision, SchemaChanged
from pdp.relationships import Relationship, RelationshipFilter, Revision
from pdp.stores.batch import Batch, Kind, Part, StoreRow, Wanted, count_kinds
from pdp.stores.changelog import Change, encode_changes, encode_new
from pdp.stores.database import DuplicateRow, Query, WriteTransaction
from pdp.stores.filters import ROW, add_after, add_filter, add_path, of_store, path, snapshot
from pdp.stores.keys import Keyed, KeyMaker
from pdp.stores.values import Conflict, ImportResult

if TYPE_CHECKING:
    from pdp.stores.store import SqlStore

BATCH = 10_000
"""Relationships written together; under `Conflict.SKIP` and `Conflict.TOUCH` a revision."""
SPOOLED_MAX = 100_000
"""Relationships of a `Conflict.FAIL` stream that are held in memory before the lock is taken."""
WHOLE_MAX = 50_000_000
"""Relationships that one revision may bring: its changelog entry is read as a whole."""
PAUSE_SECONDS_MAX = 10.0
"""How long a stream may keep the lock waiting for more."""
_MANY = 20_000


class _Prepared(NamedTuple):
    """A batch ready to be written: in key order, its changelog part, and what it adds to each kind."""

    keyed: Keyed
    part: bytes
    kinds: Mapping[Kind, int]


def _prepare(keys: KeyMaker, batch: Sequence[Relationship]) -> _Prepared:
    return _Prepared(keys.keyed(batch), encode_new(batch), count_kinds(batch))


async def import_stream(
    store: "SqlStore",
    batches: AsyncIterable[Sequence[Relationship]],
    conflict: Conflict,
    metadata: Mapping[str, Any],
    schema_seen: Revision | None,
    progress: Callable[[int], None] | None,
) -> ImportResult:
    """See `pdp.stores.protocol.Bulk.import_relationships`."""
    regrouped = _regrouped(batches)
    if conflict is Conflict.FAIL:
        result = await _import_whole(store, regrouped, metadata, schema_seen, progress)
    else:
        result = await _import_by_batches(store, regrouped, conflict, metadata, schema_seen, progress)
    if result.created > _MANY:
        await store.database.after_bulk()
    return result


async def _regrouped(batches: AsyncIterable[Sequence[Relationship]]) -> AsyncIterator[Sequence[Relationship]]:
    """The stream in batches of `BATCH`, whatever it came in."""
    held: list[Relationship] = []
    async for batch in batches:
        held.extend(batch)
        while len(held) >= BATCH:
            yield held[:BATCH]
            held = held[BATCH:]
    if held:
        yield held


async def _ready(keys: KeyMaker, batches: AsyncIterable[Sequence[Relationship]]) -> AsyncGenerator[_Prepared, None]:
    """The batches, prepared on another thread, the next one while the one before is written."""
    preparing: asyncio.Task[_Prepared] | None = None
    try:
        async for batch in batches:
            ready, preparing = preparing, asyncio.create_task(asyncio.to_thread(_prepare, keys, batch))
            if ready is not None:
                yield await ready
        if preparing is not None:
            yield await preparing
    finally:
        if preparing is not None:
            await asyncio.wait([preparing])


async def _import_whole(
    store: "SqlStore",
    batches: AsyncIterator[Sequence[Relationship]],
    metadata: Mapping[str, Any],
    schema_seen: Revision | None,
    progress: Callable[[int], None] | None,
) -> ImportResult:
    ready = _ready(store.keys, batches)
    spooled: list[_Prepared] = []
    async for prepared in ready:
        spooled.append(prepared)
        if sum(len(one.keyed.slots) for one in spooled) >= SPOOLED_MAX:
            break

    async def all_ready() -> AsyncIterator[_Prepared]:
        for prepared in spooled:
            yield prepared
        while True:
            try:
                prepared = await asyncio.wait_for(anext(ready), PAUSE_SECONDS_MAX)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise ImportRefused(
                    f"the stream paused for more than {PAUSE_SECONDS_MAX:.0f} s while others waited for it"
                ) from error
            yield prepared

    if not spooled:
        return ImportResult(await store.head())
    try:
        result: ImportResult = await store.alone(
            lambda: _write_whole(store, all_ready(), metadata, schema_seen, progress)
        )
    finally:
        await ready.aclose()
    return result


async def _write_whole(
    store: "SqlStore",
    batches: AsyncIterator[_Prepared],
    metadata: Mapping[str, Any],
    schema_seen: Revision | None,
    progress: Callable[[int], None] | None,
) -> ImportResult:
    async with store.database.begin() as tx:
        batch = await _begin(store, tx, schema_seen)
        revision = Revision(batch.revision + 1)
        careful = await _may_have_expired(store, tx)
        created = replaced = part = 0
        async for prepared in batches:
            created += len(prepared.keyed.slots)
            if created > WHOLE_MAX:
                raise ImportRefused(f"more than {WHOLE_MAX} relationships in one revision; import by batches")
            batch.admit_growth(created - replaced)
            changes_part = prepared.part
            if careful:
                expired = await _make_room(store, tx, batch, prepared.keyed, revision)
                if expired:
                    replaced += len(expired)
                    changes_part = encode_changes(
                        [Change(expired.get(one.identity), one) for one in prepared.keyed.relationships]
                    )
            await _insert(store, tx, prepared.keyed, revision)
            await tx.save_parts(store.store_id, [Part(revision, part, changes_part)])
            batch.count_kinds(prepared.kinds)
            part += 1
            if progress is not None:
                progress(created)
        batch.take_bulk(metadata, created, replaced, part)
        await store.save(tx, batch)
    return ImportResult(batch.revision, 1, created)


async def _begin(store: "SqlStore", tx: WriteTransaction, schema_seen: Revision | None) -> Batch:
    row: StoreRow = await store.lock(tx)
    if schema_seen is not None and schema_seen != row.schema_revision:
        raise SchemaChanged("the schema was changed while the import was checked against it")
    return await store.open_batch(tx, row, Wanted())


async def _may_have_expired(store: "SqlStore", tx: WriteTransaction) -> bool:
    """Whether some stored relationship may have expired, and so may be stored anew."""
    where = of_store(store.store_id)
    where.add("expiration = 1 AND living > 0")
    (found,) = await tx.select([Query(f"SELECT 1 FROM pdp_kinds WHERE {where.sql} LIMIT 1", where.parameters)])
    return bool(found)


async def _make_room(
    store: "SqlStore", tx: WriteTransaction, batch: Batch, keyed: Keyed, revision: Revision
) -> dict[Any, Relationship]:
    """End the expired relationships in these places, by identity. Raises `AlreadyExists` for others."""
    stored = await tx.at_places(store.store_id, keyed.places())
    for one in stored:
        if one.expires_at is None or one.expires_at > batch.instant:
            raise AlreadyExists(one)
    await store.end(tx, stored, revision)
    batch.count_kinds({kind: -count for kind, count in count_kinds(stored).items()})
    return {one.identity: one for one in stored}


async def _insert(store: "SqlStore", tx: WriteTransaction, keyed: Keyed, revision: Revision) -> None:
    try:
        await tx.insert(store.store_id, keyed, revision)
    except DuplicateRow as error:
        for place, one in zip(keyed.places(), keyed.relationships, strict=True):
            if place == error.place:
                raise AlreadyExists(one) from error
        raise ImportRefused("a relationship of the stream is stored already or comes twice") from error


async def _import_by_batches(
    store: "SqlStore",
    batches: AsyncIterator[Sequence[Relationship]],
    conflict: Conflict,
    metadata: Mapping[str, Any],
    schema_seen: Revision | None,
    progress: Callable[[int], None] | None,
) -> ImportResult:
    total = ImportResult(await store.head())
    seen = 0
    async for relationships in batches:
        write = partial(_write_batch, store, relationships, conflict, metadata, schema_seen)
        one: ImportResult = await store.alone(write)
        total = ImportResult(
            one.revision,
            total.revisions + one.revisions,
            total.created + one.created,
            total.changed + one.changed,
            total.unchanged + one.unchanged,
        )
        seen += len(relationships)
        if progress is not None:
            progress(seen)
    return total


async def _write_batch(
    store: "SqlStore",
    relationships: Sequence[Relationship],
    conflict: Conflict,
    metadata: Mapping[str, Any],
    schema_seen: Revision | None,
) -> ImportResult:
    """Skip or touch one batch. Of those that come twice in it the first or the last counts, as in a stream."""
    last_first = relationships[::-1] if conflict is Conflict.TOUCH else relationships
    wanted = {one.identity: one for one in reversed(last_first)}
    keyed = await asyncio.to_thread(store.keys.keyed, list(wanted.values()))
    places = keyed.places()
    if len(set(places)) < len(places):
        raise KeyCollision(*_colliding(keyed))
    async with store.database.begin() as tx:
        batch = await _begin(store, tx, schema_seen)
        stored = {store.keys.key(one)[:2]: one for one in await tx.at_places(store.store_id, places)}
        changes: list[Change] = []
        created = changed = 0
        for place, after in zip(places, keyed.relationships, strict=True):
            before = stored.get(place)
            if before is not None and before.identity != after.identity:
                raise KeyCollision(before, after)
            expired = before is not None and before.expires_at is not None and before.expires_at <= batch.instant
            if before is not None and (before == after or (conflict is Conflict.SKIP and not expired)):
                continue
            created += before is None or expired
            changed += before is not None and not expired
            changes.append(Change(before, after))
        if changes:
            await _replace(store, tx, batch, changes, metadata)
    return ImportResult(batch.revision, int(bool(changes)), created, changed, len(relationships) - created - changed)


def _colliding(keyed: Keyed) -> tuple[Relationship, Relationship]:
    """Two relationships with one key; the columns are in key order."""
    places = keyed.places()
    n = next(n for n in range(1, len(places)) if places[n] == places[n - 1])
    return keyed.relationships[n - 1], keyed.relationships[n]


async def _replace(
    store: "SqlStore",
    tx: WriteTransaction,
    batch: Batch,
    changes: Sequence[Change],
    metadata: Mapping[str, Any],
) -> None:
    added = [change.after for change in changes if change.after is not None]
    removed = [change.before for change in changes if change.before is not None]
    batch.admit_growth(len(added) - len(removed))
    revision = Revision(batch.revision + 1)
    await store.end(tx, removed, revision)
    await tx.insert(store.store_id, store.keys.keyed(added), revision)
    part = await asyncio.to_thread(encode_changes, changes)
    await tx.save_parts(store.store_id, [Part(revision, 0, part)])
    batch.count_kinds(count_kinds(added))
    batch.count_kinds({kind: -count for kind, count in count_kinds(removed).items()})
    batch.take_bulk(metadata, len(added), len(removed), 1)
    await store.save(tx, batch)


async def export_pages(
    store: "SqlStore", at: Revision, filter_: RelationshipFilter, after: Relationship | None, rows_max: int
) -> AsyncIterator[Sequence[Relationship]]:
    """A snapshot's matches page by page, the next one read while the one before is used."""
    by = path(filter_, store.keys)
    order = ", ".join(by.columns)

    async def page(start: tuple[int, int] | None) -> Sequence[Relationship]:
        where = snapshot(store.store_id, at)
        add_path(where, by)
        add_filter(where, filter_)
        if start is not None:
            add_after(where, by, start)
        text = f"SELECT {ROW} FROM pdp_relationships WHERE {where.sql} ORDER BY {order} LIMIT {rows_max}"
        mark, rows = await store.database.relationships(Query(text, where.parameters), at)
        store.check_mark(mark, at)
        return rows

    reading = asyncio.create_task(page(by.after(store.keys.key(after)) if after is not None else None))
    try:
        while rows := await reading:
            if len(rows) == rows_max:
                reading = asyncio.create_task(page(by.after(store.keys.key(rows[-1]))))
                yield rows
            else:
                yield rows
                return
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await reading
