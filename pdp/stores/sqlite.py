"""Stores in SQLite: the embedded default, in a file or in memory.

Connections belong to threads of ours: one that writes, under ``BEGIN IMMEDIATE``, which is the store's lock here, and
one that reads beside it in WAL mode. In memory there is one for both, so reads wait for a transaction to end. What is
acknowledged is on disk (``synchronous=FULL``). The same file may be open elsewhere: whoever finds it locked waits.
"""

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from pdp.errors import StoreUnavailable
from pdp.relationships import Instant, Relationship, Revision
from pdp.stores.batch import Ended, Part, Place, Row, Saving, StoreRow
from pdp.stores.database import Dialect, DuplicateRow, Mark, Query, Statement, Values, WriteTransaction
from pdp.stores.filters import ROW, Where
from pdp.stores.keys import Keyed, KeyMaker
from pdp.stores.protocol import Found, Read, SubjectsRead
from pdp.stores.tables import LIVING

_BUSY_SECONDS = 15.0
_CACHE_KIB = 65_536
_PARAMETER = re.compile(r"\$(\d+)")

T = TypeVar("T")

_LOCKED = (
    "SELECT revision, committed_at, schema_revision, relationships, relationships_max, writes_per_second_max,"
    " allowance, deleted_at FROM pdp_stores WHERE store_id = ?"
)
_MARK = "SELECT revision, oldest, deleted_at FROM pdp_stores WHERE store_id = ?"
_AT_PLACE = f"SELECT {ROW} FROM pdp_relationships WHERE store_id = ? AND slot = ? AND pair = ? AND deleted = {LIVING}"
_END = f"""UPDATE pdp_relationships SET deleted = ?
    WHERE store_id = ? AND slot = ? AND pair = ? AND deleted = {LIVING}"""
_INSERT = f"""INSERT INTO pdp_relationships (store_id, slot, pair, subject_slot, created, deleted, {ROW})
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_LOG = """INSERT INTO pdp_transactions
    (store_id, revision, committed_at, metadata, schema_changed, added, removed, changes, parts)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_PART = "INSERT INTO pdp_transaction_parts (store_id, revision, part, changes) VALUES (?, ?, ?, ?)"
_KIND = """INSERT INTO pdp_kinds
    (store_id, resource_type, relation, subject_type, subject_relation, wildcard, caveat_name, expiration, living)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (store_id, resource_type, relation, subject_type, subject_relation, wildcard, caveat_name, expiration)
    DO UPDATE SET living = living + excluded.living"""
_REMEMBER = """INSERT INTO pdp_idempotency_keys (store_id, key, request_hash, result, created_at)
    VALUES (?, ?, ?, ?, ?) ON CONFLICT (store_id, key) DO UPDATE
    SET request_hash = excluded.request_hash, result = excluded.result, created_at = excluded.created_at"""
_ADVANCE = """UPDATE pdp_stores
    SET revision = ?, committed_at = ?, schema_revision = ?, relationships = ?, allowance = ? WHERE store_id = ?"""
_FAR = "caveat_name, caveat_context, expires_at, valid_from"
_IN_SLOT = f"""SELECT subject_id, {_FAR} FROM pdp_relationships
    WHERE store_id = ? AND slot = ? AND created <= ? AND deleted > ?
    AND resource_type = ? AND resource_id = ? AND relation = ? AND subject_type = ? AND subject_relation = ?"""
_IN_SUBJECT_SLOT = f"""SELECT resource_id, {_FAR} FROM pdp_relationships
    WHERE store_id = ? AND subject_slot = ? AND created <= ? AND deleted > ?
    AND subject_type = ? AND subject_id = ? AND subject_relation = ? AND resource_type = ? AND relation = ?"""


def _numbered(text: str) -> str:
    return _PARAMETER.sub(r"?\1", text)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"the database did not answer: {error}") from error
    except (sqlite3.DatabaseError, sqlite3.ProgrammingError) as error:
        if isinstance(error, sqlite3.IntegrityError):
            raise
        raise StoreUnavailable(f"the database cannot be used: {error}") from error


class _Connection:
    """A connection that belongs to one thread, opened when it is first used."""

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None, cached_statements=256
            )
            for pragma in ("journal_mode = WAL", "synchronous = FULL", f"cache_size = -{_CACHE_KIB}"):
                connection.execute(f"PRAGMA {pragma}")
            self._connection = connection
        return self._connection

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do work on the connection's thread."""
        if self._closed:
            raise StoreUnavailable("the database is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with _translated():
            return work(self._open())

    async def close(self) -> None:
        """Let go of it."""

        def close() -> None:
            if self._connection is not None:
                self._connection.close()

        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, close)
            self._thread.shutdown(wait=True)


class SqliteDatabase:
    """See `pdp.stores.database.Database`.

    Args:
        path: a file, or ``:memory:``.
    """

    dialect: Dialect = "sqlite"

    def __init__(self, path: str) -> None:
        self._writer = _Connection(path, "sqlite-writer")
        self._in_memory = path == ":memory:"
        self._reader = self._writer if self._in_memory else _Connection(path, "sqlite-reader")
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Raise `StoreUnavailable` unless it can be opened."""
        await self._read(lambda connection: connection.execute("SELECT 1").fetchall())

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[WriteTransaction]:
        """See `pdp.stores.database.Database`."""
        async with self._writing:
            await self._writer.run(lambda connection: connection.execute("BEGIN IMMEDIATE"))
            try:
                yield _SqliteTransaction(self._writer)
                await self._writer.run(lambda connection: connection.execute("COMMIT"))
            except BaseException:
                await asyncio.shield(self._writer.run(_roll_back))
                raise

    async def execute(self, statement: Statement, /, **values: Any) -> Sequence[Values]:
        """See `pdp.stores.database.Database`."""
        text, parameters = statement.bound(self.dialect, values)
        if text.startswith("SELECT"):
            return await self._read(lambda connection: connection.execute(text, parameters).fetchall())
        async with self._writing:
            return await self._writer.run(lambda connection: connection.execute(text, parameters).fetchall())

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if not self._in_memory:
            return await self._reader.run(work)
        async with self._writing:
            return await self._writer.run(work)

    async def read(
        self, query: Query, at: Revision | None, *, patient: bool = False
    ) -> tuple[Mark | None, Sequence[Values]]:
        """See `pdp.stores.database.Database`."""
        text, parameters = _numbered(query.text), query.parameters

        def read(connection: sqlite3.Connection) -> tuple[Mark | None, Sequence[Values]]:
            with _one_snapshot(connection):
                mark = connection.execute(_MARK, (parameters[0],)).fetchone()
                rows = connection.execute(text, parameters).fetchall()
            return Mark(*mark) if mark else None, rows

        return await self._read(read)

    async def relationships(self, query: Query, at: Revision | None) -> tuple[Mark | None, Sequence[Relationship]]:
        """See `pdp.stores.database.Database`."""
        mark, rows = await self.read(query, at)
        return mark, [Relationship._make(row) for row in rows]

    async def fetch(
        self, store_id: int, at: Revision, reads: Sequence[Read], keys: KeyMaker
    ) -> tuple[Mark | None, Sequence[Sequence[Found]]]:
        """See `pdp.stores.database.Database`."""

        def fetch(connection: sqlite3.Connection) -> tuple[Mark | None, Sequence[Sequence[Found]]]:
            with _one_snapshot(connection):
                mark = connection.execute(_MARK, (store_id,)).fetchone()
                found = _fetch(connection, store_id, at, reads, keys)
            return Mark(*mark) if mark else None, found

        return await self._read(fetch)

    async def script(self, statements: Sequence[str]) -> None:
        """See `pdp.stores.database.Database`."""

        def run(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            try:
                for statement in statements:
                    connection.execute(statement)
                connection.execute("COMMIT")
            finally:
                _roll_back(connection)

        async with self._writing:
            await self._writer.run(run)

    async def has_table(self, name: str) -> bool:
        """See `pdp.stores.database.Database`."""
        query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
        count = await self._read(lambda connection: connection.execute(query, (name,)).fetchone()[0])
        return bool(count)

    async def now(self) -> Instant:
        """See `pdp.stores.database.Database`. An embedded database's clock is the machine's."""
        return Instant(time.time_ns() // 1_000)

    async def remove(self, table: str, where: Where, rows_max: int) -> int:
        """See `pdp.stores.database.Database`."""
        some = f"SELECT rowid FROM {table} WHERE {_numbered(where.sql)} LIMIT {rows_max}"
        text = f"DELETE FROM {table} WHERE rowid IN ({some})"
        async with self._writing:
            return await self._writer.run(lambda connection: connection.execute(text, where.parameters).rowcount)

    async def after_bulk(self) -> None:
        """See `pdp.stores.database.Database`. SQLite plans these statements well without statistics."""

    async def close(self) -> None:
        """See `pdp.stores.database.Database`."""
        if not self._in_memory:
            await self._reader.close()
        await self._writer.close()


class _SqliteTransaction:
    """See `pdp.stores.database.WriteTransaction`."""

    def __init__(self, writer: _Connection) -> None:
        self._writer = writer

    async def lock(self, store_id: int) -> StoreRow | None:
        """See `pdp.stores.database.WriteTransaction`. The whole database was locked when it began."""

        def lock(connection: sqlite3.Connection) -> StoreRow | None:
            row = connection.execute(_LOCKED, (store_id,)).fetchone()
            return StoreRow._make((*row, time.time_ns() // 1_000)) if row else None

        return await self._writer.run(lock)

    async def execute(self, statement: Statement, /, **values: Any) -> Sequence[Values]:
        """See `pdp.stores.database.WriteTransaction`."""
        text, parameters = statement.bound("sqlite", values)
        return await self._writer.run(lambda connection: connection.execute(text, parameters).fetchall())

    async def select(self, queries: Sequence[Query]) -> Sequence[Sequence[Values]]:
        """See `pdp.stores.database.WriteTransaction`."""

        def select(connection: sqlite3.Connection) -> Sequence[Sequence[Values]]:
            return [connection.execute(_numbered(text), values).fetchall() for text, values in queries]

        return await self._writer.run(select) if queries else []

    async def at_places(self, store_id: int, places: Sequence[Place]) -> Sequence[Relationship]:
        """See `pdp.stores.database.WriteTransaction`."""

        def look_up(connection: sqlite3.Connection) -> Sequence[Relationship]:
            rows = (connection.execute(_AT_PLACE, (store_id, *place)).fetchone() for place in places)
            return [Relationship(*row) for row in rows if row is not None]

        return await self._writer.run(look_up) if places else []

    async def fetch(
        self, store_id: int, at: Revision, reads: Sequence[Read], keys: KeyMaker
    ) -> Sequence[Sequence[Found]]:
        """See `pdp.stores.database.WriteTransaction`."""
        return await self._writer.run(lambda connection: _fetch(connection, store_id, at, reads, keys))

    async def save(self, store_id: int, saving: Saving) -> None:
        """See `pdp.stores.database.WriteTransaction`."""

        def save(connection: sqlite3.Connection) -> None:
            connection.executemany(_END, _ended(store_id, saving.ended))
            connection.executemany(_INSERT, _rows(store_id, saving.born))
            logged = [(store_id, one.revision, saving.committed_at, *one[1:]) for one in saving.logged]
            connection.executemany(_LOG, logged)
            connection.executemany(_PART, [(store_id, *part) for part in saving.parts])
            connection.executemany(_KIND, [(store_id, *kind, count) for kind, count in saving.kinds.items()])
            remembered = [(store_id, key, *kept, saving.committed_at) for key, kept in saving.remembered]
            connection.executemany(_REMEMBER, remembered)
            connection.execute(_ADVANCE, (*saving[:5], store_id))

        await self._writer.run(save)

    async def end(self, store_id: int, ended: Sequence[Ended]) -> None:
        """See `pdp.stores.database.WriteTransaction`."""
        await self._writer.run(lambda connection: connection.executemany(_END, _ended(store_id, ended)))

    async def save_parts(self, store_id: int, parts: Sequence[Part]) -> None:
        """See `pdp.stores.database.WriteTransaction`."""
        await self._writer.run(lambda c: c.executemany(_PART, [(store_id, *part) for part in parts]))

    async def insert(self, store_id: int, keyed: Keyed, created: Revision) -> None:
        """See `pdp.stores.database.WriteTransaction`."""

        def insert(connection: sqlite3.Connection) -> None:
            before = connection.total_changes
            try:
                connection.executemany(_INSERT, _living_rows(store_id, keyed, created))
            except sqlite3.IntegrityError as error:
                failed = connection.total_changes - before  # those before it went in
                raise DuplicateRow((keyed.slots[failed], keyed.pairs[failed])) from error

        await self._writer.run(insert)


def _rows(store_id: int, rows: Sequence[Row]) -> Iterator[Values]:
    return ((store_id, *key, created, deleted, *one) for key, created, deleted, one in rows)


def _living_rows(store_id: int, keyed: Keyed, created: Revision) -> Iterator[Values]:
    for slot, pair, subject_slot, one in zip(*keyed, strict=True):
        yield (store_id, slot, pair, subject_slot, created, LIVING, *one)


def _ended(store_id: int, ended: Sequence[Ended]) -> Iterator[Values]:
    return ((revision, store_id, slot, pair) for slot, pair, revision in ended)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@contextmanager
def _one_snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def _fetch(
    connection: sqlite3.Connection, store_id: int, at: Revision, reads: Sequence[Read], keys: KeyMaker
) -> Sequence[Sequence[Found]]:
    answers = []
    for read in reads:
        if isinstance(read, SubjectsRead):
            far = (read.subject_type, read.subject_relation)
            slot = keys.slot(*read.resource, read.relation, *far)
            values = (store_id, slot, at, at, *read.resource, read.relation, *far)
            if read.subject_ids:
                answers.append(_find_each(connection, read, values, keys))
                continue
            rows = connection.execute(_IN_SLOT, values)
        else:
            slot = keys.slot(*read.subject, read.resource_type, read.relation)
            values = (store_id, slot, at, at, *read.subject, read.resource_type, read.relation)
            rows = connection.execute(_IN_SUBJECT_SLOT, values)
        answers.append([Found(*row) for row in rows])
    return answers


def _find_each(connection: sqlite3.Connection, read: SubjectsRead, values: Values, keys: KeyMaker) -> list[Found]:
    found = []
    for id_ in dict.fromkeys(read.subject_ids):
        one = Relationship(*read.resource, read.relation, read.subject_type, id_, read.subject_relation)
        query = f"{_IN_SLOT} AND pair = ? AND subject_id = ?"
        found += [Found(*row) for row in connection.execute(query, (*values, keys.key(one).pair, id_))]
    return found
