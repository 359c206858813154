"""What every store promises of bulk work: import, export, deletion by filter, counters."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from pdp.errors import (
    AlreadyExists,
    CounterAlreadyRegistered,
    CounterNotRegistered,
    IdempotencyConflict,
    ImportRefused,
    PreconditionFailed,
    QuotaExceeded,
    RevisionInFuture,
    SchemaChanged,
    TooManyToDelete,
)
from pdp.relationships import Relationship, RelationshipFilter, Revision
from pdp.stores import bulk
from pdp.stores.protocol import Datastore, DeleteRequest, Store
from pdp.stores.values import Conflict, ImportResult, Quotas
from tests.notation import relationship
from tests.pdp.store_words import (
    collected,
    create,
    everything,
    in_batches,
    many,
    matching,
    must,
    must_not,
    stored,
    touch,
    write,
)

ANN, BOB = "doc:1#viewer@user:ann", "doc:1#viewer@user:bob"
EXPIRED = f"{ANN}[expiration:1970-01-01T00:00:00.000001Z]"
THREE = tuple(f"doc:{n}#viewer@user:ann" for n in range(3))


async def take(store: Store, *texts: str, conflict: Conflict = Conflict.FAIL) -> ImportResult:
    """Import relationships."""
    return await store.import_relationships(in_batches(many(*texts)), conflict=conflict)


class Imports:
    """Streams of relationships in."""

    @pytest.mark.parametrize("conflict", Conflict)
    async def test_a_stream_is_stored(self, store: Store, conflict: Conflict) -> None:
        odd = relationship(BOB)._replace(caveat_name="c", caveat_context='{"a":"\\t\\\\\\n"}', valid_from=None)
        result = await store.import_relationships(in_batches([*many(*THREE), odd]), conflict=conflict)
        assert result == ImportResult(Revision(1), 1, 4, 0, 0)
        assert sorted(await everything(store)) == sorted([*many(*THREE), odd])
        assert await store.count() == 4
        assert sum(kind.living for kind in await store.kinds()) == 4

    @pytest.mark.parametrize("conflict", Conflict)
    async def test_nothing_takes_no_revision(self, store: Store, conflict: Conflict) -> None:
        assert await take(store, conflict=conflict) == ImportResult(Revision(0))
        assert await store.head() == 0

    async def test_what_is_imported_is_like_what_is_written(self, store: Store) -> None:
        await take(store, *THREE)
        with pytest.raises(AlreadyExists):
            await write(store, create(THREE[0]))
        await write(store, touch(f"{THREE[1]}[office]"))
        assert await store.count() == 3

    @pytest.mark.parametrize("existing", [THREE[0], THREE[2], f"{THREE[1]}[office]"])
    async def test_fail_stores_nothing_over_an_existing_one(self, store: Store, existing: str) -> None:
        await write(store, create(existing))
        with pytest.raises(AlreadyExists) as refused:
            await take(store, *THREE)
        assert str(refused.value.relationship) == str(relationship(existing))
        assert await store.count() == 1
        assert await store.head() == 1
        assert len(await everything(store)) == 1

    async def test_fail_stores_nothing_of_a_stream_that_repeats(self, store: Store) -> None:
        with pytest.raises(AlreadyExists) as refused:
            await take(store, *THREE, THREE[1])
        assert str(refused.value.relationship) == THREE[1]
        assert await store.head() == 0

    async def test_fail_finds_what_comes_again_much_later(self, store: Store) -> None:
        texts = [f"doc:{n}#viewer@user:ann" for n in range(bulk.BATCH + 10)]
        with pytest.raises(AlreadyExists) as refused:
            await take(store, *texts, texts[3])
        assert str(refused.value.relationship) == texts[3]
        assert await stored(store) == []

    async def test_fail_stores_over_an_expired_one(self, store: Store) -> None:
        await write(store, create(EXPIRED))
        assert (await take(store, ANN, BOB)).created == 2
        assert await stored(store) == [ANN, BOB]
        (entry,) = await store.changes(Revision(1), 10)
        assert list(entry.removed) == many(EXPIRED)
        assert await store.count() == 2
        assert sum(kind.living for kind in await store.kinds()) == 2

    async def test_fail_beside_expired_ones_still_fails(self, store: Store) -> None:
        await write(store, create(EXPIRED, BOB))
        with pytest.raises(AlreadyExists) as refused:
            await take(store, ANN, BOB)
        assert str(refused.value.relationship) == BOB
        assert await store.head() == 1

    async def test_skip_leaves_what_is_there(self, store: Store) -> None:
        await write(store, create(f"{THREE[1]}[office]"))
        result = await take(store, *THREE, THREE[0], conflict=Conflict.SKIP)
        assert (result.created, result.changed, result.unchanged) == (2, 0, 2)
        assert sorted(await everything(store)) == sorted(many(THREE[0], f"{THREE[1]}[office]", THREE[2]))

    async def test_skip_replaces_an_expired_one(self, store: Store) -> None:
        await write(store, create(EXPIRED))
        assert (await take(store, ANN, conflict=Conflict.SKIP)).created == 1
        assert await everything(store) == many(ANN)

    async def test_touch_changes_what_differs(self, store: Store) -> None:
        await write(store, create(f"{THREE[1]}[office]", THREE[2]))
        result = await take(store, *THREE, conflict=Conflict.TOUCH)
        assert (result.created, result.changed, result.unchanged) == (1, 1, 1)
        assert sorted(await everything(store)) == sorted(many(*THREE))

    async def test_touch_lets_the_last_of_a_stream_win(self, store: Store) -> None:
        result = await take(store, ANN, f"{ANN}[office]", conflict=Conflict.TOUCH)
        assert (result.created, result.unchanged) == (1, 1)
        assert await everything(store) == many(f"{ANN}[office]")

    @pytest.mark.parametrize("conflict", [Conflict.SKIP, Conflict.TOUCH])
    async def test_doing_it_again_changes_nothing(self, store: Store, conflict: Conflict) -> None:
        await take(store, *THREE, conflict=conflict)
        assert await take(store, *THREE, conflict=conflict) == ImportResult(Revision(1), 0, 0, 0, 3)

    async def test_batches_are_revisions_where_a_conflict_is_none(self, store: Store) -> None:
        texts = [f"doc:{n}#viewer@user:ann" for n in range(bulk.BATCH * 2 + 5)]
        result = await take(store, *texts, conflict=Conflict.TOUCH)
        assert (result.revisions, result.revision, result.created) == (3, 3, len(texts))
        assert len(await stored(store, Revision(1))) == bulk.BATCH

    async def test_a_whole_stream_is_one_revision(self, store: Store) -> None:
        texts = [f"doc:{n}#viewer@user:ann" for n in range(bulk.BATCH * 2 + 5)]
        assert await take(store, *texts) == ImportResult(Revision(1), 1, len(texts))
        assert await stored(store, Revision(0)) == []

    async def test_metadata_and_progress_are_told(self, store: Store) -> None:
        seen: list[int] = []
        texts = [f"doc:{n}#viewer@user:ann" for n in range(bulk.BATCH + 5)]
        await store.import_relationships(in_batches(many(*texts)), metadata={"from": "file"}, progress=seen.append)
        assert (await store.changes(Revision(0), 1))[0].metadata == {"from": "file"}
        assert seen == [bulk.BATCH, bulk.BATCH + 5]

    @pytest.mark.parametrize("conflict", Conflict)
    async def test_an_import_of_an_old_schema_is_refused(self, store: Store, conflict: Conflict) -> None:
        await store.write_schema("a", expected=None)
        with pytest.raises(SchemaChanged):
            await store.import_relationships(in_batches(many(*THREE)), conflict=conflict, schema_seen=Revision(0))
        assert await store.count() == 0

    @pytest.mark.parametrize("conflict", Conflict)
    async def test_the_quota_is_kept(self, datastore: Datastore, store: Store, conflict: Conflict) -> None:
        await datastore.set_quotas(store.name, Quotas(relationships_max=2))
        with pytest.raises(QuotaExceeded):
            await take(store, *THREE, conflict=conflict)
        assert await store.count() == 0
        assert (await take(store, *THREE[:2], conflict=conflict)).created == 2

    async def test_a_stream_that_breaks_stores_nothing(self, store: Store) -> None:
        async def broken() -> AsyncIterator[list[Relationship]]:
            yield many(*THREE)
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await store.import_relationships(broken())
        assert await store.head() == 0

    async def test_a_stream_that_breaks_under_the_lock_stores_nothing(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk, "SPOOLED_MAX", 1)
        texts = [f"doc:{n}#viewer@user:ann" for n in range(2 * bulk.BATCH)]

        async def broken() -> AsyncIterator[list[Relationship]]:
            yield many(*texts)
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await store.import_relationships(broken())
        assert await stored(store) == []
        assert await write(store, create(ANN)) == 1

    async def test_a_stream_that_pauses_under_the_lock_is_refused(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk, "SPOOLED_MAX", 1)
        monkeypatch.setattr(bulk, "PAUSE_SECONDS_MAX", 0.05)
        texts = [f"doc:{n}#viewer@user:ann" for n in range(2 * bulk.BATCH)]

        async def paused() -> AsyncIterator[list[Relationship]]:
            yield many(*texts)
            await asyncio.Event().wait()

        with pytest.raises(ImportRefused, match="paused"):
            await store.import_relationships(paused())
        assert await write(store, create(ANN)) == 1
        assert await store.count() == 1

    async def test_a_stream_that_waits_holds_up_nobody(self, store: Store) -> None:
        go_on = asyncio.Event()

        async def slow() -> AsyncIterator[list[Relationship]]:
            yield many(*THREE)
            await go_on.wait()
            yield many(BOB)

        importing = asyncio.create_task(store.import_relationships(slow()))
        await asyncio.sleep(0)
        assert await write(store, create(ANN.replace("doc", "folder"))) == 1
        go_on.set()
        assert (await importing).revision == 2

    async def test_more_than_one_revision_can_bring_is_refused(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk, "WHOLE_MAX", 2)
        with pytest.raises(ImportRefused, match="more than 2"):
            await take(store, *THREE)
        assert await store.head() == 0


class Exports:
    """Streams of relationships out."""

    async def test_everything_comes_out(self, store: Store) -> None:
        texts = [f"doc:{n}#viewer@user:ann[office]" for n in range(57)]
        at = await write(store, create(*texts))
        assert sorted(await collected(store.export(at, batch=10))) == sorted(many(*texts))

    async def test_expired_ones_too(self, store: Store) -> None:
        at = await write(store, create(EXPIRED))
        assert await collected(store.export(at)) == many(EXPIRED)

    async def test_of_a_snapshot(self, store: Store) -> None:
        at = await write(store, create(ANN, BOB))
        await store.delete(DeleteRequest(matching("doc")))
        assert len(await collected(store.export(at))) == 2
        assert await collected(store.export(await store.head())) == []

    async def test_by_filter(self, store: Store) -> None:
        at = await write(store, create(ANN, BOB, "folder:1#viewer@user:ann"))
        found = await collected(store.export(at, filter_=matching("", None, "user:ann"), batch=1))
        assert sorted(map(str, found)) == [ANN, "folder:1#viewer@user:ann"]

    async def test_it_resumes_behind_any_of_them(self, store: Store) -> None:
        at = await write(store, create(*(f"doc:{n}#viewer@user:u{n}" for n in range(40))))
        whole = await collected(store.export(at))
        for n in (0, 7, 38, 39):
            assert await collected(store.export(at, after=whole[n], batch=5)) == whole[n + 1 :]

    async def test_types_come_together(self, store: Store) -> None:
        at = await write(
            store, create(*(f"{type_}:{n}#viewer@user:u" for n in range(20) for type_ in ("doc", "folder", "team")))
        )
        types = [one.resource_type for one in await collected(store.export(at, batch=7))]
        assert sum(one != other for one, other in pairwise(types)) == 2

    async def test_an_export_of_the_future_is_refused(self, store: Store) -> None:
        with pytest.raises(RevisionInFuture):
            await collected(store.export(Revision(1)))

    async def test_out_and_in_again_is_the_same(self, store: Store, datastore: Datastore) -> None:
        at = await write(store, create(ANN, f"{BOB}[office]", EXPIRED.replace("ann", "exp")))
        other = await datastore.create(f"{store.name}-copy")
        await other.import_relationships(store.export(at))
        assert sorted(await everything(other)) == sorted(await everything(store))


class Deletions:
    """Deletion by filter."""

    async def test_all_that_match_go(self, store: Store) -> None:
        await write(store, create(ANN, BOB, "doc:2#viewer@user:ann", "folder:1#viewer@user:ann"))
        result = await store.delete(DeleteRequest(matching("doc", None, "user:ann")))
        assert (result.revision, result.deleted, result.complete) == (2, 2, True)
        assert await stored(store) == [BOB, "folder:1#viewer@user:ann"]

    async def test_nothing_that_matches_is_a_revision_too(self, store: Store) -> None:
        result = await store.delete(DeleteRequest(matching("doc")))
        assert (result.revision, result.deleted, result.complete) == (1, 0, True)

    async def test_expired_ones_count(self, store: Store) -> None:
        await write(store, create(EXPIRED))
        assert (await store.delete(DeleteRequest(matching("doc")))).deleted == 1

    @pytest.mark.parametrize(
        ("limit", "partial", "deleted", "complete"),
        [
            pytest.param(None, False, 3, True, id="no limit"),
            pytest.param(4, False, 3, True, id="fewer than the limit"),
            pytest.param(3, False, 3, False, id="exactly the limit"),
            pytest.param(3, True, 3, False, id="exactly the limit, partial"),
            pytest.param(2, True, 2, False, id="more than the limit, partial"),
            pytest.param(4, True, 3, True, id="fewer than the limit, partial"),
        ],
    )
    async def test_limit(self, store: Store, limit: int | None, partial: bool, deleted: int, complete: bool) -> None:
        await write(store, create(*THREE))
        result = await store.delete(DeleteRequest(matching("doc"), limit=limit, partial=partial))
        assert (result.deleted, result.complete) == (deleted, complete)
        assert await store.count() == 3 - deleted

    async def test_more_than_the_limit_are_refused(self, store: Store) -> None:
        await write(store, create(*THREE))
        with pytest.raises(TooManyToDelete) as refused:
            await store.delete(DeleteRequest(matching("doc"), limit=2))
        assert (refused.value.limit, refused.value.filter) == (2, matching("doc"))
        assert await store.count() == 3
        assert await store.head() == 1

    async def test_a_caller_may_loop(self, store: Store) -> None:
        await write(store, create(*(f"doc:{n}#viewer@user:ann" for n in range(25))))
        request = DeleteRequest(matching("doc"), limit=10, partial=True)
        results = [await store.delete(request) for _ in range(3)]
        assert [(result.deleted, result.complete) for result in results] == [(10, False), (10, False), (5, True)]

    async def test_preconditions_are_judged(self, store: Store) -> None:
        await write(store, create(*THREE))
        with pytest.raises(PreconditionFailed):
            await store.delete(DeleteRequest(matching("doc"), [must_not(matching("doc:1"))]))
        assert (await store.delete(DeleteRequest(matching("doc"), [must(matching("doc:1"))]))).deleted == 3

    async def test_a_deletion_of_an_old_schema_is_refused(self, store: Store) -> None:
        await store.write_schema("a", expected=None)
        with pytest.raises(SchemaChanged):
            await store.delete(DeleteRequest(matching("doc"), schema_seen=Revision(0)))

    async def test_a_key_makes_it_once(self, store: Store) -> None:
        await write(store, create(*THREE))
        request = DeleteRequest(matching("doc"), idempotency_key="k")
        first = await store.delete(request)
        await write(store, create(*THREE))
        again = await store.delete(request)
        assert (again.revision, again.deleted, again.complete, again.repeated) == (first.revision, 3, True, True)
        assert await store.count() == 3
        with pytest.raises(IdempotencyConflict):
            await store.delete(DeleteRequest(matching("folder"), idempotency_key="k"))

    async def test_deletions_and_writes_take_turns(self, store: Store) -> None:
        await write(store, create(*THREE))
        results = await asyncio.gather(
            write(store, create("doc:7#viewer@user:ann")),
            store.delete(DeleteRequest(matching("doc"))),
            write(store, create(BOB)),
        )
        assert [getattr(result, "revision", result) for result in results] == [2, 3, 4]
        assert await stored(store) == [BOB]


class Counted:
    """Named filters."""

    async def test_a_counter_counts_what_matches(self, store: Store) -> None:
        await store.register_counter("docs", matching("doc", None, "user#"))
        await write(store, create(ANN, BOB, EXPIRED.replace("ann", "exp"), "folder:1#viewer@user:ann"))
        assert await store.count_counter("docs") == (2, Revision(1))

    async def test_its_filter_is_kept(self, store: Store) -> None:
        filter_ = RelationshipFilter("doc", ("1", "2"), None, "viewer", matching("", None, "user:ann#").subject)
        await store.register_counter("c", filter_)
        assert await store.counter("c") == filter_

    async def test_a_name_is_registered_once(self, store: Store) -> None:
        await store.register_counter("docs", matching("doc"))
        with pytest.raises(CounterAlreadyRegistered) as refused:
            await store.register_counter("docs", matching("folder"))
        assert (refused.value.name, refused.value.filter) == ("docs", matching("folder"))
        assert await store.counter("docs") == matching("doc")

    async def test_what_is_not_registered_is_refused(self, store: Store) -> None:
        for call in (store.counter, store.count_counter, store.unregister_counter):
            with pytest.raises(CounterNotRegistered, match="`docs`"):
                await call("docs")

    async def test_it_can_be_unregistered(self, store: Store) -> None:
        await store.register_counter("docs", matching("doc"))
        await store.unregister_counter("docs")
        with pytest.raises(CounterNotRegistered):
            await store.count_counter("docs")
        await store.register_counter("docs", matching("folder"))

    async def test_it_belongs_to_its_store(self, store: Store, datastore: Datastore) -> None:
        await store.register_counter("docs", matching("doc"))
        other = await datastore.create(f"{store.name}-other")
        with pytest.raises(CounterNotRegistered):
            await other.counter("docs")
