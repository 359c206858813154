"""The store's contract over Postgres with a streaming replica, and what a replica may answer."""

import asyncio
import secrets
from collections.abc import Iterator, Sequence

import pytest

from pdp.errors import RevisionInFuture
from pdp.relationships import Revision
from pdp.stores.connect import connect
from pdp.stores.datastore import SqlDatastore
from pdp.stores.postgres import PostgresDatabase
from pdp.stores.protocol import Datastore, Store
from tests.pdp.replicated import Replica, running_pair
from tests.pdp.store_contract import SharedStoreContract
from tests.pdp.store_words import create, delete, everything, ids, read_all, stored, subjects_of, write
from tests.pdp.store_words import matching as select
from tests.servers import Postgres

ANN, BOB = "doc:1#viewer@user:ann", "doc:1#viewer@user:bob"
VIEWERS = subjects_of("doc:1", "viewer")


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Postgres, Replica]]:
    """A primary and its replica."""
    with running_pair() as pair:
        yield pair


@pytest.fixture(scope="module")
def database(pair: tuple[Postgres, Replica]) -> str:
    """The name of one database for all tests."""
    name = f"test_{secrets.token_hex(6)}"
    pair[0].execute(f"CREATE DATABASE {name}")
    return name


class TestPostgresWithReplica(SharedStoreContract):
    """Reads at a revision go to the replica as far as it has come."""

    @pytest.fixture
    def database_url(self, pair: tuple[Postgres, Replica], database: str) -> str:
        """Where the primary is."""
        return pair[0].url(database)

    @pytest.fixture
    def replica_urls(self, pair: tuple[Postgres, Replica], database: str) -> Sequence[str]:
        """Where the replica is."""
        return (pair[1].url(database),)

    @pytest.fixture
    def replica(self, pair: tuple[Postgres, Replica]) -> Iterator[Replica]:
        """The replica, which goes on after the test."""
        yield pair[1]
        pair[1].go_on()

    async def test_a_replica_answers_for_what_it_has_replayed(self, datastore: Datastore, store: Store) -> None:
        at = await write(store, create(ANN))
        counts = _database(datastore)
        async with asyncio.timeout(20):
            while not counts.answered_by_replicas:
                assert await ids(store, VIEWERS, at=at) == [["ann"]]
        answered = counts.answered_by_replicas
        assert await stored(store, at) == [ANN]
        assert await read_all(store, select("doc"), at=at) == [ANN]
        assert await store.count_matching(at, select("doc"), None) == 1
        assert counts.answered_by_replicas >= answered + 3

    async def test_a_replica_that_is_behind_is_passed_over(
        self, datastore: Datastore, store: Store, replica: Replica
    ) -> None:
        """However far behind: what was acknowledged is read, from the primary."""
        counts = _database(datastore)
        await write(store, create(ANN))
        replica.hold()
        for n in range(5):
            at = await write(store, create(f"doc:1#viewer@user:u{n}"))
            behind = counts.replicas_behind
            assert f"u{n}" in (await ids(store, VIEWERS, at=at))[0]
            assert len(await everything(store, at)) == n + 2
            assert counts.replicas_behind > behind
        at = await write(store, delete(ANN))
        assert "ann" not in (await ids(store, VIEWERS, at=at))[0]

    async def test_the_newest_revision_is_never_a_replicas(self, store: Store, replica: Replica) -> None:
        replica.hold()
        for n in range(5):
            assert await write(store, create(f"doc:{n}#viewer@user:ann")) == await store.head()
        assert len(await store.changes(Revision(0), 10)) == 5

    async def test_a_store_that_the_replica_does_not_know_yet(self, datastore: Datastore, replica: Replica) -> None:
        replica.hold()
        store = await datastore.create(f"s{secrets.token_hex(6)}")
        at = await write(store, create(ANN))
        assert await ids(store, VIEWERS, at=at) == [["ann"]]

    async def test_an_older_snapshot_of_a_replica_is_the_same(
        self, store: Store, replica: Replica, datastore: Datastore
    ) -> None:
        first = await write(store, create(ANN))
        async with asyncio.timeout(20):
            while not _database(datastore).answered_by_replicas:
                await ids(store, VIEWERS, at=first)
        replica.hold()
        await write(store, [*delete(ANN), *create(BOB)])
        answered = _database(datastore).answered_by_replicas
        assert await ids(store, VIEWERS, at=first) == [["ann"]]
        assert _database(datastore).answered_by_replicas == answered + 1
        assert await ids(store, VIEWERS) == [["bob"]]

    async def test_the_future_is_refused_whoever_is_asked(self, store: Store) -> None:
        await write(store, create(ANN))
        with pytest.raises(RevisionInFuture):
            await store.fetch(Revision(2), [VIEWERS])

    async def test_a_replica_that_is_gone_is_passed_over(self, database_url: str, store: Store) -> None:
        at = await write(store, create(ANN))
        datastore = await connect(database_url, replica_urls=["postgresql://tessera@127.0.0.1:1/none"])
        other = await datastore.open(store.name)
        for _ in range(3):
            assert await ids(other, VIEWERS, at=at) == [["ann"]]
        await datastore.close()


def _database(datastore: Datastore) -> PostgresDatabase:
    assert isinstance(datastore, SqlDatastore)
    assert isinstance(datastore.database, PostgresDatabase)
    return datastore.database
