"""The databases: tables as their history makes them, and transactions that hold on either."""

import ast
import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Integer, LargeBinary, Text, create_engine, inspect

import authn
from authn.errors import BadConfiguration, NotMigrated, StoreUnavailable
from authn.stores import migrate as migrations
from authn.stores.clients import mark
from authn.stores.connect import connect
from authn.stores.feed import append, head
from authn.stores.statements import Work
from authn.stores.tables import METADATA
from tests.authn.harness import running
from tests.servers import Postgres

VERSIONS = Path(authn.__file__).parent / "migrations" / "versions"
_KINDS = {Text: "TEXT", BigInteger: "BIGINT", Integer: "INTEGER", LargeBinary: "BLOB"}


def test_the_newest_version_is_the_one_named() -> None:
    """`HEAD` is the end of the history."""
    revisions, before = set(), set()
    for file in VERSIONS.glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if node.targets[0].id == "revision":
                    revisions.add(ast.literal_eval(node.value))
                elif node.targets[0].id == "down_revision":
                    before.add(ast.literal_eval(node.value))
    assert revisions - before == {migrations.HEAD}


async def test_the_history_makes_the_tables_that_are_described(sqlite_url: str) -> None:
    """Column by column, key by key, index by index."""
    store = await connect(sqlite_url)
    await store.migrate()
    await store.close()
    engine = create_engine(sqlite_url)
    found = inspect(engine)
    assert set(found.get_table_names()) - {"authn_version"} == set(METADATA.tables)
    for name, table in METADATA.tables.items():
        columns = {c["name"]: (str(c["type"]), c["nullable"]) for c in found.get_columns(name)}
        described = {c.name: (_KINDS[type(c.type)], bool(c.nullable)) for c in table.columns}
        assert columns == described, name
        assert found.get_pk_constraint(name)["constrained_columns"] == [c.name for c in table.primary_key]
        indexes = {i["name"]: (i["column_names"], bool(i["unique"])) for i in found.get_indexes(name)}
        assert indexes == {i.name: ([c.name for c in i.columns], bool(i.unique)) for i in table.indexes}, name
    engine.dispose()


async def test_ids_are_compared_by_their_bytes(postgres_url: str) -> None:
    """Every text in PostgreSQL has the C collation."""
    store = await connect(postgres_url)
    await store.migrate()
    import asyncpg

    connection = await asyncpg.connect(postgres_url)
    rows = await connection.fetch(
        "SELECT table_name, column_name, collation_name FROM information_schema.columns "
        "WHERE table_name LIKE 'authn%' AND data_type = 'text'"
    )
    assert len(rows) > 20
    assert {row["collation_name"] for row in rows} == {"C"}
    await connection.close()
    await store.close()


async def test_migrating_twice_and_at_once(database_url: str) -> None:
    """Harmless."""
    stores = [await connect(database_url) for _ in range(4)]
    assert await stores[0].is_empty()
    await asyncio.gather(*(store.migrate() for store in stores))
    await stores[0].migrate()
    for store in stores:
        assert not await store.is_empty()
        await store.require_current()
        await store.close()


async def test_tables_of_another_version_are_refused(database_url: str) -> None:
    """Nothing starts on tables that it does not know."""
    store = await connect(database_url)
    with pytest.raises(NotMigrated):
        await store.require_current()
    await store.migrate()
    await store.database.script("UPDATE authn_version SET version_num = '9999';")
    with pytest.raises(NotMigrated, match="9999"):
        await store.require_current()
    await store.close()


async def test_a_failing_piece_leaves_its_neighbours(database_url: str) -> None:
    """Each piece of work is all or nothing, though many commit together."""
    store = await connect(database_url)
    await store.migrate()

    def work(number: int) -> Work[bool]:
        first = yield from mark(f"m{number}", number)
        yield from append("token", f"t{number}", 1, 1)
        if number % 3 == 0:
            raise ValueError(number)
        return first

    outcomes = await asyncio.gather(
        *(store.database.run(work(number)) for number in range(30)), return_exceptions=True
    )
    assert [isinstance(outcome, ValueError) for outcome in outcomes] == [n % 3 == 0 for n in range(30)]
    assert await store.database.run(head()) == 20
    assert await store.database.run(mark("m0", 1)) is True
    assert await store.database.run(mark("m1", 1)) is False
    await store.close()


async def test_what_was_acknowledged_is_there(sqlite_url: str) -> None:
    """Read by somebody else, at once."""
    store = await connect(sqlite_url)
    await store.migrate()
    await store.database.run(mark("x", 1))
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    assert other.execute("SELECT count(*) FROM authn_marks").fetchone() == (1,)
    other.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.database.run(mark("y", 1))


async def test_a_busy_database_is_waited_for(sqlite_url: str) -> None:
    """Another process' transaction is waited for, within bounds."""
    store = await connect(sqlite_url)
    await store.migrate()
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(store.database.run(mark("x", 1)))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    other.execute("COMMIT")
    assert await waiting is True
    other.close()
    await store.close()


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite:relative", "", "postgres", "sqlite://host/x"])
async def test_other_databases(url: str) -> None:
    """Are refused at once."""
    with pytest.raises(BadConfiguration):
        await connect(url)


async def test_databases_that_are_not_there(tmp_path: Path) -> None:
    """Say so."""
    with pytest.raises(StoreUnavailable):
        await connect(f"sqlite:///{tmp_path}/no/such/folder/db")
    store = await connect("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable):
        await store.ping()
    await store.close()


async def test_the_database_stops_and_comes_back(durable_postgres: Postgres) -> None:
    """Meanwhile 503, afterwards everything goes on by itself; nothing that was refused was done."""
    durable_postgres.execute("CREATE DATABASE authn")
    async with running(durable_postgres.url("authn")) as identity:
        opaque = await identity.client(access_token_format="opaque")
        plain = await identity.client()
        for client in (opaque, plain):
            assert (await identity.token(client)).status == 200
        await asyncio.to_thread(durable_postgres.stop)
        refused = await identity.token(opaque)
        assert (refused.status, refused.error) == (503, "temporarily_unavailable")
        assert refused.headers["retry-after"] == "1"
        assert (await identity.token(plain)).status == 200
        await asyncio.to_thread(durable_postgres.start)
        for _ in range(50):
            reply = await identity.token(opaque)
            if reply.status == 200:
                break
            await asyncio.sleep(0.1)
        assert (await identity.introspect(opaque, reply.json["access_token"]))["active"] is True
