"""The store's contract over SQLite: in a file, and in memory."""

from pathlib import Path

import pytest

from pdp.stores.protocol import Datastore
from tests.pdp.store_contract import SharedStoreContract, StoreContract


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for all tests: each has a store of its own."""
    return tmp_path_factory.mktemp("sqlite") / "tessera.db"


class TestSqliteFile(SharedStoreContract):
    """In a file."""

    @pytest.fixture
    def database_url(self, file: Path) -> str:
        """Where the file is."""
        return f"sqlite:///{file}"


class TestSqliteMemory(StoreContract):
    """In memory, where no other process can come: what the contract asks of two is asked of one twice."""

    @pytest.fixture
    def database_url(self) -> str:
        """Nowhere but here."""
        return "sqlite:///:memory:"

    @pytest.fixture
    async def datastore_beside(self, datastore: Datastore) -> Datastore:
        """The only one."""
        return datastore
