"""The feed: nothing missed, and a process that has not heard from it for a second says so."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from authn.clock import World
from authn.errors import NeedsStore, StoreUnavailable
from authn.feed import Feed
from authn.stores import feed as rows
from authn.stores.connect import connect
from authn.stores.statements import Database, Row, Statement, Values, Work
from tests.authn.harness import Clock, running


class Switch:
    """A database that can be cut off."""

    def __init__(self, inner: Database) -> None:
        self.inner = inner
        self.writes_within_with = inner.writes_within_with
        self.is_cut = False

    async def fetch(self, statement: Statement, values: Values) -> Sequence[Row]:
        self._look()
        return await self.inner.fetch(statement, values)

    async def run(self, work: Work[Any]) -> Any:
        self._look()
        return await self.inner.run(work)

    async def script(self, sql: str) -> None:
        await self.inner.script(sql)

    async def close(self) -> None:
        await self.inner.close()

    def _look(self) -> None:
        if self.is_cut:
            raise StoreUnavailable("cut off")


async def _nothing() -> None:
    return None


def follow(database: Database, world: World, clients: list[str] | None = None) -> Feed:
    heard = clients if clients is not None else []
    return Feed(database, world, on_client=heard.append, on_keys=_nothing, on_reset=_nothing)


async def test_entries_come_in_order_and_none_is_missed(database_url: str) -> None:
    """Written by many at once."""
    store = await connect(database_url)
    await store.migrate()
    clients: list[str] = []
    clock = Clock()
    feed = follow(store.database, clock.world(), clients)
    await feed.start()

    async def write(number: int) -> None:
        await store.database.run(rows.append(rows.CLIENT, f"c{number}", clock.ms + 60_000, clock.ms))

    writers = asyncio.gather(*(write(number) for number in range(100)))
    while not writers.done():
        await feed.poll()
    await feed.poll()
    assert sorted(clients) == sorted(f"c{number}" for number in range(100))
    assert feed.position == 100
    await store.close()


async def test_stale_is_said(sqlite_url: str) -> None:
    """After a second without the database nobody judges from memory; asking makes it good again."""
    store = await connect(sqlite_url)
    await store.migrate()
    clock = Clock()
    switch = Switch(store.database)
    feed = follow(switch, clock.world())
    with pytest.raises(NeedsStore):
        feed.require_fresh()
    await feed.start()
    clock.advance(1.0)
    feed.require_fresh()
    clock.advance(0.1)
    with pytest.raises(NeedsStore):
        feed.require_fresh()
    await feed.catch_up()
    feed.require_fresh()
    switch.is_cut = True
    clock.advance(2)
    with pytest.raises(StoreUnavailable):
        await feed.catch_up()
    with pytest.raises(NeedsStore):
        feed.require_fresh()
    switch.is_cut = False
    await asyncio.gather(*(feed.catch_up() for _ in range(10)))
    feed.require_fresh()
    await store.close()


async def test_tokens_while_the_database_is_gone() -> None:
    """A good token is judged for a second more; then it is neither accepted nor called bad."""
    clock = Clock()
    async with running(clock=clock) as identity:
        client = await identity.client()
        token = (await identity.token(client)).json["access_token"]
        identity.authn.verify_bearer(token)
        switch = Switch(identity.store.database)
        switch.is_cut = True
        identity.authn.feed._database = switch
        clock.advance(0.9)
        await identity.authn.verify(token)
        clock.advance(0.2)
        with pytest.raises(NeedsStore):
            identity.authn.verify_bearer(token)
        with pytest.raises(StoreUnavailable):
            await identity.authn.verify(token)
        reply = await identity.post(
            "/oauth2/introspect",
            {"token": token},
            auth=f"Basic {_basic(client.client.client_id, client.secret or '')}",
        )
        assert (reply.status, reply.error) == (503, "temporarily_unavailable")
        assert reply.headers["retry-after"] == "1"
        switch.is_cut = False
        await identity.authn.verify(token)


def _basic(client_id: str, secret: str) -> str:
    from tests.authn.harness import basic

    return basic(client_id, secret).removeprefix("Basic ")


async def test_a_restored_backup(sqlite_url: str) -> None:
    """Where positions went back everything is read again."""
    store = await connect(sqlite_url)
    await store.migrate()
    clock = Clock()
    resets = []

    async def on_reset() -> None:
        resets.append(1)

    feed = Feed(store.database, clock.world(), on_client=lambda _: None, on_keys=_nothing, on_reset=on_reset)
    for number in range(3):
        await store.database.run(rows.append(rows.TOKEN, f"t{number}", clock.ms + 60_000, clock.ms))
    await feed.start()
    await store.database.script(
        "UPDATE authn_feed_head SET position = 1;\nDELETE FROM authn_feed WHERE position > 1;"
    )
    await feed.poll()
    assert (feed.position, len(resets)) == (1, 2)
    await store.close()


async def test_what_expired_is_forgotten(sqlite_url: str) -> None:
    """In memory and in the database."""
    store = await connect(sqlite_url)
    await store.migrate()
    clock = Clock()
    feed = follow(store.database, clock.world())
    await feed.start()
    for kind in (rows.TOKEN, rows.GRANT, rows.SESSION, rows.SUBJECT):
        await store.database.run(rows.append(kind, "x", clock.ms + 30_000, clock.ms))
    await feed.poll()
    assert len(feed.revocations) == 4
    clock.advance(61)
    await feed.poll()
    assert len(feed.revocations) == 0
    await store.database.run(rows.purge(clock.ms))
    assert await store.database.run(rows.after(0)) == []
    await store.close()
