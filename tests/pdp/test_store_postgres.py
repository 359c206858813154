"""The store's contract over Postgres."""

import secrets
from collections.abc import Iterator

import pytest

from tests.pdp.store_contract import SharedStoreContract
from tests.servers import Postgres


@pytest.fixture(scope="module")
def database(shared_postgres: Postgres) -> Iterator[str]:
    """One database for all tests: each has a store of its own."""
    name = f"test_{secrets.token_hex(6)}"
    shared_postgres.execute(f"CREATE DATABASE {name}")
    yield shared_postgres.url(name)
    shared_postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


class TestPostgres(SharedStoreContract):
    """The server alone."""

    @pytest.fixture
    def database_url(self, database: str) -> str:
        """Where the database is."""
        return database
