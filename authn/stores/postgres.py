"""PostgreSQL by `asyncpg`, without a layer between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from authn.errors import StoreUnavailable
from authn.stores.statements import Result, Row, Statement, Values, Work

CONNECTIONS_MAX = 8
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 10.0
_MIGRATION_LOCK = 0x7E55E4A0A7
_OUT_OF_REACH = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)


class PostgresDatabase:
    """See `authn.stores.statements.Database`. Connections are made when they are first needed."""

    writes_within_with = True

    def __init__(self, url: str, connections_max: int = CONNECTIONS_MAX) -> None:
        self._pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=connections_max,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings={"application_name": "tessera-authn"},
            reset=_leave_as_it_is,
        )
        self._ready = False
        self._opening = asyncio.Lock()

    async def fetch(self, statement: Statement, values: Values) -> Sequence[Row]:
        """See `Database`."""
        compiled = statement.for_postgres()
        async with self._connection() as connection:
            rows: Sequence[Row] = await connection.fetch(compiled.sql, *compiled.arguments(values))
            return rows

    async def run(self, work: Work[Result]) -> Result:
        """See `Database`."""
        async with self._connection() as connection, connection.transaction():
            return await _drive(connection, work)

    async def script(self, sql: str) -> None:
        """See `Database`."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            await connection.execute(sql, timeout=None)

    async def close(self) -> None:
        """See `Database`."""
        if self._ready:
            await self._pool.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        try:
            if not self._ready:
                async with self._opening:
                    await self._pool
                    self._ready = True
            async with self._pool.acquire() as connection:
                yield connection
        except _OUT_OF_REACH as error:
            raise StoreUnavailable("the database cannot be reached or did not answer in time") from error


async def _leave_as_it_is(_: Any) -> None:
    """Nothing here changes a session, so nothing of it has to be undone when a connection goes back to the pool."""


async def _drive(connection: Any, work: Work[Result]) -> Result:
    try:
        statement, values = next(work)
        while True:
            compiled = statement.for_postgres()
            rows: Sequence[Row] = ()
            if isinstance(values, Sequence):
                await connection.executemany(compiled.sql, [compiled.arguments(each) for each in values])
            else:
                rows = await connection.fetch(compiled.sql, *compiled.arguments(values))
            statement, values = work.send(rows)
    except StopIteration as finished:
        result: Result = finished.value
        return result
