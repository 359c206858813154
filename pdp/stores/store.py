"""One store over a database: every answer's shape, and every write's way through the lock.

What is decided is decided in `pdp.stores.batch`; the driver runs the statements. Bulk and watching have modules of
their own and are only named here.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec

from pdp.errors import (
    CounterAlreadyRegistered,
    CounterNotRegistered,
    RevisionExpired,
    RevisionInFuture,
    SchemaChanged,
    SchemaInUse,
    StoreNotFound,
    StoreUnavailable,
    TooManyToDelete,
)
from pdp.relationships import Instant, ObjectRef, Relationship, RelationshipFilter, Revision
from pdp.stores import statements
from pdp.stores.batch import Batch, Ended, Part, Remembered, StoreRow, Wanted, count_kinds, wanted
from pdp.stores.bulk import export_pages, import_stream
from pdp.stores.changelog import PART_CHANGES_MAX, Change, Entry, encode_changes, transaction
from pdp.stores.database import Database, Mark, Query, WriteTransaction
from pdp.stores.filters import (
    ROW,
    Path,
    Where,
    add_after,
    add_counting,
    add_filter,
    add_path,
    add_usage,
    add_usage_of_kinds,
    filter_from_text,
    filter_to_text,
    living,
    of_store,
    path,
    snapshot,
)
from pdp.stores.group import GroupCommit
from pdp.stores.keys import KeyMaker
from pdp.stores.protocol import (
    IDEMPOTENCY_WINDOW,
    DeleteRequest,
    DeleteResult,
    Found,
    Page,
    Read,
    StoredSchema,
    Transaction,
    Usage,
    WriteRequest,
    WriteResult,
)
from pdp.stores.values import Conflict, ImportResult, KindCount, WatchEvent, WatchRequest
from pdp.stores.watch import Tail, watch

_SCAN_ROWS = 10_000
_CHANGES_BYTES_MAX = 8 << 20
_CHANGES = f"""SELECT revision, committed_at, schema_changed, metadata, added, removed, changes, parts FROM (
        SELECT t.*, sum(length(changes)) OVER (ORDER BY revision) - length(changes) AS bytes_before FROM (
            SELECT * FROM pdp_transactions WHERE store_id = $1 AND revision > $2 ORDER BY revision LIMIT $3
        ) AS t
    ) AS u WHERE bytes_before < {_CHANGES_BYTES_MAX} ORDER BY revision"""


class SqlStore:
    """See `pdp.stores.protocol.Store`."""

    def __init__(
        self, database: Database, store_id: int, name: str, timeline: str, zookie_key: bytes, hash_key: bytes
    ) -> None:
        self.database = database
        self.store_id = store_id
        self.name = name
        self.timeline = timeline
        self.zookie_key = zookie_key
        self.keys = KeyMaker(hash_key)
        self._group = GroupCommit(self._commit)
        self._tail = Tail(self)

    async def close(self) -> None:
        """Finish what was accepted."""
        await self._tail.close(StoreUnavailable("the store is being closed"))
        await self._group.close()

    async def retire(self) -> None:
        """Let go of everything that runs by itself, as the store was deleted."""
        await self._tail.close(StoreNotFound(self.name))

    def check_mark(self, mark: Mark | None, at: Revision) -> None:
        """Raise unless the snapshot that answered holds the revision whole."""
        if mark is None or mark.deleted_at is not None:
            raise StoreNotFound(self.name)
        if at > mark.revision:
            raise RevisionInFuture(f"revision {at} was not reached yet")
        if at < mark.oldest:
            raise RevisionExpired(f"revision {at} is no longer kept; the oldest is {mark.oldest}")

    async def head(self) -> Revision:
        """See `pdp.stores.protocol.RelationshipStore`."""
        rows = await self.database.execute(statements.HEAD, store=self.store_id)
        if not rows or rows[0][1] is not None:
            raise StoreNotFound(self.name)
        return Revision(rows[0][0])

    async def now(self) -> Instant:
        """See `pdp.stores.protocol.RelationshipStore`."""
        return await self.database.now()

    # writing

    async def write(self, request: WriteRequest) -> WriteResult:
        """See `pdp.stores.protocol.RelationshipStore`."""
        for one in request.sets:
            if any((r.resource, r.relation) != (one.resource, one.relation) for r in one.relationships):
                raise ValueError("a set names a relationship of another resource or relation")
        result = await self._group.write(request)
        self._tail.wake()
        return result

    async def delete(self, request: DeleteRequest) -> DeleteResult:
        """See `pdp.stores.protocol.RelationshipStore`."""
        result = await self._group.alone(lambda: self._delete(request))
        self._tail.wake()
        return result

    async def alone(self, work: Callable[[], Any]) -> Any:
        """Do work that takes the lock, in its turn."""
        result = await self._group.alone(work)
        self._tail.wake()
        return result

    async def _commit(self, requests: Sequence[WriteRequest]) -> Sequence[WriteResult | Exception]:
        results: list[WriteResult | Exception] = []
        async with self.database.begin() as tx:
            row = await self.lock(tx)
            batch = await self.open_batch(tx, row, wanted(requests, self.keys))
            for request in requests:
                try:
                    results.append(await self._judge(tx, batch, request))
                except Exception as error:
                    results.append(error)
            await self.save(tx, batch)
        return results

    async def lock(self, tx: WriteTransaction) -> StoreRow:
        """Take the store's lock. Raises `StoreNotFound` where there is nothing to lock."""
        row = await tx.lock(self.store_id)
        if row is None or row.deleted_at is not None:
            raise StoreNotFound(self.name)
        return row

    async def open_batch(self, tx: WriteTransaction, row: StoreRow, want: Wanted) -> Batch:
        """Read under the lock what judging needs."""
        instant = Instant(max(row.now, row.committed_at))
        stored = list(await tx.at_places(self.store_id, list(want.places)))
        relations, filters = list(want.relations), list(want.filters)
        queries = [self._of_relation(*relation) for relation in relations]
        queries += [self._of_filter(filter_, instant, want.filters[filter_]) for filter_ in filters]
        remembered: dict[str, Remembered] = {}
        if want.idempotency_keys:
            queries.append(self._remembered(list(want.idempotency_keys), instant))
        answers = list(await tx.select(queries))
        if want.idempotency_keys:
            remembered = {key: Remembered(*rest) for key, *rest in answers.pop()}
        for answer in answers[: len(relations)]:
            stored += [Relationship._make(found) for found in answer]
        matching = {
            filter_: [Relationship._make(found) for found in answer]
            for filter_, answer in zip(filters, answers[len(relations) :], strict=True)
        }
        return Batch(row, self.keys, living=stored, matching=matching, relations=relations, remembered=remembered)

    def _of_relation(self, resource: ObjectRef, relation: str) -> Query:
        where = living(self.store_id)
        filter_ = RelationshipFilter(resource.type, (resource.id,), None, relation)
        add_path(where, path(filter_, self.keys))
        add_filter(where, filter_)
        return Query(f"SELECT {ROW} FROM pdp_relationships WHERE {where.sql}", where.parameters)

    def _of_filter(self, filter_: RelationshipFilter, instant: Instant, enough: int) -> Query:
        where = living(self.store_id)
        add_path(where, path(filter_, self.keys))
        add_filter(where, filter_)
        add_counting(where, instant)
        return Query(f"SELECT {ROW} FROM pdp_relationships WHERE {where.sql} LIMIT {enough}", where.parameters)

    def _remembered(self, keys: Sequence[str], instant: Instant) -> Query:
        where = of_store(self.store_id)
        where.add("created_at > {}", instant - IDEMPOTENCY_WINDOW)
        where.add_any([("key = {}", (key,)) for key in keys])
        return Query(
            f"SELECT key, request_hash, result FROM pdp_idempotency_keys WHERE {where.sql}", where.parameters
        )

    async def _judge(self, tx: WriteTransaction, batch: Batch, request: WriteRequest) -> WriteResult:
        earlier = batch.admit(request)
        if earlier is not None:
            result = msgspec.json.decode(earlier, type=WriteResult)
            return WriteResult(result.revision, result.outcomes, result.set_outcomes, repeated=True)
        await self._hold(tx, batch, request)
        return batch.apply(request)

    async def _hold(self, tx: WriteTransaction, batch: Batch, request: WriteRequest | DeleteRequest) -> None:
        for guard in request.guards:
            await guard.hold(_Judging(self, tx, batch))

    async def save(self, tx: WriteTransaction, batch: Batch) -> None:
        """Write what the batch decided, if anything."""
        saving = batch.saving()
        if saving is not None:
            await tx.save(self.store_id, saving)

    async def _delete(self, request: DeleteRequest) -> DeleteResult:
        async with self.database.begin() as tx:
            row = await self.lock(tx)
            batch = await self.open_batch(tx, row, wanted([request], self.keys))
            earlier = batch.admit(request)
            if earlier is not None:
                first = msgspec.json.decode(earlier, type=DeleteResult)
                return DeleteResult(first.revision, first.deleted, first.complete, repeated=True)
            await self._hold(tx, batch, request)
            deleted = await self._delete_matches(tx, batch, request)
            complete = request.limit is None or deleted < request.limit
            result = DeleteResult(batch.revision, deleted, complete)
            batch.remember(request, result)
            await self.save(tx, batch)
        return result

    async def _delete_matches(self, tx: WriteTransaction, batch: Batch, request: DeleteRequest) -> int:
        """End all rows that match, page by page, as one revision. How many they were."""
        by = path(request.filter, self.keys)
        limit = request.limit
        if limit is not None and not request.partial:
            found = await self._matches(tx, request.filter, by, None, limit + 1)
            if len(found) > limit:
                raise TooManyToDelete(limit, request.filter)
        deleted, part, after = 0, 0, None
        while True:
            wanted_rows = PART_CHANGES_MAX if limit is None else min(PART_CHANGES_MAX, limit - deleted)
            found = await self._matches(tx, request.filter, by, after, wanted_rows)
            deleted += len(found)
            changes = [Change(one, None) for one in found]
            last = len(found) < wanted_rows or deleted == limit
            if last and not part:
                batch.take(request.metadata, changes)
                return deleted
            revision = Revision(batch.revision + 1)
            await self.end(tx, found, revision)
            await tx.save_parts(self.store_id, [Part(revision, part, encode_changes(changes))])
            batch.count_kinds({kind: -count for kind, count in count_kinds(found).items()})
            part += 1
            if last:
                batch.take_bulk(request.metadata, 0, deleted, part)
                return deleted
            after = by.after(self.keys.key(found[-1]))

    async def end(self, tx: WriteTransaction, ended: Sequence[Relationship], revision: Revision) -> None:
        """Let living rows end with a revision."""
        places = (self.keys.key(one)[:2] for one in ended)
        await tx.end(self.store_id, [Ended(slot, pair, revision) for slot, pair in places])

    async def _matches(
        self,
        tx: WriteTransaction,
        filter_: RelationshipFilter,
        by: Path,
        after: tuple[int, int] | None,
        limit: int,
    ) -> Sequence[Relationship]:
        where = living(self.store_id)
        (answer,) = await tx.select([self._page(where, filter_, by, after, limit)])
        return [Relationship._make(found) for found in answer]

    def _page(
        self, where: Where, filter_: RelationshipFilter, by: Path, after: tuple[int, int] | None, limit: int
    ) -> Query:
        add_path(where, by)
        add_filter(where, filter_)
        if after is not None:
            add_after(where, by, after)
        order = ", ".join(by.columns)
        text = f"SELECT {ROW} FROM pdp_relationships WHERE {where.sql} ORDER BY {order} LIMIT {limit}"
        return Query(text, where.parameters)

    # schemas

    async def write_schema(
        self, text: str, *, expected: Revision | None, must_be_unused: Sequence[Usage] = ()
    ) -> Revision:
        """See `pdp.stores.protocol.RelationshipStore`."""
        revision: Revision = await self.alone(lambda: self._write_schema(text, expected, must_be_unused))
        return revision

    async def _write_schema(self, text: str, expected: Revision | None, must_be_unused: Sequence[Usage]) -> Revision:
        async with self.database.begin() as tx:
            row = await self.lock(tx)
            if row.schema_revision != (expected or 0):
                raise SchemaChanged("another schema was written meanwhile; read it and repeat")
            batch = await self.open_batch(tx, row, Wanted())
            for index, usage in enumerate(must_be_unused):
                in_use = await self._in_use(tx, usage, batch.instant)
                if in_use is not None:
                    raise SchemaInUse(in_use, index)
            batch.take({}, (), schema=True)
            await tx.execute(statements.INSERT_SCHEMA, store=self.store_id, at=batch.revision, schema_text=text)
            await self.save(tx, batch)
        return batch.revision

    async def _in_use(self, tx: WriteTransaction, usage: Usage, instant: Instant) -> Relationship | None:
        """A living relationship of that usage that has not expired; the kinds tell whether to look for it."""
        counted = of_store(self.store_id)
        counted.add("living > 0")
        add_usage_of_kinds(counted, usage)
        (some,) = await tx.select([Query(f"SELECT 1 FROM pdp_kinds WHERE {counted.sql} LIMIT 1", counted.parameters)])
        if not some:
            return None
        where = living(self.store_id)
        add_usage(where, usage, self.keys)
        where.add("(expires_at IS NULL OR expires_at > {})", instant)
        query = Query(f"SELECT {ROW} FROM pdp_relationships WHERE {where.sql} LIMIT 1", where.parameters)
        (found,) = await tx.select([query])
        return Relationship._make(found[0]) if found else None

    async def schema(self, at: Revision) -> StoredSchema | None:
        """See `pdp.stores.protocol.RelationshipStore`."""
        rows = await self.database.execute(statements.SCHEMA, store=self.store_id, at=at)
        return StoredSchema(rows[0][0], Revision(rows[0][1])) if rows else None

    # reading

    async def fetch(self, at: Revision, reads: Sequence[Read]) -> Sequence[Sequence[Found]]:
        """See `pdp.stores.protocol.RelationshipStore`."""
        mark, answers = await self.database.fetch(self.store_id, at, reads, self.keys)
        self.check_mark(mark, at)
        return answers

    async def read(
        self,
        at: Revision,
        filter_: RelationshipFilter,
        *,
        instant: Instant | None,
        after: Relationship | None = None,
        limit: int,
    ) -> Page:
        """See `pdp.stores.protocol.RelationshipStore`."""
        by = path(filter_, self.keys)
        where = snapshot(self.store_id, at)
        if instant is not None:
            add_counting(where, instant)
        start = by.after(self.keys.key(after)) if after is not None else None
        mark, rows = await self.database.relationships(self._page(where, filter_, by, start, limit + 1), at)
        self.check_mark(mark, at)
        return Page(rows[:limit], len(rows) > limit)

    async def scan(self, at: Revision) -> AsyncIterator[Sequence[tuple[Any, ...]]]:
        """See `pdp.stores.protocol.RelationshipStore`."""
        async for page in export_pages(self, at, RelationshipFilter(), None, _SCAN_ROWS):
            yield page

    async def count(self) -> int:
        """See `pdp.stores.protocol.RelationshipStore`."""
        rows = await self.database.execute(statements.COUNT, store=self.store_id)
        if not rows:
            raise StoreNotFound(self.name)
        return int(rows[0][0])

    async def changes(self, after: Revision, limit: int) -> Sequence[Transaction]:
        """See `pdp.stores.protocol.RelationshipStore`."""
        mark, rows = await self.database.read(Query(_CHANGES, (self.store_id, after, limit)), None)
        if mark is None or mark.deleted_at is not None:
            raise StoreNotFound(self.name)
        if after < mark.oldest:
            raise RevisionExpired(f"changes after revision {after} are no longer kept; the oldest is {mark.oldest}")
        found: list[Transaction] = []
        for row in rows:
            entry = Entry._make(row)
            if entry.parts:
                if not found:
                    found.append(transaction(entry, await self._parts(entry)))
                break
            found.append(transaction(entry))
        return found

    async def _parts(self, entry: Entry) -> Sequence[bytes]:
        rows = await self.database.execute(statements.PARTS, store=self.store_id, at=entry.revision)
        if len(rows) != entry.parts:
            raise RevisionExpired(f"changes of revision {entry.revision} are no longer kept")
        return [row[0] for row in rows]

    # history

    async def oldest(self) -> Revision:
        """See `pdp.stores.protocol.History`."""
        rows = await self.database.execute(statements.OLDEST, store=self.store_id)
        if not rows or rows[0][2] is not None:
            raise StoreNotFound(self.name)
        return Revision(rows[0][0])

    async def committed_at(self, revision: Revision) -> Instant | None:
        """When a revision was committed, if its changelog entry is kept."""
        rows = await self.database.execute(statements.COMMITTED_AT, store=self.store_id, at=revision)
        return Instant(rows[0][0]) if rows else None

    async def revision_at(self, instant: Instant) -> Revision:
        """See `pdp.stores.protocol.History`."""
        if instant > await self.now():
            raise RevisionInFuture("that time is still to come")
        rows = await self.database.execute(statements.REVISION_AT, store=self.store_id, instant=instant)
        oldest = await self.oldest()
        revision = Revision(rows[0][0]) if rows else Revision(0)
        if revision < oldest:
            raise RevisionExpired("what was stored at that time is no longer kept")
        return revision

    async def count_matching(self, at: Revision, filter_: RelationshipFilter, instant: Instant | None) -> int:
        """See `pdp.stores.protocol.History`."""
        where = snapshot(self.store_id, at)
        add_path(where, path(filter_, self.keys))
        add_filter(where, filter_)
        if instant is not None:
            add_counting(where, instant)
        query = Query(f"SELECT count(*) FROM pdp_relationships WHERE {where.sql}", where.parameters)
        mark, rows = await self.database.read(query, at, patient=True)
        self.check_mark(mark, at)
        return int(rows[0][0])

    async def kinds(self) -> Sequence[KindCount]:
        """See `pdp.stores.protocol.History`."""
        rows = await self.database.execute(statements.KINDS, store=self.store_id)
        return [KindCount._make((*row[:4], bool(row[4]), row[5], bool(row[6]), row[7])) for row in rows]

    def watch(self, after: Revision, request: WatchRequest) -> AsyncIterator[WatchEvent]:
        """See `pdp.stores.protocol.History`."""
        return watch(self, self._tail, after, request)

    # bulk

    async def import_relationships(
        self,
        batches: AsyncIterable[Sequence[Relationship]],
        *,
        conflict: Conflict = Conflict.FAIL,
        metadata: Mapping[str, Any] | None = None,
        schema_seen: Revision | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ImportResult:
        """See `pdp.stores.protocol.Bulk`."""
        return await import_stream(self, batches, conflict, metadata or {}, schema_seen, progress)

    async def export(
        self,
        at: Revision,
        *,
        filter_: RelationshipFilter | None = None,
        after: Relationship | None = None,
        batch: int = 10_000,
    ) -> AsyncIterator[Sequence[Relationship]]:
        """See `pdp.stores.protocol.Bulk`."""
        async for page in export_pages(self, at, filter_ or RelationshipFilter(), after, batch):
            yield page

    # counters

    async def register_counter(self, name: str, filter_: RelationshipFilter) -> None:
        """See `pdp.stores.protocol.Counters`."""
        async with self.database.begin() as tx:
            await self.lock(tx)
            rows = await tx.execute(statements.COUNTER, store=self.store_id, counter=name)
            if rows:
                raise CounterAlreadyRegistered(name, filter_)
            counted = filter_to_text(filter_)
            await tx.execute(statements.INSERT_COUNTER, store=self.store_id, counter=name, counted=counted)

    async def unregister_counter(self, name: str) -> None:
        """See `pdp.stores.protocol.Counters`."""
        if not await self.database.execute(statements.DELETE_COUNTER, store=self.store_id, counter=name):
            raise CounterNotRegistered(name)

    async def counter(self, name: str) -> RelationshipFilter:
        """See `pdp.stores.protocol.Counters`."""
        rows = await self.database.execute(statements.COUNTER, store=self.store_id, counter=name)
        if not rows:
            raise CounterNotRegistered(name)
        return filter_from_text(rows[0][0])

    async def count_counter(self, name: str) -> tuple[int, Revision]:
        """See `pdp.stores.protocol.Counters`."""
        filter_ = await self.counter(name)
        at = await self.head()
        return await self.count_matching(at, filter_, await self.now()), at


class _Judging:
    """See `pdp.stores.protocol.Judging`."""

    def __init__(self, store: SqlStore, tx: WriteTransaction, batch: Batch) -> None:
        self._store = store
        self._tx = tx
        self._batch = batch
        self._stored_at = Revision(batch.stored_revision)
        self.revision = batch.revision
        self.schema_revision = batch.schema_revision
        self.instant = batch.instant

    async def fetch(self, reads: Sequence[Read]) -> Sequence[Sequence[Found]]:
        """See `pdp.stores.protocol.Judging`."""
        stored = await self._tx.fetch(self._store.store_id, self._stored_at, reads, self._store.keys)
        return [self._batch.overlay(read, found) for read, found in zip(reads, stored, strict=True)]
