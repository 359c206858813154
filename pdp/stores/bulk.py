"""Relationships in and out by the million.

An import under `Conflict.FAIL` is one revision, so its rows can only be written under the store's lock, which names
that revision. So that a slow sender does not hold up the others, the lock is taken late: when `SPOOLED_MAX`
relationships have come or the stream has ended. Under the other policies every `BATCH` is a revision of its own, and
the lock is free between them. Rows go in sorted by their key, which is worth a third of the time.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pdp.errors import AlreadyExists, ImportRefused, KeyCollision, SchemaChanged
from pdp.relationships import Relationship, RelationshipFilter, Revision
from pdp.stores.batch import Batch, Kind, Part, Place, Row, StoreRow, Wanted, kind_of
from pdp.stores.changelog import Change, encode_changes
from pdp.stores.database import DuplicateRow, Query, WriteTransaction
from pdp.stores.filters import ROW, add_after, add_filter, add_path, of_store, path, snapshot
from pdp.stores.keys import KeyMaker
from pdp.stores.tables import LIVING
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
    """A batch ready to be written: rows in key order, their changelog part, and what they add to each kind."""

    rows: Sequence[Row]
    part: bytes
    kinds: Mapping[Kind, int]


def _prepare(keys: KeyMaker, batch: Sequence[Relationship], revision: Revision) -> _Prepared:
    rows = sorted(Row(keys.key(one), revision, LIVING, one) for one in batch)
    return _Prepared(
        rows, encode_changes([Change(None, one) for one in batch]), Counter(kind_of(one) for one in batch)
    )


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


async def _import_whole(
    store: "SqlStore",
    batches: AsyncIterator[Sequence[Relationship]],
    metadata: Mapping[str, Any],
    schema_seen: Revision | None,
    progress: Callable[[int], None] | None,
) -> ImportResult:
    spooled: list[Sequence[Relationship]] = []
    async for batch in batches:
        spooled.append(batch)
        if sum(map(len, spooled)) >= SPOOLED_MAX:
            break

    async def all_batches() -> AsyncIterator[Sequence[Relationship]]:
        for batch in spooled:
            yield batch
        while True:
            try:
                batch = await asyncio.wait_for(anext(batches), PAUSE_SECONDS_MAX)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise ImportRefused(
                    f"the stream paused for more than {PAUSE_SECONDS_MAX:.0f} s while others waited for it"
                ) from error
            yield batch

    if not spooled:
        return ImportResult(await store.head())
    result: ImportResult = await store.alone(
        lambda: _write_whole(store, all_batches(), metadata, schema_seen, progress)
    )
    return result


async def _write_whole(
    store: "SqlStore",
    batches: AsyncIterator[Sequence[Relationship]],
    metadata: Mapping[str, Any],
    schema_seen: Revision | None,
    progress: Callable[[int], None] | None,
) -> ImportResult:
    async with store.database.begin() as tx:
        batch = await _begin(store, tx, schema_seen)
        revision = Revision(batch.revision + 1)
        careful = await _may_have_expired(store, tx)
        created = replaced = part = 0
        async for relationships in batches:
            created += len(relationships)
            if created > WHOLE_MAX:
                raise ImportRefused(f"more than {WHOLE_MAX} relationships in one revision; import by batches")
            batch.admit_growth(created - replaced)
            prepared = await asyncio.to_thread(_prepare, store.keys, relationships, revision)
            changes_part = prepared.part
            if careful:
                expired = await _make_room(store, tx, batch, prepared.rows, revision)
                if expired:
                    replaced += len(expired)
                    changes_part = encode_changes([Change(expired.get(one.identity), one) for one in relationships])
            await _insert(store, tx, prepared.rows)
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
    store: "SqlStore", tx: WriteTransaction, batch: Batch, rows: Sequence[Row], revision: Revision
) -> dict[Any, Relationship]:
    """End the expired relationships in the rows' places, by identity. Raises `AlreadyExists` for others."""
    stored = await tx.at_places(store.store_id, [row.key[:2] for row in rows])
    for one in stored:
        if one.expires_at is None or one.expires_at > batch.instant:
            raise AlreadyExists(one)
    await store.end(tx, stored, revision)
    batch.count_kinds({kind: -count for kind, count in Counter(map(kind_of, stored)).items()})
    return {one.identity: one for one in stored}


async def _insert(store: "SqlStore", tx: WriteTransaction, rows: Sequence[Row]) -> None:
    try:
        await tx.insert(store.store_id, rows)
    except DuplicateRow as error:
        for row in rows:
            if row.key[:2] == error.place:
                raise AlreadyExists(row.relationship) from error
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
    keyed = await asyncio.to_thread(lambda: [(store.keys.key(one), one) for one in relationships])
    wanted: dict[Place, Row] = {}
    for key, one in keyed:
        known = wanted.get(key[:2])
        if known is not None and known.relationship.identity != one.identity:
            raise KeyCollision(known.relationship, one)
        if known is None or conflict is Conflict.TOUCH:
            wanted[key[:2]] = Row(key, 0, LIVING, one)
    async with store.database.begin() as tx:
        batch = await _begin(store, tx, schema_seen)
        stored = {store.keys.key(one)[:2]: one for one in await tx.at_places(store.store_id, sorted(wanted))}
        changes: list[Change] = []
        rows: list[Row] = []
        created = changed = 0
        for place, row in wanted.items():
            before, after = stored.get(place), row.relationship
            if before is not None and before.identity != after.identity:
                raise KeyCollision(before, after)
            expired = before is not None and before.expires_at is not None and before.expires_at <= batch.instant
            if before is not None and (before == after or (conflict is Conflict.SKIP and not expired)):
                continue
            created += before is None or expired
            changed += before is not None and not expired
            changes.append(Change(before, after))
            rows.append(row._replace(created=batch.revision + 1))
        if changes:
            await _replace(store, tx, batch, changes, rows, metadata)
    return ImportResult(batch.revision, int(bool(changes)), created, changed, len(relationships) - created - changed)


async def _replace(
    store: "SqlStore",
    tx: WriteTransaction,
    batch: Batch,
    changes: Sequence[Change],
    rows: Sequence[Row],
    metadata: Mapping[str, Any],
) -> None:
    removed = [change.before for change in changes if change.before is not None]
    batch.admit_growth(len(rows) - len(removed))
    revision = Revision(batch.revision + 1)
    await store.end(tx, removed, revision)
    await tx.insert(store.store_id, sorted(rows))
    part = await asyncio.to_thread(encode_changes, changes)
    await tx.save_parts(store.store_id, [Part(revision, 0, part)])
    kinds: Counter[Kind] = Counter(kind_of(row.relationship) for row in rows)
    kinds.subtract(Counter(map(kind_of, removed)))
    batch.count_kinds(kinds)
    batch.take_bulk(metadata, len(rows), len(removed), 1)
    await store.save(tx, batch)


async def export_pages(
    store: "SqlStore", at: Revision, filter_: RelationshipFilter, after: Relationship | None, rows_max: int
) -> AsyncIterator[Sequence[tuple[Any, ...]]]:
    """A snapshot's matches page by page, the next one read while the one before is used."""
    by = path(filter_, store.keys)
    order = ", ".join(by.columns)

    async def page(start: tuple[int, int] | None) -> Sequence[tuple[Any, ...]]:
        where = snapshot(store.store_id, at)
        add_path(where, by)
        add_filter(where, filter_)
        if start is not None:
            add_after(where, by, start)
        text = f"SELECT {ROW} FROM pdp_relationships WHERE {where.sql} ORDER BY {order} LIMIT {rows_max}"
        mark, rows = await store.database.read(Query(text, where.parameters), at)
        store.check_mark(mark, at)
        return [tuple(row) for row in rows]

    reading = asyncio.create_task(page(by.after(store.keys.key(after)) if after is not None else None))
    try:
        while rows := await reading:
            if len(rows) == rows_max:
                last = Relationship._make(rows[-1])
                reading = asyncio.create_task(page(by.after(store.keys.key(last))))
                yield rows
            else:
                yield rows
                return
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await reading
