"""The embedded database: `sqlite3` on one thread of its own, which commits what is waiting together.

The pieces of work that have queued up run one after another in one transaction, each under a savepoint, so that a
failing one leaves its neighbours alone and one ``fsync`` serves them all.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any

from authn.errors import StoreUnavailable
from authn.stores.statements import Result, Row, Statement, Step, Values, Work

BUSY_TIMEOUT_MS = 5_000
BATCH_MAX = 256
_Job = tuple[Callable[[sqlite3.Connection], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class SqliteDatabase:
    """See `authn.stores.statements.Database`.

    Args:
        path: a file, or ``:memory:``.
    """

    writes_within_with = False

    def __init__(self, path: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        try:
            self._connection = _open(path)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot open `{path}`: {error}") from error
        self._thread = threading.Thread(target=self._work, name="authn-sqlite", daemon=True)
        self._thread.start()

    async def fetch(self, statement: Statement, values: Values) -> Sequence[Row]:
        """See `Database`."""
        compiled = statement.for_sqlite()
        arguments = compiled.arguments(values)
        rows: Sequence[Row] = await self._submit(
            lambda connection: connection.execute(compiled.sql, arguments).fetchall()
        )
        return rows

    async def run(self, work: Work[Result]) -> Result:
        """See `Database`."""
        result: Result = await self._submit(lambda connection: _drive(connection, work))
        return result

    async def script(self, sql: str) -> None:
        """See `Database`."""

        def run(connection: sqlite3.Connection) -> None:
            for statement in _split(sql):
                connection.execute(statement)

        await self._submit(run)

    async def close(self) -> None:
        """See `Database`."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def _submit(self, call: Callable[[sqlite3.Connection], Any]) -> Any:
        if not self._thread.is_alive():
            raise StoreUnavailable("the database is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._jobs.put((call, loop, future))
        return await future

    def _work(self) -> None:
        ending = False
        while not ending:
            first = self._jobs.get()
            jobs = [] if first is None else [first]
            ending = first is None
            while not ending and len(jobs) < BATCH_MAX and not self._jobs.empty():
                job = self._jobs.get()
                if job is None:
                    ending = True
                else:
                    jobs.append(job)
            self._commit(jobs)
        self._connection.close()

    def _commit(self, jobs: list[_Job]) -> None:
        outcomes: list[tuple[Any, BaseException | None]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for call, _, _ in jobs:
                outcomes.append(_attempt(self._connection, call))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            failure = StoreUnavailable(f"the database did not take the transaction: {error}")
            outcomes = [(None, failure)] * len(jobs)
        for (_, loop, future), (value, exception) in zip(jobs, outcomes, strict=True):
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, future, value, exception)


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _attempt(connection: sqlite3.Connection, call: Callable[[sqlite3.Connection], Any]) -> Any:
    """One piece of work under its savepoint: its value, or the exception that undid it."""
    connection.execute("SAVEPOINT piece")
    try:
        value = call(connection)
    except Exception as error:
        connection.execute("ROLLBACK TO piece")
        connection.execute("RELEASE piece")
        if isinstance(error, sqlite3.OperationalError):
            unavailable = StoreUnavailable(f"the database did not answer: {error}")
            unavailable.__cause__ = error
            return None, unavailable
        return None, error
    connection.execute("RELEASE piece")
    return value, None


def _drive(connection: sqlite3.Connection, work: Work[Any]) -> Any:
    try:
        step = next(work)
        while True:
            step = work.send(_execute(connection, step))
    except StopIteration as finished:
        return finished.value


def _execute(connection: sqlite3.Connection, step: Step) -> Sequence[Row]:
    statement, values = step
    compiled = statement.for_sqlite()
    if isinstance(values, Sequence):
        connection.executemany(compiled.sql, [compiled.arguments(each) for each in values])
        return ()
    return connection.execute(compiled.sql, compiled.arguments(values)).fetchall()


def _split(sql: str) -> list[str]:
    """A script's statements; `sqlite3.Connection.executescript` would commit before the first."""
    statements, pending = [], ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements


def _settle(future: "asyncio.Future[Any]", value: Any, exception: BaseException | None) -> None:
    if future.done():
        return
    if exception is None:
        future.set_result(value)
    else:
        future.set_exception(exception)
