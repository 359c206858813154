"""Relationships in Postgres, or what speaks its protocol.

A write locks its store's row, decides by ``SELECT`` under that lock, and writes with a handful of statements whatever
the size of the batch. Nothing rests on a session, so that a pooler in transaction mode may stand between.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
import orjson

from pdp.errors import PdpError, SchemaChanged, SchemaInUse, StoreNotFound, StoreUnavailable
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
from pdp.stores.sqlite import changelog
from pdp.stores.tables import COLUMNS, LIVING

_CONNECTIONS_MAX = 8
_TIMEOUT_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_SCAN_ROWS = 10_000
_ONE_OF = "= ANY({})"
_NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_FAR = "r.caveat_name, r.caveat_context, r.expires_at, r.valid_from"
_UNAVAILABLE = (OSError, asyncio.TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)
_LATER = (
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)


class PostgresDatastore:
    """See `pdp.stores.protocol.Datastore`."""

    def __init__(self, url: str, pool: Any) -> None:
        self._url = url
        self._pool = pool
        self._stores: dict[str, PostgresStore] = {}

    @classmethod
    async def connect(cls, url: str) -> "PostgresDatastore":
        """Open a pool. With ``statement_cache_size=0`` in the URL no prepared statement outlives its transaction."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        cache = int(options.pop("statement_cache_size", "100"))
        plain = urlunsplit(parts._replace(query=urlencode(options)))
        try:
            pool = await asyncpg.create_pool(
                plain,
                min_size=1,
                max_size=_CONNECTIONS_MAX,
                timeout=_CONNECT_SECONDS,
                command_timeout=_TIMEOUT_SECONDS,
                statement_cache_size=cache,
            )
        except (*_UNAVAILABLE, *_LATER) as error:
            raise StoreUnavailable("the database cannot be reached") from error
        return cls(plain, pool)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection from the pool; what goes wrong with it is `StoreUnavailable`."""
        try:
            async with self._pool.acquire(timeout=_CONNECT_SECONDS) as connection:
                yield connection
        except (*_UNAVAILABLE, *_LATER) as error:
            raise StoreUnavailable("the database cannot be reached") from error

    async def migrate(self) -> None:
        """See `pdp.stores.protocol.Datastore`."""
        from sqlalchemy.ext.asyncio import create_async_engine

        from pdp.migrations import upgrade

        engine = create_async_engine(self._url.replace("postgresql://", "postgresql+asyncpg://", 1))
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
        await engine.dispose()

    async def is_empty(self) -> bool:
        """See `pdp.stores.protocol.Datastore`."""
        async with self.connection() as connection:
            found = await connection.fetchval(
                "SELECT to_regclass('stores') IS NOT NULL OR to_regclass('pdp_version') IS NOT NULL"
            )
        return not found

    async def ping(self) -> None:
        """See `pdp.stores.protocol.Datastore`."""
        async with self.connection() as connection:
            await connection.fetch("SELECT 1 FROM stores LIMIT 1")

    async def open(self, name: str) -> "PostgresStore":
        """See `pdp.stores.protocol.Datastore`."""
        if name not in self._stores:
            async with self.connection() as connection:
                row = await connection.fetchrow("SELECT store_id, timeline, secret FROM stores WHERE name = $1", name)
            if row is None:
                raise StoreNotFound(name)
            self._stores.setdefault(name, PostgresStore(self, name, *row))
        return self._stores[name]

    async def create(self, name: str) -> "PostgresStore":
        """See `pdp.stores.protocol.Datastore`."""
        insert = (
            "INSERT INTO stores (name, timeline, secret, head, schema_revision) VALUES ($1, $2, $3, 0, 0)"
            " ON CONFLICT (name) DO NOTHING"
        )
        async with self.connection() as connection:
            await connection.execute(insert, name, secrets.token_hex(8), secrets.token_bytes(32))
        return await self.open(name)

    async def names(self) -> AsyncIterator[str]:
        """See `pdp.stores.protocol.Datastore`."""
        async with self.connection() as connection:
            rows = await connection.fetch("SELECT name FROM stores ORDER BY name")
        for row in rows:
            yield row[0]

    async def close(self) -> None:
        """See `pdp.stores.protocol.Datastore`."""
        for store in self._stores.values():
            await store.finish()
        try:
            await asyncio.wait_for(self._pool.close(), 2)
        except TimeoutError:
            self._pool.terminate()


class PostgresStore:
    """See `pdp.stores.protocol.RelationshipStore`."""

    def __init__(self, datastore: PostgresDatastore, name: str, store_id: int, timeline: str, secret: bytes) -> None:
        self._connection = datastore.connection
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
        async with self._connection() as connection:
            return Revision(await connection.fetchval("SELECT head FROM stores WHERE store_id = $1", self._id))

    async def now(self) -> Instant:
        """See `pdp.stores.protocol.RelationshipStore`."""
        async with self._connection() as connection:
            return Instant(await connection.fetchval(f"SELECT {_NOW}"))

    async def write(self, request: WriteRequest) -> WriteResult:
        """See `pdp.stores.protocol.RelationshipStore`."""
        return await self._group.write(request)

    async def _locked(self, work: Callable[[Any, Revision, Revision, Instant], Awaitable[Any]]) -> Any:
        """Do work in a transaction that holds the store's row."""
        async with self._connection() as connection, connection.transaction():
            head, schema_revision, instant = await connection.fetchrow(
                f"SELECT head, schema_revision, {_NOW} FROM stores WHERE store_id = $1 FOR UPDATE", self._id
            )
            return await work(connection, head, schema_revision, instant)

    async def _commit(self, requests: Sequence[WriteRequest]) -> Sequence[WriteResult | PdpError]:
        async def judge(
            connection: Any, head: Revision, schema_revision: Revision, instant: Instant
        ) -> Sequence[WriteResult | PdpError]:
            updates = [update for request in requests for update in request.updates]
            keys = list({forward_key(self.zookie_key, update.relationship.identity) for update in updates})
            living = await connection.fetch(
                f"SELECT {ROW} FROM relationships WHERE store_id = $1 AND key = ANY($2) AND deleted = {LIVING}",
                self._id,
                keys,
            )
            matching = {}
            for filter_ in {p.filter for request in requests for p in request.preconditions}:
                where = self._living()
                add_counting(where, instant)
                add_filter(where, self.zookie_key, filter_, _ONE_OF)
                matching[filter_] = await self._select(connection, where, f"LIMIT {len(updates) + 1}")
            batch = Batch(head, schema_revision, instant, map(relationship, living), matching)
            for request in requests:
                batch.judge(request)
            await self._store(connection, batch, instant)
            return batch.verdicts.results

        results: Sequence[WriteResult | PdpError] = await self._locked(judge)
        return results

    async def _store(self, connection: Any, batch: Batch, instant: Instant) -> None:
        taken = batch.verdicts.changes
        if not taken:
            return
        rows = rows_of(self._id, self.zookie_key, [(revision, changes) for revision, _, changes in taken])
        if rows.ended:
            await connection.execute(
                "UPDATE relationships r SET deleted = e.revision"
                " FROM unnest($2::bytea[], $3::bigint[]) AS e(key, revision)"
                f" WHERE r.store_id = $1 AND r.key = e.key AND r.deleted = {LIVING}",
                self._id,
                *map(list, zip(*rows.ended, strict=True)),
            )
        if rows.born:
            await connection.execute(_INSERT, self._id, *list(map(list, zip(*rows.born, strict=True)))[1:])
        await connection.execute(
            "WITH moved AS (UPDATE stores SET head = $2 WHERE store_id = $1)"
            " INSERT INTO transactions SELECT $1, revision, $3, false, metadata"
            " FROM unnest($4::bigint[], $5::text[]) AS t(revision, metadata)",
            self._id,
            taken[-1][0],
            instant,
            [revision for revision, _, _ in taken],
            [orjson.dumps(request.metadata).decode() for _, request, _ in taken],
        )

    def _living(self) -> Where:
        where = where_store(self._id)
        where.add("deleted = {}", LIVING)
        return where

    async def _select(self, connection: Any, where: Where, tail: str = "") -> list[Relationship]:
        query = f"SELECT {ROW} FROM relationships WHERE {where.sql} {tail}"
        return [relationship(row) for row in await connection.fetch(query, *where.parameters)]

    async def write_schema(
        self, text: str, *, expected: Revision | None, must_be_unused: Sequence[Usage] = ()
    ) -> Revision:
        """See `pdp.stores.protocol.RelationshipStore`."""

        async def write(connection: Any, head: Revision, schema_revision: Revision, instant: Instant) -> Revision:
            if schema_revision != (expected or 0):
                raise SchemaChanged("another schema was written meanwhile; read it and repeat")
            for index, usage in enumerate(must_be_unused):
                where = self._living()
                where.add("(expires_at IS NULL OR expires_at > {})", instant)
                add_usage(where, usage)
                for blocking in await self._select(connection, where, "LIMIT 1"):
                    raise SchemaInUse(blocking, index)
            revision = Revision(head + 1)
            await connection.execute("INSERT INTO schemas VALUES ($1, $2, $3)", self._id, revision, text)
            await connection.execute(
                "INSERT INTO transactions VALUES ($1, $2, $3, true, '{}')", self._id, revision, instant
            )
            await connection.execute(
                "UPDATE stores SET head = $2, schema_revision = $2 WHERE store_id = $1", self._id, revision
            )
            return revision

        written: Revision = await self._locked(write)
        return written

    async def schema(self, at: Revision) -> StoredSchema | None:
        """See `pdp.stores.protocol.RelationshipStore`."""
        async with self._connection() as connection:
            row = await connection.fetchrow(
                "SELECT text, revision FROM schemas WHERE store_id = $1 AND revision <= $2"
                " ORDER BY revision DESC LIMIT 1",
                self._id,
                at,
            )
        return StoredSchema(row[0], Revision(row[1])) if row else None

    async def fetch(self, at: Revision, reads: Sequence[Read]) -> Sequence[Sequence[Found]]:
        """See `pdp.stores.protocol.RelationshipStore`."""
        forward: tuple[list[Any], ...] = tuple([] for _ in range(9))
        reverse: tuple[list[Any], ...] = tuple([] for _ in range(8))
        secret = self.zookie_key
        for number, read in enumerate(reads):
            if isinstance(read, SubjectsRead):
                prefix = relation_prefix(secret, *read.resource, read.relation)
                prefix += slot_part(secret, read.subject_type, read.subject_relation)
                ends = (*read.resource, read.relation, read.subject_type, read.subject_relation)
                if not read.subject_ids:
                    _append(forward, number, *key_range(prefix), *ends, None)
                for id_ in read.subject_ids:
                    key = forward_key(
                        secret, (*read.resource, read.relation, read.subject_type, id_, read.subject_relation)
                    )
                    _append(forward, number, key, key, *ends, id_)
            else:
                prefix = relation_prefix(secret, *read.subject) + slot_part(secret, read.resource_type, read.relation)
                _append(reverse, number, *key_range(prefix), *read.subject, read.resource_type, read.relation)
        queries = [(sql, arrays) for sql, arrays in ((_FORWARD, forward), (_REVERSE, reverse)) if arrays[0]]
        answers: list[list[Found]] = [[] for _ in reads]
        async with self._connection() as connection:
            for sql, arrays in queries:
                for number, *row in await connection.fetch(sql, self._id, at, *arrays):
                    answers[number].append(Found(*row))
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
        where = where_store(self._id)
        add_snapshot(where, at)
        if instant is not None:
            add_counting(where, instant)
        add_filter(where, self.zookie_key, filter_, _ONE_OF)
        if after is not None:
            where.add("key > {}", forward_key(self.zookie_key, after.identity))
        async with self._connection() as connection:
            found = await self._select(connection, where, f"ORDER BY key LIMIT {limit + 1}")
        return Page(found[:limit], len(found) > limit)

    async def scan(self, at: Revision) -> AsyncIterator[Sequence[tuple[Any, ...]]]:
        """See `pdp.stores.protocol.RelationshipStore`."""
        after = b""
        query = (
            f"SELECT key, {ROW} FROM relationships WHERE store_id = $1 AND key > $2"
            f" AND created <= $3 AND deleted > $3 ORDER BY key LIMIT {_SCAN_ROWS}"
        )
        while True:
            async with self._connection() as connection:
                rows = await connection.fetch(query, self._id, after, at)
            if not rows:
                return
            yield [tuple(row)[1:] for row in rows]
            after = rows[-1][0]

    async def count(self) -> int:
        """See `pdp.stores.protocol.RelationshipStore`."""
        query = f"SELECT count(*) FROM relationships WHERE store_id = $1 AND deleted = {LIVING}"
        async with self._connection() as connection:
            return int(await connection.fetchval(query, self._id))

    async def changes(self, after: Revision, limit: int) -> Sequence[Transaction]:
        """See `pdp.stores.protocol.RelationshipStore`."""
        async with self._connection() as connection:
            entries = await connection.fetch(
                "SELECT revision, committed_at, schema_changed, metadata FROM transactions"
                " WHERE store_id = $1 AND revision > $2 ORDER BY revision LIMIT $3",
                self._id,
                after,
                limit,
            )
            if not entries:
                return ()
            parts = []
            for column in ("created", "deleted"):
                grouped: dict[int, list[Relationship]] = {}
                for revision, *row in await connection.fetch(
                    f"SELECT {column}, {ROW} FROM relationships"
                    f" WHERE store_id = $1 AND {column} > $2 AND {column} <= $3",
                    self._id,
                    after,
                    entries[-1][0],
                ):
                    grouped.setdefault(revision, []).append(relationship(row))
                parts.append(grouped)
        return changelog(entries, after, *parts)


def _append(arrays: Sequence[list[Any]], *values: Any) -> None:
    for array, value in zip(arrays, values, strict=True):
        array.append(value)


_FORWARD = f"""
SELECT q.number, r.subject_id, {_FAR}
FROM unnest($3::int[], $4::bytea[], $5::bytea[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
  $11::text[])
  AS q(number, low, high, resource_type, resource_id, relation, subject_type, subject_relation, subject_id)
JOIN relationships r ON r.store_id = $1 AND r.key BETWEEN q.low AND q.high AND r.created <= $2 AND r.deleted > $2
  AND r.resource_type = q.resource_type AND r.resource_id = q.resource_id AND r.relation = q.relation
  AND r.subject_type = q.subject_type AND r.subject_relation = q.subject_relation
  AND (q.subject_id IS NULL OR r.subject_id = q.subject_id)
"""
_REVERSE = f"""
SELECT q.number, r.resource_id, {_FAR}
FROM unnest($3::int[], $4::bytea[], $5::bytea[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
  AS q(number, low, high, subject_type, subject_id, subject_relation, resource_type, relation)
JOIN relationships r ON r.store_id = $1 AND r.reverse_key BETWEEN q.low AND q.high
  AND r.created <= $2 AND r.deleted > $2
  AND r.subject_type = q.subject_type AND r.subject_id = q.subject_id AND r.subject_relation = q.subject_relation
  AND r.resource_type = q.resource_type AND r.relation = q.relation
"""
_TYPES = ("bytea", "bigint", "bigint", "bytea", *["text"] * 8, "bigint", "bigint")
_INSERT = (
    f"INSERT INTO relationships (store_id, key, deleted, created, reverse_key, {', '.join(COLUMNS)})"
    f" SELECT $1, * FROM unnest({', '.join(f'${n}::{type_}[]' for n, type_ in enumerate(_TYPES, start=2))})"
)
