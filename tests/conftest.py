"""Fixtures that all tests share: servers made once a run, something empty for each test."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Postgres, Redis, running_postgres, running_redis

_numbers = itertools.count()


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[Postgres]:
    """A Postgres for all tests of this process, fast and forgetful."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Redis]:
    """A Redis for all tests of this process."""
    with running_redis() as server:
        yield server


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database, dropped after the test; in the server of ``TEST_POSTGRES_URL`` where that is set."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    given = os.environ.get("TEST_POSTGRES_URL")
    server = _Given(given) if given else request.getfixturevalue("shared_postgres")
    server.execute(f"CREATE DATABASE {name}")
    yield server.url(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


class _Given(Postgres):
    """A server that somebody else runs."""

    def __init__(self, url: str) -> None:
        self._base = url.rsplit("/", 1)[0]

    def url(self, database: str = "postgres") -> str:
        return f"{self._base}/{database}"


@pytest.fixture
def durable_postgres() -> Iterator[Postgres]:
    """A Postgres of the test's own, which keeps what it acknowledged through any crash."""
    with running_postgres(durable=True) as server:
        yield server


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """An empty Redis; that of ``TEST_REDIS_URL`` where that is set."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        return given
    server: Redis = request.getfixturevalue("shared_redis")
    server.flush()
    return server.url


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A Redis of the test's own, to be stopped and started."""
    with running_redis() as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path}/tessera.db"
