"""One process of an identity part whose stores are slow: run as a program, to have several on one database.

Every statement, and every look at what was used, takes two milliseconds more than it would, so that whoever checks
first and acts afterwards is caught.
"""

import argparse
import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette

from api.oauth import routes
from authn.clock import Millis
from authn.replay import ReplayStore
from authn.service import Authn
from authn.settings import AuthnSettings
from authn.stores.connect import AuthnStore, connect
from authn.stores.postgres import PostgresDatabase
from tests.authn.harness import KEK

DELAY_S = 0.002


class SlowPostgres(PostgresDatabase):
    """Each statement waits first."""

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        async with super()._connection() as connection:
            yield _SlowConnection(connection)


class _SlowConnection:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def fetch(self, *arguments: Any) -> Any:
        await asyncio.sleep(DELAY_S)
        return await self._inner.fetch(*arguments)

    async def executemany(self, *arguments: Any) -> Any:
        await asyncio.sleep(DELAY_S)
        return await self._inner.executemany(*arguments)

    def transaction(self) -> Any:
        return self._inner.transaction()


class SlowReplays:
    """Each look waits first and afterwards."""

    def __init__(self, inner: ReplayStore) -> None:
        self._inner = inner

    async def consume(self, key: bytes, *, made_at_ms: Millis, good_until_ms: Millis) -> bool:
        await asyncio.sleep(DELAY_S)
        first = await self._inner.consume(key, made_at_ms=made_at_ms, good_until_ms=good_until_ms)
        await asyncio.sleep(DELAY_S)
        return first

    async def close(self) -> None:
        await self._inner.close()


async def slow_store(url: str) -> AuthnStore:
    """The store of that URL, slowed."""
    if url.startswith("postgresql"):
        return AuthnStore(SlowPostgres(url))
    store = await connect(url)
    connection: sqlite3.Connection = store.database._connection  # type: ignore[attr-defined]
    connection.set_trace_callback(lambda _: time.sleep(DELAY_S))
    return store


async def serve(database_url: str, redis_url: str | None, port: int) -> None:
    """Serve until the process is ended."""
    store = await slow_store(database_url)
    settings = AuthnSettings(
        issuer="https://id.example",
        key_encryption_keys=(KEK,),
        signing_algorithms=("ES256",),
        redis_url=redis_url,
    )
    authn = Authn(settings, store)
    await authn.start()
    authn._authenticator._replays = SlowReplays(authn.replays)
    app = Starlette(routes=routes(authn))
    config = uvicorn.Config(app, port=port, log_level="error", access_log=False, lifespan="off")
    await uvicorn.Server(config).serve()
    await authn.stop()
    await store.close()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database_url")
    parser.add_argument("port", type=int)
    parser.add_argument("--redis-url")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.database_url, arguments.redis_url, arguments.port))


if __name__ == "__main__":
    main()
