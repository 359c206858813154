"""Relationships in SQLite: the embedded default, in a file or in memory.

All statements run on threads of our own: one that writes, under ``BEGIN IMMEDIATE``, which is the store's lock here,
and one that reads, beside it in WAL mode. Acknowledged writes are on disk (``synchronous=FULL``).
"""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson

from pdp.errors import PdpError, RevisionExpired, SchemaChanged, SchemaInUse, StoreNotFound, StoreUnavailable
from pdp.relationships import Instant, Relationship, RelationshipFilter, Revision
from pdp.stores.group import GroupCommit
from pdp.stores.judge import Batch
from pdp.stores.keys import forward_key, key_range, relation_prefix, slot_part
from pdp.stores.protocol import (
    Found,
    Page,
    Read,
    StoredSchema,
    SubjectsRead,
    Transaction,
    Usage,
    WriteRequest,
    WriteResult,
)
from pdp.stores.sql import (
    ROW,
    Where,
    add_counting,
    add_filter,
    add_snapshot,
    add_usage,
    relationship,
    rows_of,
    where_store,
)
from pdp.stores.tables import LIVING

T = TypeVar("T")

_BUSY_SECONDS = 10.0
_SCAN_ROWS = 5_000
_ONE_OF = "IN (SELECT value FROM json_each({}))"
_INSERT = f"""
INSERT INTO relationships (store_id, key, deleted, created, reverse_key, {ROW}) VALUES ({", ".join("?" * 15)})
"""
_FAR = "caveat_name, caveat_context, expires_at, valid_from"


def now() -> Instant:
    """The clock of an embedded database is the machine's."""
    return Instant(time.time_ns() // 1_000)


def _bound(parameters: Sequence[Any]) -> list[Any]:
    return [orjson.dumps(p).decode() if isinstance(p, tuple) else p for p in parameters]


def _sql(text: str) -> str:
    return text.replace("$", "?")


class _Connection:
    """A connection that belongs to one thread."""

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=True, cached_statements=256
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA cache_size=-65536")
            self._connection = connection
        return self._connection

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do work on the connection's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._open())
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(str(error)) from error

    async def close(self) -> None:
        """Let go of it."""

        def close(connection: sqlite3.Connection) -> None:
            connection.close()

        if self._connection is not None:
            await self.run(close)
        self._thread.shutdown(wait=True)


def _in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return result


class SqliteDatastore:
    """See `pdp.stores.protocol.Datastore`."""

    def __init__(self, path: str) -> None:
        self.writer = _Connection(path, "sqlite-writer")
        self.reader = self.writer if path == ":memory:" else _Connection(path, "sqlite-reader")
        self._stores: dict[str, SqliteStore] = {}

    async def migrate(self) -> None:
        """See `pdp.stores.protocol.Datastore`."""
        from sqlalchemy import create_engine
        from sqlalchemy.pool import StaticPool

        from pdp.migrations import upgrade

        def migrate(connection: sqlite3.Connection) -> None:
            engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
            with engine.connect() as through:
                upgrade(through)
                through.commit()

        await self.writer.run(migrate)

    async def is_empty(self) -> bool:
        """See `pdp.stores.protocol.Datastore`."""
        found = "SELECT count(*) FROM sqlite_master WHERE name IN ('pdp_version', 'stores')"
        count: int = await self.writer.run(lambda c: c.execute(found).fetchone()[0])
        return count == 0

    async def ping(self) -> None:
        """See `pdp.stores.protocol.Datastore`."""
        await self.reader.run(lambda c: c.execute("SELECT 1 FROM stores LIMIT 1").fetchall())

    async def open(self, name: str) -> "SqliteStore":
        """See `pdp.stores.protocol.Datastore`."""
        if name not in self._stores:
            query = "SELECT store_id, timeline, secret FROM stores WHERE name = ?"
            row = await self.reader.run(lambda c: c.execute(query, (name,)).fetchone())
            if row is None:
                raise StoreNotFound(name)
            self._stores.setdefault(name, SqliteStore(self, name, *row))
        return self._stores[name]

    async def create(self, name: str) -> "SqliteStore":
        """See `pdp.stores.protocol.Datastore`."""
        insert = (
            "INSERT INTO stores (name, timeline, secret, head, schema_revision) VALUES (?, ?, ?, 0, 0)"
            " ON CONFLICT (name) DO NOTHING"
        )
        await self.writer.run(lambda c: c.execute(insert, (name, secrets.token_hex(8), secrets.token_bytes(32))))
        return await self.open(name)

    async def names(self) -> AsyncIterator[str]:
        """See `pdp.stores.protocol.Datastore`."""
        for (name,) in await self.reader.run(lambda c: c.execute("SELECT name FROM stores ORDER BY name").fetchall()):
            yield name

    async def close(self) -> None:
        """See `pdp.stores.protocol.Datastore`."""
        for store in self._stores.values():
            await store.finish()
        if self.reader is not self.writer:
            await self.reader.close()
        await self.writer.close()


class SqliteStore:
    """See `pdp.stores.protocol.RelationshipStore`."""

    def __init__(self, datastore: SqliteDatastore, name: str, store_id: int, timeline: str, secret: bytes) -> None:
        self._datastore = datastore
        self._id = store_id
        self._group = GroupCommit(self._commit)
        self.name = name
        self.timeline = timeline
        self.zookie_key = secret

    async def finish(self) -> None:
        """Return once no write waits."""
        await self._group.finish()

    async def head(self) -> Revision:
        """See `pdp.stores.protocol.RelationshipStore`."""
        query = "SELECT head FROM stores WHERE store_id = ?"
        return Revision(await self._datastore.reader.run(lambda c: c.execute(query, (self._id,)).fetchone()[0]))

    async def now(self) -> Instant:
        """See `pdp.stores.protocol.RelationshipStore`."""
        return now()

    async def write(self, request: WriteRequest) -> WriteResult:
        """See `pdp.stores.protocol.RelationshipStore`."""
        return await self._group.write(request)

    async def _commit(self, requests: Sequence[WriteRequest]) -> Sequence[WriteResult | PdpError]:
        return await self._datastore.writer.run(lambda c: _in_transaction(c, lambda c: self._judge(c, requests)))

    def _judge(
        self, connection: sqlite3.Connection, requests: Sequence[WriteRequest]
    ) -> Sequence[WriteResult | PdpError]:
        head, schema_revision = self._counters(connection)
        instant = now()
        living = []
        one = f"SELECT {ROW} FROM relationships WHERE store_id = ? AND key = ? AND deleted = ?"
        updates = [update for request in requests for update in request.updates]
        for update in updates:
            row = connection.execute(
                one, (self._id, forward_key(self.zookie_key, update.relationship.identity), LIVING)
            ).fetchone()
            if row is not None:
                living.append(relationship(row))
        matching = {}
        for filter_ in {p.filter for request in requests for p in request.preconditions}:
            where = self._living()
            add_counting(where, instant)
            add_filter(where, self.zookie_key, filter_, _ONE_OF)
            matching[filter_] = self._select(connection, where, f"LIMIT {len(updates) + 1}")
        batch = Batch(head, schema_revision, instant, living, matching)
        for request in requests:
            batch.judge(request)
        self._store(connection, batch, instant)
        return batch.verdicts.results

    def _store(self, connection: sqlite3.Connection, batch: Batch, instant: Instant) -> None:
        taken = batch.verdicts.changes
        if not taken:
            return
        rows = rows_of(self._id, self.zookie_key, [(revision, changes) for revision, _, changes in taken])
        end = f"UPDATE relationships SET deleted = ? WHERE store_id = ? AND key = ? AND deleted = {LIVING}"
        connection.executemany(end, [(revision, self._id, key) for key, revision in rows.ended])
        connection.executemany(_INSERT, rows.born)
        connection.executemany(
            "INSERT INTO transactions VALUES (?, ?, ?, 0, ?)",
            [
                (self._id, revision, instant, orjson.dumps(request.metadata).decode())
                for revision, request, _ in taken
            ],
        )
        connection.execute("UPDATE stores SET head = ? WHERE store_id = ?", (taken[-1][0], self._id))

    def _counters(self, connection: sqlite3.Connection) -> tuple[Revision, Revision]:
        query = "SELECT head, schema_revision FROM stores WHERE store_id = ?"
        head, schema_revision = connection.execute(query, (self._id,)).fetchone()
        return Revision(head), Revision(schema_revision)

    def _living(self) -> Where:
        where = where_store(self._id)
        where.add("deleted = {}", LIVING)
        return where

    def _select(self, connection: sqlite3.Connection, where: Where, tail: str = "") -> list[Relationship]:
        query = _sql(f"SELECT {ROW} FROM relationships WHERE {where.sql} {tail}")
        return [relationship(row) for row in connection.execute(query, _bound(where.parameters))]

    async def write_schema(
        self, text: str, *, expected: Revision | None, must_be_unused: Sequence[Usage] = ()
    ) -> Revision:
        """See `pdp.stores.protocol.RelationshipStore`."""

        def write(connection: sqlite3.Connection) -> Revision:
            head, schema_revision = self._counters(connection)
            if schema_revision != (expected or 0):
                raise SchemaChanged("another schema was written meanwhile; read it and repeat")
            instant = now()
            for index, usage in enumerate(must_be_unused):
                where = self._living()
                where.add("(expires_at IS NULL OR expires_at > {})", instant)
                add_usage(where, usage)
                for blocking in self._select(connection, where, "LIMIT 1"):
                    raise SchemaInUse(blocking, index)
            revision = Revision(head + 1)
            connection.execute("INSERT INTO schemas VALUES (?, ?, ?)", (self._id, revision, text))
            connection.execute("INSERT INTO transactions VALUES (?, ?, ?, 1, '{}')", (self._id, revision, instant))
            connection.execute(
                "UPDATE stores SET head = ?, schema_revision = ? WHERE store_id = ?", (revision, revision, self._id)
            )
            return revision

        return await self._datastore.writer.run(lambda c: _in_transaction(c, write))

    async def schema(self, at: Revision) -> StoredSchema | None:
        """See `pdp.stores.protocol.RelationshipStore`."""
        query = (
            "SELECT text, revision FROM schemas WHERE store_id = ? AND revision <= ? ORDER BY revision DESC LIMIT 1"
        )
        row = await self._datastore.reader.run(lambda c: c.execute(query, (self._id, at)).fetchone())
        return StoredSchema(row[0], Revision(row[1])) if row else None

    async def fetch(self, at: Revision, reads: Sequence[Read]) -> Sequence[Sequence[Found]]:
        """See `pdp.stores.protocol.RelationshipStore`."""

        def fetch(connection: sqlite3.Connection) -> Sequence[Sequence[Found]]:
            return [self._found(connection, at, read) for read in reads]

        return await self._datastore.reader.run(fetch)

    def _found(self, connection: sqlite3.Connection, at: Revision, read: Read) -> Sequence[Found]:
        secret = self.zookie_key
        where = where_store(self._id)
        add_snapshot(where, at)
        if isinstance(read, SubjectsRead):
            column = "subject_id"
            prefix = relation_prefix(secret, *read.resource, read.relation)
            prefix += slot_part(secret, read.subject_type, read.subject_relation)
            ends = (*read.resource, read.relation, read.subject_type, read.subject_relation)
            names = ("resource_type", "resource_id", "relation", "subject_type", "subject_relation")
            if read.subject_ids:
                where.add(f"subject_id {_ONE_OF}", read.subject_ids)
            where.add("key BETWEEN {} AND {}", *key_range(prefix))
        else:
            column = "resource_id"
            prefix = relation_prefix(secret, *read.subject) + slot_part(secret, read.resource_type, read.relation)
            ends = (*read.subject, read.resource_type, read.relation)
            names = ("subject_type", "subject_id", "subject_relation", "resource_type", "relation")
            where.add("reverse_key BETWEEN {} AND {}", *key_range(prefix))
        for name, value in zip(names, ends, strict=True):
            where.add(f"{name} = {{}}", value)
        query = _sql(f"SELECT {column}, {_FAR} FROM relationships WHERE {where.sql} ORDER BY {column}")
        return [Found(*row) for row in connection.execute(query, _bound(where.parameters))]

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
        where = where_store(self._id)
        add_snapshot(where, at)
        if instant is not None:
            add_counting(where, instant)
        add_filter(where, self.zookie_key, filter_, _ONE_OF)
        if after is not None:
            where.add("key > {}", forward_key(self.zookie_key, after.identity))
        tail = f"ORDER BY key LIMIT {limit + 1}"
        found = await self._datastore.reader.run(lambda c: self._select(c, where, tail))
        return Page(found[:limit], len(found) > limit)

    async def scan(self, at: Revision) -> AsyncIterator[Sequence[tuple[Any, ...]]]:
        """See `pdp.stores.protocol.RelationshipStore`."""
        after = b""
        while True:
            where = where_store(self._id)
            add_snapshot(where, at)
            where.add("key > {}", after)
            query = _sql(f"SELECT key, {ROW} FROM relationships WHERE {where.sql} ORDER BY key LIMIT {_SCAN_ROWS}")
            parameters = where.parameters
            rows = await self._datastore.reader.run(lambda c: c.execute(query, parameters).fetchall())  # noqa: B023
            if not rows:
                return
            yield [row[1:] for row in rows]
            after = rows[-1][0]

    async def count(self) -> int:
        """See `pdp.stores.protocol.RelationshipStore`."""
        query = f"SELECT count(*) FROM relationships WHERE store_id = ? AND deleted = {LIVING}"
        count: int = await self._datastore.reader.run(lambda c: c.execute(query, (self._id,)).fetchone()[0])
        return count

    async def changes(self, after: Revision, limit: int) -> Sequence[Transaction]:
        """See `pdp.stores.protocol.RelationshipStore`."""

        def changes(connection: sqlite3.Connection) -> Sequence[Transaction]:
            query = (
                "SELECT revision, committed_at, schema_changed, metadata FROM transactions"
                " WHERE store_id = ? AND revision > ? ORDER BY revision LIMIT ?"
            )
            entries = connection.execute(query, (self._id, after, limit)).fetchall()
            if not entries:
                return ()
            last = entries[-1][0]
            parts = []
            for column in ("created", "deleted"):
                rows = (
                    f"SELECT {column}, {ROW} FROM relationships WHERE store_id = ? AND {column} > ? AND {column} <= ?"
                )
                grouped: dict[int, list[Relationship]] = {}
                for revision, *row in connection.execute(rows, (self._id, after, last)):
                    grouped.setdefault(revision, []).append(relationship(row))
                parts.append(grouped)
            return changelog(entries, after, *parts)

        return await self._datastore.reader.run(changes)


def changelog(
    entries: Sequence[Sequence[Any]],
    after: Revision,
    added: dict[int, list[Relationship]],
    removed: dict[int, list[Relationship]],
) -> list[Transaction]:
    """Transactions from their rows.

    Raises:
        RevisionExpired: the one directly after ``after`` is not the first of them.
    """
    if entries[0][0] != after + 1:
        raise RevisionExpired(f"changes directly after revision {after} are no longer kept")
    return [
        Transaction(
            Revision(revision),
            Instant(committed_at),
            added.get(revision, ()),
            removed.get(revision, ()),
            bool(schema_changed),
            orjson.loads(metadata),
        )
        for revision, committed_at, schema_changed, metadata in entries
    ]
