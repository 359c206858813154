"""What every datastore promises of its stores: names, facts, deletion, recovery; and that nothing leaks across."""

import asyncio
import secrets

import pytest

from pdp.errors import RevisionExpired, StoreExists, StoreNotFound
from pdp.relationships import Instant, RelationshipFilter, Revision
from pdp.stores.protocol import Datastore, DeleteRequest, Store, WriteRequest
from pdp.stores.values import Quotas, StoreInfo
from tests.pdp.store_words import (
    create,
    ids,
    matching,
    must,
    must_not,
    read_all,
    resources_of,
    stored,
    subjects_of,
    write,
)

ANN = "doc:1#viewer@user:ann"


class Stores:
    """Making, finding and taking away."""

    async def test_what_was_never_made_is_not_there(self, datastore: Datastore) -> None:
        for call in (datastore.open, datastore.info, datastore.delete):
            with pytest.raises(StoreNotFound, match="`nowhere`"):
                await call("nowhere")
        with pytest.raises(StoreNotFound):
            await datastore.set_quotas("nowhere", Quotas())

    async def test_making_it_again_opens_it(self, datastore: Datastore, store: Store) -> None:
        await write(store, create(ANN))
        again = await datastore.create(store.name, Quotas(relationships_max=1))
        assert await again.head() == 1
        assert (await datastore.info(store.name)).quotas == Quotas()

    async def test_many_make_it_at_once(self, datastore: Datastore) -> None:
        name = f"s{secrets.token_hex(4)}"
        made = await asyncio.gather(*(datastore.create(name) for _ in range(5)))
        assert len({one.timeline for one in made}) == 1

    async def test_each_has_keys_of_its_own(self, datastore: Datastore, store: Store) -> None:
        other = await datastore.create(f"{store.name}-other")
        assert store.zookie_key != other.zookie_key
        assert len(store.zookie_key) == 32
        assert store.timeline != other.timeline

    async def test_it_is_the_same_from_another_process(self, store: Store, beside: Store) -> None:
        assert (store.name, store.timeline, store.zookie_key) == (beside.name, beside.timeline, beside.zookie_key)

    async def test_names_are_sorted_by_bytes(self, datastore: Datastore, store: Store) -> None:
        made = [f"{store.name}{suffix}" for suffix in ("b", "a", "B", "_", "ab")]
        for name in made:
            await datastore.create(name)
        found = [name async for name in datastore.names() if name.startswith(store.name)]
        assert found == sorted([store.name, *made])

    async def test_facts(self, datastore: Datastore) -> None:
        name = f"s{secrets.token_hex(4)}"
        before = await _now(datastore)
        store = await datastore.create(name, Quotas(100, 50))
        await write(store, create(ANN))
        info = await datastore.info(name)
        assert (info.name, info.timeline, info.revision, info.oldest) == (name, store.timeline, 1, 0)
        assert (info.relationships, info.quotas, info.deleted_at) == (1, Quotas(100, 50), None)
        assert before <= info.created_at <= await store.now()
        assert [one async for one in datastore.infos() if one.name == name] == [info]

    async def test_a_deleted_one_is_gone(self, datastore: Datastore, store: Store, beside: Store) -> None:
        await write(store, create(ANN))
        info = await datastore.delete(store.name)
        assert info.deleted_at is not None
        with pytest.raises(StoreNotFound):
            await datastore.open(store.name)
        assert store.name not in [name async for name in datastore.names()]
        for call in (
            beside.head(),
            beside.fetch(Revision(1), [subjects_of("doc:1", "viewer")]),
            beside.read(Revision(1), matching("doc"), instant=None, limit=1),
            beside.changes(Revision(0), 1),
            beside.write_schema("a", expected=None),
        ):
            with pytest.raises(StoreNotFound):
                await call

    async def test_its_name_is_free_at_once(self, datastore: Datastore, store: Store) -> None:
        await write(store, create(ANN))
        await datastore.delete(store.name)
        again = await datastore.create(store.name)
        assert await again.head() == 0
        assert await stored(again) == []
        assert again.timeline != store.timeline

    async def test_it_can_be_recovered(self, datastore: Datastore, store: Store) -> None:
        await write(store, create(ANN))
        info = await datastore.delete(store.name)
        assert info.store_id in [one.store_id async for one in datastore.infos(deleted=True)]
        again = await datastore.recover(info.store_id)
        assert await stored(again) == [ANN]
        assert again.timeline == store.timeline
        assert info.store_id not in [one.store_id async for one in datastore.infos(deleted=True)]

    async def test_recovery_does_not_take_a_name_away(self, datastore: Datastore, store: Store) -> None:
        info = await datastore.delete(store.name)
        await datastore.create(store.name)
        with pytest.raises(StoreExists, match=f"`{store.name}`"):
            await datastore.recover(info.store_id)

    @pytest.mark.parametrize("which", ["living", "never"])
    async def test_only_a_deleted_one_can_be_recovered(self, datastore: Datastore, store: Store, which: str) -> None:
        store_id = (await datastore.info(store.name)).store_id if which == "living" else 1
        with pytest.raises(StoreNotFound):
            await datastore.recover(store_id)

    async def test_past_the_window_it_is_gone_for_good(self, datastore: Datastore, store: Store) -> None:
        await write(store, create(*(f"doc:{n}#viewer@user:ann" for n in range(20))))
        info = await datastore.delete(store.name)
        await datastore.collect()
        assert info.store_id in [one.store_id async for one in datastore.infos(deleted=True)]
        removed = await datastore.collect(Instant(-1_000_000))
        assert removed.stores >= 1
        assert removed.relationships >= 20
        with pytest.raises(StoreNotFound):
            await datastore.recover(info.store_id)


class TwoProcesses:
    """What only shows where two processes are."""

    async def test_a_deleted_one_takes_no_writes(self, datastore: Datastore, store: Store, beside: Store) -> None:
        await datastore.delete(store.name)
        with pytest.raises(StoreNotFound):
            await write(beside, create(ANN))
        with pytest.raises(StoreNotFound):
            await beside.delete(DeleteRequest(matching("doc")))

    async def test_a_second_collection_at_a_time_does_nothing(
        self, datastore: Datastore, datastore_beside: Datastore, store: Store
    ) -> None:
        for n in range(3):
            texts = [f"doc:{n}{m}#viewer@user:ann" for m in range(900)]
            await write(store, create(*texts))
            await store.delete(DeleteRequest(RelationshipFilter("doc")))
        one, other = await asyncio.gather(datastore.collect(Instant(0)), datastore_beside.collect(Instant(0)))
        assert sorted([one.relationships > 0, other.relationships > 0]) == [False, True]


class Apart:
    """Two stores with the same relationships know nothing of each other."""

    @pytest.fixture
    async def other(self, datastore: Datastore, store: Store) -> Store:
        """Another store of the same database."""
        return await datastore.create(f"{store.name}-other")

    async def test_reads(self, store: Store, other: Store) -> None:
        await write(store, create(ANN))
        await write(other, create(ANN.replace("ann", "bob")))
        reads = (subjects_of("doc:1", "viewer"), resources_of("user:ann", "doc", "viewer"))
        assert await ids(store, *reads) == [["ann"], ["1"]]
        assert await ids(other, *reads) == [["bob"], []]
        assert await read_all(other, RelationshipFilter()) == ["doc:1#viewer@user:bob"]
        assert await stored(other) == ["doc:1#viewer@user:bob"]

    async def test_writes(self, store: Store, other: Store) -> None:
        await write(store, create(ANN))
        await write(other, create(ANN), must_not(matching("doc")))
        await store.delete(DeleteRequest(matching("doc")))
        assert await stored(other) == [ANN]
        await write(other, [], must(matching("doc")))

    async def test_revisions_and_changes(self, store: Store, other: Store) -> None:
        for _ in range(3):
            await write(store, [])
        assert await write(other, create(ANN)) == 1
        assert [entry.revision for entry in await other.changes(Revision(0), 10)] == [1]

    async def test_schemas(self, store: Store, other: Store) -> None:
        await store.write_schema("a", expected=None)
        assert await other.schema(Revision(1)) is None
        await other.write_schema("b", expected=None)
        found = await store.schema(Revision(1))
        assert found is not None
        assert found.text == "a"

    async def test_idempotency_keys(self, store: Store, other: Store) -> None:
        request = WriteRequest(create(ANN), idempotency_key="k")
        await store.write(request)
        assert not (await other.write(request)).repeated

    async def test_counts_and_kinds(self, store: Store, other: Store) -> None:
        await write(store, create(ANN))
        assert (await other.count(), list(await other.kinds())) == (0, [])

    async def test_windows(self, datastore: Datastore, store: Store, other: Store) -> None:
        await write(store, create(ANN))
        await write(store, [])
        await datastore.collect(Instant(0))
        assert await other.oldest() == 0
        with pytest.raises(RevisionExpired):
            await store.changes(Revision(0), 1)
        assert await other.changes(Revision(0), 1) == []


async def _now(datastore: Datastore) -> Instant:
    infos: list[StoreInfo] = [one async for one in datastore.infos()]
    store = await datastore.create(infos[0].name if infos else "clock")
    return await store.now()
