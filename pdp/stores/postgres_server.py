"""One Postgres server: its connections, and what its failures mean."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from pdp.errors import StoreUnavailable
from pdp.stores.batch import Place
from pdp.stores.database import Values

T = TypeVar("T")

_ACQUIRE_SECONDS = 10.0
_COMMAND_SECONDS = 120.0
_READ_SECONDS = 10.0
"""For a statement that takes milliseconds where the server is well: one that hangs is one that is away."""
ROLL_BACK_SECONDS = 2.0
_REST_SECONDS = 2.0
_ATTEMPTS = 3
_PLACE = re.compile(r"\(store_id, slot, pair, deleted\)=\(\d+, (-?\d+), (-?\d+), \d+\)")

_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.FatalPostgresError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InternalClientError,  # a connection that ended in the middle of a statement is left in that state
)
"""The connection is of no use any more. `TimeoutError` is an `OSError` too: nobody waits for a hung server again."""
ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
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
    except asyncpg.InterfaceError as error:
        if not is_lost(error):
            raise
        raise StoreUnavailable("the connection to the database was closed") from error


def is_lost(error: BaseException) -> bool:
    """Whether the connection is of no use any more, rather than that the statement was wrong."""
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, asyncpg.DataError) and "argument" not in str(error)
    return isinstance(error, _LOST)


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
        except ERRORS as error:
            if is_lost(error):
                connection.terminate()
            raise
        finally:
            try:
                await asyncio.shield(pool.release(connection))
            except ERRORS:
                connection.terminate()

    @asynccontextmanager
    async def begun(self, begin: str) -> AsyncIterator[asyncpg.Connection]:
        """A connection on which ``begin`` was run; one that was lost meanwhile is replaced."""
        async with AsyncExitStack() as held:
            with translated():
                connection = await self._again(lambda: self._begin(held, begin))
            yield connection

    async def _begin(self, held: AsyncExitStack, begin: str) -> asyncpg.Connection:
        await held.aclose()
        connection = await held.enter_async_context(self._connection())
        try:
            await connection.execute(begin, timeout=_READ_SECONDS)
        except ERRORS as error:
            if is_lost(error):
                connection.terminate()
            raise
        return connection

    async def fetch(self, text: str, parameters: Sequence[Any], *, patient: bool = False) -> Sequence[Values]:
        """A statement's rows. It may be run again where the connection was lost, so it must bear that.

        ``patient`` is for what may take long on a server that is well.
        """
        seconds = _COMMAND_SECONDS if patient else _READ_SECONDS
        with translated():
            return await self._again(lambda: self._fetch(text, parameters, seconds))

    async def _fetch(self, text: str, parameters: Sequence[Any], seconds: float) -> Sequence[Values]:
        async with self._connection() as connection:
            rows: Sequence[Values]
            if self._prepared:
                rows = await connection.fetch(text, *parameters, timeout=seconds)
            else:
                async with connection.transaction():
                    rows = await connection.fetch(text, *parameters, timeout=seconds)
            return rows

    async def _again(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until the connection is not one that was lost since it was last used."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return await attempt()
            except ERRORS as error:
                if isinstance(error, TimeoutError) or not is_lost(error):
                    raise
        return await attempt()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


async def _keep(_: asyncpg.Connection) -> None:
    """Nothing to reset: no statement of ours leaves anything behind on its connection."""
