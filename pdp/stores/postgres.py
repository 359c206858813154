"""Stores in Postgres, through asyncpg.

Nothing here needs a session: transactions are short and whole, settings are ``SET LOCAL``, no ``LISTEN``, no advisory
locks. So a pooler may stand between, in transaction mode too: then ``prepared_statements`` must be off, and every
statement gets a transaction of its own, since an unnamed statement is parsed and run in two steps.

A read at a revision may be answered by a read replica: it reports where its snapshot stands in the same statement,
and where it has not replayed far enough the primary answers instead.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle, islice
from typing import Any

import asyncpg

from pdp.errors import StoreUnavailable
from pdp.relationships import Instant, Relationship, Revision
from pdp.stores.batch import Ended, Part, Place, Saving, StoreRow
from pdp.stores.database import Dialect, DuplicateRow, Mark, Query, Statement, Values, WriteTransaction
from pdp.stores.filters import ROW, Where
from pdp.stores.keys import Keyed, KeyMaker
from pdp.stores.postgres_reads import fetch_query, found_in
from pdp.stores.postgres_server import ERRORS, ROLL_BACK_SECONDS, Server, duplicate_place, translated
from pdp.stores.protocol import Found, Read
from pdp.stores.tables import COLUMNS, LIVING

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '60s'"
_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_NOW = f"SELECT {_CLOCK}"
_LOCK = f"""SELECT revision, committed_at, schema_revision, relationships, relationships_max, writes_per_second_max,
    allowance, deleted_at, {_CLOCK}
    FROM pdp_stores WHERE store_id = $1 FOR UPDATE"""
# A planner without statistics, as after a first load, takes a store to have one row, walks all of it and compares
# each row with each place: 12 s for 1,000 places among 30,000 rows. So places are looked up one by one, behind an
# OFFSET that the planner does not move; where rows are changed, store and ``deleted`` come with the places (0.02 s).
_AT_PLACES = f"""SELECT {", ".join(f"r.{column}" for column in COLUMNS)}
    FROM unnest($2::bigint[], $3::bigint[]) AS q (slot, pair)
    CROSS JOIN LATERAL (SELECT * FROM pdp_relationships r
        WHERE r.store_id = $1 AND r.slot = q.slot AND r.pair = q.pair AND r.deleted = {LIVING} OFFSET 0) AS r"""
_END = f"""UPDATE pdp_relationships r SET deleted = q.revision
    FROM (SELECT $1::bigint AS store_id, {LIVING} AS living, u.*
        FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS u (slot, pair, revision) OFFSET 0) AS q
    WHERE r.store_id = q.store_id AND r.slot = q.slot AND r.pair = q.pair AND r.deleted = q.living"""
_SAVE = f"""WITH born AS (
        INSERT INTO pdp_relationships (store_id, slot, pair, subject_slot, created, deleted, {ROW})
        SELECT $1, q.* FROM unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
            $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[],
            $20::bigint[], $21::bigint[]) AS q
    ), logged AS (
        INSERT INTO pdp_transactions
            (store_id, committed_at, revision, metadata, schema_changed, added, removed, changes, parts)
        SELECT $1, $3, q.* FROM unnest($22::bigint[], $23::text[], $24::smallint[], $25::bigint[], $26::bigint[],
            $27::bytea[], $28::bigint[]) AS q
    ), counted AS (
        INSERT INTO pdp_kinds AS k (store_id, resource_type, relation, subject_type, subject_relation, wildcard,
            caveat_name, expiration, living)
        SELECT $1, q.* FROM unnest($29::text[], $30::text[], $31::text[], $32::text[], $33::smallint[], $34::text[],
            $35::smallint[], $36::bigint[]) AS q
        ON CONFLICT (store_id, resource_type, relation, subject_type, subject_relation, wildcard, caveat_name,
            expiration) DO UPDATE SET living = k.living + excluded.living
    )
    UPDATE pdp_stores SET revision = $2, committed_at = $3, schema_revision = $4, relationships = $5, allowance = $6
    WHERE store_id = $1"""
_REMEMBER = """INSERT INTO pdp_idempotency_keys (store_id, created_at, key, request_hash, result)
    SELECT $1, $2, q.* FROM unnest($3::text[], $4::bytea[], $5::text[]) AS q
    ON CONFLICT (store_id, key) DO UPDATE
    SET request_hash = excluded.request_hash, result = excluded.result, created_at = excluded.created_at"""
_PARTS = """INSERT INTO pdp_transaction_parts (store_id, revision, part, changes)
    SELECT $1, q.* FROM unnest($2::bigint[], $3::bigint[], $4::bytea[]) AS q"""
_MARK_AS_ROW = """SELECT coalesce(deleted_at::text, ''), '', '', '', '', '', '', '', revision, oldest
    FROM pdp_stores WHERE store_id = $1"""
_COPIED = ("store_id", "slot", "pair", "subject_slot", "created", "deleted", *COLUMNS)
_BORN_COLUMNS = 15
_COPIED_AT_ONCE = 1_000
_LOGGED_COLUMNS = 7
_KIND_COLUMNS = 8


class PostgresDatabase:
    """See `pdp.stores.database.Database`."""

    dialect: Dialect = "postgresql"

    def __init__(self, primary: Server, replicas: Sequence[Server] = ()) -> None:
        self._primary = primary
        self._replicas = replicas
        self._turn = cycle(replicas)
        self.answered_by_replicas = 0
        self.replicas_behind = 0

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[WriteTransaction]:
        """See `pdp.stores.database.Database`."""
        async with self._primary.begun(_BEGIN) as connection:
            try:
                yield _PostgresTransaction(connection)
                with translated():
                    await connection.execute("COMMIT")
            except BaseException:
                await asyncio.shield(_roll_back(connection))
                raise

    async def execute(self, statement: Statement, /, **values: Any) -> Sequence[Values]:
        """See `pdp.stores.database.Database`."""
        return await self._primary.fetch(*statement.bound(self.dialect, values))

    async def read(
        self, query: Query, at: Revision | None, *, patient: bool = False
    ) -> tuple[Mark | None, Sequence[Values]]:
        """See `pdp.stores.database.Database`."""
        # one row on the left, so the order of the right is the order of all
        text = f"""SELECT m.revision, m.oldest, m.deleted_at, q.*
            FROM (SELECT revision, oldest, deleted_at FROM pdp_stores WHERE store_id = $1) AS m
            LEFT JOIN LATERAL (SELECT true AS present, q.* FROM ({query.text}) AS q) AS q ON true"""
        rows = await self._at(at, text, query.parameters, patient=patient)
        mark = Mark(*rows[0][:3]) if rows else None
        return mark, [row[4:] for row in rows if row[3]]

    async def relationships(self, query: Query, at: Revision | None) -> tuple[Mark | None, Sequence[Relationship]]:
        """See `pdp.stores.database.Database`. The store's mark is the first row, as a relationship of none."""
        rows = await self._at(at, f"{_MARK_AS_ROW} UNION ALL ({query.text})", query.parameters, mark_column=8)
        if not rows:
            return None, []
        deleted_at, *_, revision, oldest = rows[0]
        mark = Mark(revision, oldest, int(deleted_at) if deleted_at else None)
        return mark, [Relationship._make(row) for row in islice(rows, 1, None)]

    async def fetch(
        self, store_id: int, at: Revision, reads: Sequence[Read], keys: KeyMaker
    ) -> tuple[Mark | None, Sequence[Sequence[Found]]]:
        """See `pdp.stores.database.Database`."""
        query = fetch_query(store_id, at, reads, keys)
        rows = await self._at(at, query.text, query.parameters)
        return found_in(rows, len(reads))

    async def _at(
        self, at: Revision | None, text: str, parameters: Values, *, mark_column: int = 0, patient: bool = False
    ) -> Sequence[Values]:
        """Rows, the first of which has the store's newest revision in a column, from whoever has reached ``at``."""
        for _ in self._replicas if at is not None else ():
            replica = next(self._turn)
            if not replica.worth_trying():
                continue
            try:
                rows = await replica.fetch(text, parameters, patient=patient)
            except StoreUnavailable:
                replica.rest()
                continue
            if rows and at is not None and rows[0][mark_column] >= at:
                self.answered_by_replicas += 1
                return rows
            self.replicas_behind += 1
        return await self._primary.fetch(text, parameters, patient=patient)

    async def script(self, statements: Sequence[str]) -> None:
        """See `pdp.stores.database.Database`."""
        async with self._primary.begun(_BEGIN) as connection:
            with translated():
                try:
                    for statement in statements:
                        await connection.execute(statement)
                    await connection.execute("COMMIT")
                finally:
                    await asyncio.shield(_roll_back(connection))

    async def has_table(self, name: str) -> bool:
        """See `pdp.stores.database.Database`."""
        return bool((await self._primary.fetch("SELECT to_regclass($1) IS NOT NULL", [name]))[0][0])

    async def now(self) -> Instant:
        """See `pdp.stores.database.Database`."""
        return Instant((await self._primary.fetch(_NOW, []))[0][0])

    async def remove(self, table: str, where: Where, rows_max: int) -> int:
        """See `pdp.stores.database.Database`."""
        some = f"SELECT ctid FROM {table} WHERE {where.sql} LIMIT {rows_max}"
        gone = f"DELETE FROM {table} WHERE ctid = ANY (ARRAY({some})) RETURNING 1"
        text = f"WITH gone AS ({gone}) SELECT count(*) FROM gone"
        return int((await self._primary.fetch(text, where.parameters))[0][0])

    async def after_bulk(self) -> None:
        """See `pdp.stores.database.Database`. Without statistics the planner sorts where an index has the order."""
        await self._primary.fetch("ANALYZE pdp_relationships", [], patient=True)

    async def close(self) -> None:
        """See `pdp.stores.database.Database`."""
        for server in (self._primary, *self._replicas):
            await server.close()


async def _roll_back(connection: asyncpg.Connection) -> None:
    if connection.is_closed() or not connection.is_in_transaction():
        return
    try:
        await connection.execute("ROLLBACK", timeout=ROLL_BACK_SECONDS)
    except ERRORS:
        connection.terminate()


class _PostgresTransaction:
    """See `pdp.stores.database.WriteTransaction`."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def lock(self, store_id: int) -> StoreRow | None:
        """See `pdp.stores.database.WriteTransaction`."""
        rows = await self._fetch(_LOCK, store_id)
        return StoreRow._make(rows[0]) if rows else None

    async def _fetch(self, text: str, *parameters: Any) -> Sequence[Values]:
        with translated():
            rows: Sequence[Values] = await self._connection.fetch(text, *parameters)
        return rows

    async def execute(self, statement: Statement, /, **values: Any) -> Sequence[Values]:
        """See `pdp.stores.database.WriteTransaction`."""
        text, parameters = statement.bound("postgresql", values)
        return await self._fetch(text, *parameters)

    async def select(self, queries: Sequence[Query]) -> Sequence[Sequence[Values]]:
        """See `pdp.stores.database.WriteTransaction`."""
        return [await self._fetch(text, *parameters) for text, parameters in queries]

    async def at_places(self, store_id: int, places: Sequence[Place]) -> Sequence[Relationship]:
        """See `pdp.stores.database.WriteTransaction`."""
        if not places:
            return []
        slots, pairs = [slot for slot, _ in places], [pair for _, pair in places]
        rows = await self._fetch(_AT_PLACES, store_id, slots, pairs)
        return [Relationship._make(row) for row in rows]

    async def fetch(
        self, store_id: int, at: Revision, reads: Sequence[Read], keys: KeyMaker
    ) -> Sequence[Sequence[Found]]:
        """See `pdp.stores.database.WriteTransaction`."""
        query = fetch_query(store_id, at, reads, keys)
        return found_in(await self._fetch(query.text, *query.parameters), len(reads))[1]

    async def save(self, store_id: int, saving: Saving) -> None:
        """See `pdp.stores.database.WriteTransaction`."""
        await self.end(store_id, saving.ended)
        born = [(*key, created, deleted, *one) for key, created, deleted, one in saving.born]
        kinds = [(*kind, count) for kind, count in saving.kinds.items()]
        await self._fetch(
            _SAVE,
            store_id,
            *saving[:5],
            *_columns(born, _BORN_COLUMNS),
            *_columns(saving.logged, _LOGGED_COLUMNS),
            *_columns(kinds, _KIND_COLUMNS),
        )
        if saving.remembered:
            remembered = [(key, *kept) for key, kept in saving.remembered]
            await self._fetch(_REMEMBER, store_id, saving.committed_at, *_columns(remembered, 3))
        await self.save_parts(store_id, saving.parts)

    async def end(self, store_id: int, ended: Sequence[Ended]) -> None:
        """See `pdp.stores.database.WriteTransaction`."""
        if ended:
            await self._fetch(_END, store_id, *_columns(ended, 3))

    async def save_parts(self, store_id: int, parts: Sequence[Part]) -> None:
        """See `pdp.stores.database.WriteTransaction`."""
        if parts:
            await self._fetch(_PARTS, store_id, *_columns(parts, 3))

    async def insert(self, store_id: int, keyed: Keyed, created: Revision) -> None:
        """See `pdp.stores.database.WriteTransaction`. The server takes one piece in while the next is written."""

        async def source() -> AsyncIterator[bytes]:
            for start in range(0, len(keyed.slots), _COPIED_AT_ONCE):
                yield _copy_text(store_id, keyed.part(start, start + _COPIED_AT_ONCE), created)
                await asyncio.sleep(0)

        with translated():
            try:
                await self._connection.copy_to_table(
                    "pdp_relationships", source=source(), columns=_COPIED, format="text"
                )
            except asyncpg.UniqueViolationError as error:
                raise DuplicateRow(duplicate_place(error)) from error


def _columns(rows: Sequence[Values], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _copy_text(store_id: int, keyed: Keyed, created: Revision) -> bytes:
    """Rows in the text format of ``COPY``, in the order of `_COPIED`."""
    lines = []
    living = f"\t{created}\t{LIVING}\t"
    for slot, pair, subject_slot, one in zip(*keyed, strict=True):
        texts = "\t".join(one[:8])
        if texts.count("\t") != 7 or "\\" in texts or "\n" in texts or "\r" in texts:
            texts = "\t".join(map(_escaped, one[:8]))
        expires_at = "\\N" if one[8] is None else one[8]
        valid_from = "\\N" if one[9] is None else one[9]
        lines.append(f"{store_id}\t{slot}\t{pair}\t{subject_slot}{living}{texts}\t{expires_at}\t{valid_from}\n")
    return "".join(lines).encode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
