"""What every store promises, as tests: each database has a module that runs all of them over it.

A module says where its database is; the contract brings a store of its own for each test, and the same store as
another process sees it.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from pdp.relationships import Instant, Revision
from pdp.stores.connect import connect
from pdp.stores.protocol import Datastore, Store
from tests.pdp import store_contract_bulk as bulk
from tests.pdp import store_contract_history as history
from tests.pdp import store_contract_reads as reads
from tests.pdp import store_contract_stores as stores
from tests.pdp import store_contract_writes as writes


class StoreContract(
    writes.Writes,
    writes.Preconditions,
    writes.Neighbours,
    writes.Sets,
    writes.Guards,
    writes.Idempotency,
    writes.QuotasKept,
    reads.Fetches,
    reads.Filters,
    reads.Scans,
    reads.Schemas,
    reads.Expired,
    history.Changelogs,
    history.Times,
    history.Watches,
    history.Collections,
    bulk.Imports,
    bulk.Exports,
    bulk.Deletions,
    bulk.Counted,
    stores.Stores,
    stores.Apart,
):
    """The whole contract."""

    def __init_subclass__(cls) -> None:
        """Refuse two tests of one name: the second would silently take the place of the first."""
        found: dict[str, type] = {}
        for part in cls.__mro__:
            for name in vars(part):
                if name.startswith("test_"):
                    assert name not in found, f"{name} in {found[name]} and {part}"
                    found[name] = part

    @pytest.fixture
    def database_url(self) -> str:
        """Where the database is."""
        raise NotImplementedError

    @pytest.fixture
    def replica_urls(self) -> Sequence[str]:
        """Where its read replicas are."""
        return ()

    @pytest.fixture
    async def datastore(self, database_url: str, replica_urls: Sequence[str]) -> AsyncIterator[Datastore]:
        """The database, migrated."""
        datastore = await connect(database_url, replica_urls=replica_urls)
        await datastore.migrate()
        yield datastore
        await datastore.close()

    @pytest.fixture
    async def datastore_beside(
        self, datastore: Datastore, database_url: str, replica_urls: Sequence[str]
    ) -> AsyncIterator[Datastore]:
        """The same database as another process sees it."""
        beside = await connect(database_url, replica_urls=replica_urls)
        yield beside
        await beside.close()

    @pytest.fixture
    async def store(self, datastore: Datastore) -> Store:
        """An empty store."""
        return await datastore.create(f"s{secrets.token_hex(6)}")

    @pytest.fixture
    async def beside(self, store: Store, datastore_beside: Datastore) -> Store:
        """The same store as another process sees it."""
        return await datastore_beside.open(store.name)

    @pytest.fixture
    def forget(self, datastore: Datastore) -> Callable[[Store], Awaitable[Revision]]:
        """Collects all that can be collected, as if the window had passed; returns a store's oldest revision."""

        async def forget(store: Store) -> Revision:
            await datastore.collect(Instant(0))
            return await store.oldest()

        return forget


class SharedStoreContract(StoreContract, stores.TwoProcesses):
    """The contract of a database that several processes can use."""
