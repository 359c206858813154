"""One Postgres server: its connections, and what its failures mean."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from pdp.errors import StoreUnavailable
from pdp.stores.batch import Place
from pdp.stores.database import Values

_ACQUIRE_SECONDS = 10.0
_COMMAND_SECONDS = 120.0
_READ_SECONDS = 10.0
"""For a statement that takes milliseconds where the server is well: one that hangs is one that is away."""
_REST_SECONDS = 2.0
_ATTEMPTS = 3
_PLACE = re.compile(r"\(store_id, slot, pair, deleted\)=\(\d+, (-?\d+), (-?\d+), \d+\)")

_LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.FatalPostgresError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InternalClientError,  # a connection that ended in the middle of a statement is left in that state
)
"""The connection is of no use any more. `TimeoutError` is an `OSError` too: nobody waits for a hung server again."""
_UNAVAILABLE = (
    *_LOST,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
    asyncpg.UndefinedTableError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise `StoreUnavailable` for what the server's absence or state raises."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise StoreUnavailable(f"the database did not answer: {type(error).__name__}") from error


def duplicate_place(error: asyncpg.UniqueViolationError) -> Place | None:
    """The place that a violation of the relationships' uniqueness names."""
    found = _PLACE.search(error.detail or "")
    return (int(found[1]), int(found[2])) if found else None


class Server:
    """A pool of connections to one server, opened when it is first used.

    Args:
        url: ``postgresql://…``; its query may say ``prepared_statements=false``, as behind a pooler it must.
        connections_max: so many at once.
    """

    def __init__(self, url: str, connections_max: int) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        self._prepared = options.pop("prepared_statements", "true").lower() not in ("false", "off", "0")
        self.url = urlunsplit(parts._replace(query=urlencode(options)))
        self._connections_max = connections_max
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._resting_until = 0.0

    def worth_trying(self) -> bool:
        """Whether it did not fail just now."""
        return time.monotonic() >= self._resting_until

    def rest(self) -> None:
        """Leave it alone for a while."""
        self._resting_until = time.monotonic() + _REST_SECONDS

    async def open(self) -> asyncpg.Pool:
        """Its connections. Raises `StoreUnavailable` unless one can be made."""
        async with self._opening:
            if self._pool is None:
                with translated():
                    self._pool = await asyncpg.create_pool(
                        self.url,
                        min_size=1,
                        max_size=self._connections_max,
                        timeout=_ACQUIRE_SECONDS,
                        command_timeout=_COMMAND_SECONDS,
                        statement_cache_size=200 if self._prepared else 0,
                        max_cacheable_statement_size=0,
                        reset=_keep,
                        server_settings={"application_name": "tessera"},
                    )
        return self._pool

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        pool = self._pool or await self.open()
        connection = await pool.acquire(timeout=_ACQUIRE_SECONDS)
        try:
            yield connection
        except _LOST:
            connection.terminate()
            raise
        finally:
            try:
                await asyncio.shield(pool.release(connection))
            except _LOST:
                connection.terminate()

    @asynccontextmanager
    async def begun(self, begin: str) -> AsyncIterator[asyncpg.Connection]:
        """A connection on which ``begin`` was run; one that was lost meanwhile is replaced."""
        with translated():
            for attempt in range(_ATTEMPTS):
                async with self._connection() as connection:
                    try:
                        await connection.execute(begin, timeout=_READ_SECONDS)
                    except _LOST as error:
                        if attempt + 1 == _ATTEMPTS or isinstance(error, TimeoutError):
                            raise
                        connection.terminate()
                        continue
                    yield connection
                    return

    async def fetch(self, text: str, parameters: Sequence[Any]) -> Sequence[Values]:
        """A statement's rows. It may be run again where the connection was lost, so it must bear that."""
        with translated():
            for attempt in range(_ATTEMPTS):
                try:
                    async with self._connection() as connection:
                        rows: Sequence[Values]
                        if self._prepared:
                            rows = await connection.fetch(text, *parameters, timeout=_READ_SECONDS)
                        else:
                            async with connection.transaction():
                                rows = await connection.fetch(text, *parameters, timeout=_READ_SECONDS)
                        return rows
                except _LOST as error:
                    if attempt + 1 == _ATTEMPTS or isinstance(error, TimeoutError):
                        raise
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Let go of the connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


async def _keep(_: asyncpg.Connection) -> None:
    """Nothing to reset: no statement of ours leaves anything behind on its connection."""
