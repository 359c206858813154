"""Fixtures that all tests share: servers made once a run, something empty for each test.

Tests that run side by side (pytest-xdist) have a server for each process of theirs, or, where the servers are given
by ``TEST_POSTGRES_URL`` and ``TEST_REDIS_URL``, a database for each.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import settings

from tests.servers import GivenPostgres, Postgres, Redis, running_postgres, running_redis

settings.register_profile("nightly", max_examples=5000, deadline=None)
if "HYPOTHESIS_PROFILE" in os.environ:
    settings.load_profile(os.environ["HYPOTHESIS_PROFILE"])


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[Postgres]:
    """A Postgres for all tests of this process, fast and forgetful; or the one that was given."""
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield GivenPostgres(given)
    else:
        with running_postgres() as server:
            yield server


@pytest.fixture(scope="session")
def shared_redis_url() -> Iterator[str]:
    """A Redis for all tests of this process, or a database for them in the one that was given."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        process = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        base, _, number = given.rpartition("/") if given.count("/") > 2 else (given, "", "0")
        yield f"{base}/{int(number or 0) + int(process)}"
    else:
        with running_redis() as server:
            yield server.url


@pytest.fixture
def postgres_url(shared_postgres: Postgres) -> Iterator[str]:
    """An empty database, dropped after the test."""
    name = f"test_{secrets.token_hex(6)}"
    shared_postgres.execute(f"CREATE DATABASE {name}")
    yield shared_postgres.url(name)
    shared_postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def durable_postgres() -> Iterator[Postgres]:
    """A Postgres of the test's own, which keeps what it acknowledged through any crash."""
    with running_postgres(durable=True) as server:
        yield server


@pytest.fixture
def redis_url(shared_redis_url: str) -> str:
    """An empty database of a Redis."""
    with redis.Redis.from_url(shared_redis_url) as client:
        client.flushdb()
    return shared_redis_url


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A Redis of the test's own, to be stopped and started."""
    with running_redis() as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path}/tessera.db"
