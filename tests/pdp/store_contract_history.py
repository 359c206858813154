"""What every store promises of its history: changelog, times, watching, collection."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest

from pdp.errors import RevisionExpired, RevisionInFuture, WatchTooSlow
from pdp.relationships import Instant, Operation, Relationship, Revision, Update
from pdp.stores.protocol import Datastore, DeleteRequest, Store, Transaction, WriteRequest
from pdp.stores.values import WatchEvent, WatchRequest
from pdp.stores.watch import BUFFERED_MAX
from tests.notation import relationship
from tests.pdp.store_words import (
    changed,
    create,
    delete,
    everything,
    in_batches,
    many,
    matching,
    stored,
    touch,
    write,
)

ANN, BOB = "doc:1#viewer@user:ann", "doc:1#viewer@user:bob"
CAVEATED = f"{ANN}[office]"


async def entries(store: Store, after: int = 0) -> list[Transaction]:
    """All changelog entries after a revision."""
    found: list[Transaction] = []
    while more := await store.changes(Revision(found[-1].revision if found else after), 3):
        found += more
    return found


class Changelogs:
    """Every revision says what it changed."""

    @pytest.mark.parametrize(
        ("before", "updates", "added", "removed"),
        [
            pytest.param([], create(ANN), [ANN], [], id="create"),
            pytest.param([ANN], delete(ANN), [], [ANN], id="delete"),
            pytest.param([ANN], touch(CAVEATED), [CAVEATED], [ANN], id="change"),
            pytest.param([CAVEATED], delete(ANN), [], [CAVEATED], id="a deletion tells what was stored"),
            pytest.param([ANN], touch(ANN), [], [], id="the same"),
            pytest.param([], delete(ANN), [], [], id="deletion of nothing"),
            pytest.param([], [], [], [], id="nothing"),
        ],
    )
    async def test_entry(
        self, store: Store, before: list[str], updates: list[Update], added: list[str], removed: list[str]
    ) -> None:
        await write(store, touch(*before))
        await write(store, updates)
        entry = (await store.changes(Revision(1), 10))[0]
        assert (list(entry.added), list(entry.removed)) == (many(*added), many(*removed))
        assert not entry.schema_changed

    async def test_entries_come_in_order_without_gaps(self, store: Store) -> None:
        await asyncio.gather(*(write(store, create(f"doc:{n}#viewer@user:ann")) for n in range(30)))
        assert [entry.revision for entry in await entries(store)] == list(range(1, 31))

    async def test_at_the_end_there_are_none(self, store: Store) -> None:
        assert await store.changes(Revision(0), 10) == []
        assert await store.changes(await write(store, create(ANN)), 10) == []

    async def test_updates_keep_the_requests_order(self, store: Store) -> None:
        await write(store, create(ANN))
        await write(store, [*create("doc:9#viewer@user:x"), *delete(ANN), *touch(BOB, "doc:0#viewer@user:y")])
        told = [(update.operation.name, str(update.relationship)) for update in (await entries(store, 1))[0].updates]
        assert told == [
            ("TOUCH", "doc:9#viewer@user:x"),
            ("DELETE", ANN),
            ("TOUCH", BOB),
            ("TOUCH", "doc:0#viewer@user:y"),
        ]

    async def test_metadata_are_kept(self, store: Store) -> None:
        metadata = {"who": "ann", "nested": {"list": [1, 2.5, None, True, "é"]}}
        await store.write(WriteRequest(create(ANN), metadata=metadata))
        await store.delete(DeleteRequest(matching("doc"), metadata={"why": "gone"}))
        assert [entry.metadata for entry in await entries(store)] == [metadata, {"why": "gone"}]

    async def test_a_schema_is_an_entry(self, store: Store) -> None:
        await store.write_schema("a", expected=None)
        await write(store, create(ANN))
        assert [entry.schema_changed for entry in await entries(store)] == [True, False]

    async def test_replaying_it_gives_every_snapshot(self, store: Store) -> None:
        texts = [f"doc:{n % 7}#viewer@user:u{n % 5}" for n in range(60)]
        for n, text in enumerate(texts):
            await write(store, delete(text) if n % 3 == 2 else touch(text + "[office]" * (n % 2)))
        replayed: set[Relationship] = set()
        for entry in await entries(store):
            replayed -= set(entry.removed)
            replayed |= set(entry.added)
            assert sorted(replayed) == sorted(await everything(store, entry.revision))

    async def test_a_large_entry_is_decoded_as_it_is_read(self, store: Store) -> None:
        texts = [f"doc:{n}#viewer@user:ann" for n in range(25_000)]
        await store.import_relationships(in_batches(many(*texts), 5_000))
        (entry,) = await store.changes(Revision(0), 10)
        assert (len(entry.added), len(entry.removed), len(entry.updates)) == (25_000, 0, 25_000)
        assert sorted(map(str, entry.added)) == sorted(texts)
        assert str(entry.added[0]) == texts[0]
        assert str(entry.added[-1]) == texts[-1]
        assert entry.updates[0].operation is Operation.TOUCH
        with pytest.raises(IndexError):
            entry.added[25_000]

    async def test_a_large_deletion_is_an_entry_too(self, store: Store) -> None:
        texts = [f"doc:{n}#viewer@user:ann" for n in range(25_000)]
        await store.import_relationships(in_batches(many(*texts), 5_000))
        assert (await store.delete(DeleteRequest(matching("doc")))).deleted == 25_000
        (entry,) = await store.changes(Revision(1), 10)
        assert (len(entry.added), sorted(map(str, entry.removed))) == (0, sorted(texts))
        assert list(await store.kinds()) == []
        assert await store.count() == 0
        assert len(await everything(store, Revision(1))) == 25_000


class Times:
    """Which revision was current when."""

    async def test_a_time_is_the_revision_then_current(self, store: Store) -> None:
        for n in range(5):
            await write(store, create(f"doc:{n}#viewer@user:ann"))
        for entry in await entries(store):
            assert await store.revision_at(entry.committed_at) >= entry.revision
            assert await store.revision_at(Instant(entry.committed_at - 1)) < entry.revision
        assert await store.revision_at(await store.now()) == 5

    async def test_before_the_first_write_it_is_zero(self, store: Store) -> None:
        await write(store, create(ANN))
        assert await store.revision_at(Instant(0)) == 0

    async def test_times_never_run_backwards(self, store: Store, beside: Store) -> None:
        await asyncio.gather(
            *(write(one, touch(f"doc:{n}#viewer@user:ann")) for n in range(20) for one in (store, beside))
        )
        times = [entry.committed_at for entry in await entries(store)]
        assert times == sorted(times)

    async def test_a_time_to_come_is_refused(self, store: Store) -> None:
        with pytest.raises(RevisionInFuture):
            await store.revision_at(Instant(await store.now() + 60_000_000))

    async def test_a_time_that_is_forgotten_is_refused(self, store: Store, forget: Callable[..., object]) -> None:
        await write(store, create(ANN))
        await write(store, create(BOB))
        first = (await entries(store))[0].committed_at
        await forget(store)  # type: ignore[misc]
        with pytest.raises(RevisionExpired):
            await store.revision_at(Instant(first - 1))
        assert await store.revision_at(await store.now()) == 2


async def events(store: Store, after: int, until: int, request: WatchRequest | None = None) -> list[WatchEvent]:
    """Events of a watch, until one that is complete through a revision."""
    found: list[WatchEvent] = []
    async with asyncio.timeout(20), aclosing(store.watch(Revision(after), request or WatchRequest())) as watching:  # type: ignore[type-var]
        async for event in watching:
            found.append(event)
            if event.revision >= until:
                return found
    raise AssertionError("a watch ended by itself")


class Watches:
    """Events as they happen, and as they happened."""

    async def test_it_tells_what_was_and_what_comes(self, store: Store) -> None:
        await write(store, create(ANN))
        watching = asyncio.create_task(events(store, 0, 3))
        await asyncio.sleep(0.05)
        await write(store, create(BOB))
        await write(store, delete(ANN))
        told = [[(u.operation.name, str(u.relationship)) for u in event.updates] for event in await watching]
        assert told == [[("TOUCH", ANN)], [("TOUCH", BOB)], [("DELETE", ANN)]]

    async def test_it_resumes_strictly_after(self, store: Store) -> None:
        for n in range(6):
            await write(store, create(f"doc:{n}#viewer@user:ann"))
        assert [event.revision for event in await events(store, 3, 6)] == [4, 5, 6]

    async def test_it_sees_other_processes_writes(self, store: Store, beside: Store) -> None:
        watching = asyncio.create_task(events(store, 0, 2))
        await asyncio.sleep(0.05)
        await write(beside, create(ANN))
        await write(beside, create(BOB))
        assert [event.revision for event in await watching] == [1, 2]

    async def test_nothing_that_changed_nothing_is_told(self, store: Store) -> None:
        for updates in (create(ANN), touch(ANN), delete(BOB), [], create(BOB)):
            await write(store, updates)
        assert [event.revision for event in await events(store, 0, 5)] == [1, 5]

    async def test_types(self, store: Store) -> None:
        await write(store, create(ANN, "folder:1#viewer@user:ann"))
        await write(store, create("group:g#member@user:ann"))
        await write(store, create("folder:2#viewer@user:ann"))
        request = WatchRequest(resource_types=frozenset({"folder"}))
        told = [str(u.relationship) for e in await events(store, 0, 3, request) for u in e.updates]
        assert told == ["folder:1#viewer@user:ann", "folder:2#viewer@user:ann"]

    async def test_filters(self, store: Store) -> None:
        await write(store, create(ANN, BOB, "doc:2#editor@user:ann"))
        await write(store, delete(BOB))
        request = WatchRequest(filters=(matching("doc:1", None, "user:bob"), matching("", "editor")))
        told = [[str(u.relationship) for u in e.updates] for e in await events(store, 0, 2, request)]
        assert told == [[BOB, "doc:2#editor@user:ann"], [BOB]]

    async def test_metadata_come_along(self, store: Store) -> None:
        await store.write(WriteRequest(create(ANN), metadata={"who": "ann"}))
        assert (await events(store, 0, 1))[0].metadata == {"who": "ann"}

    async def test_schemas_are_told_to_who_asks(self, store: Store) -> None:
        await store.write_schema("a", expected=None)
        await write(store, create(ANN))
        assert [e.revision for e in await events(store, 0, 2)] == [2]
        told = await events(store, 0, 2, WatchRequest(schema=True))
        assert [(e.revision, e.schema_changed, len(e.updates)) for e in told] == [(1, True, 0), (2, False, 1)]

    async def test_checkpoints_are_told_to_who_asks(self, store: Store) -> None:
        await write(store, create("folder:1#viewer@user:ann"))
        await write(store, create(ANN))
        await write(store, create("folder:2#viewer@user:ann"))
        request = WatchRequest(resource_types=frozenset({"doc"}), checkpoints=True)
        told = await events(store, 0, 3, request)
        assert [e.revision for e in told if e.updates] == [2]
        assert told[-1].revision == 3
        assert told[-1].is_checkpoint
        assert not told[-1].updates

    async def test_times_are_told_to_who_asks(self, store: Store) -> None:
        now = await store.now()
        soon = Instant(now + 200_000)
        at = await write(
            store,
            [
                Update(Operation.CREATE, relationship(ANN)._replace(expires_at=soon)),
                Update(Operation.CREATE, relationship(BOB)._replace(valid_from=soon)),
                Update(Operation.CREATE, relationship("folder:1#viewer@user:ann")._replace(expires_at=soon)),
            ],
        )
        expired: list[str] = []
        begun: list[str] = []
        request = WatchRequest(resource_types=frozenset({"doc"}), times=True)
        async with asyncio.timeout(20), aclosing(store.watch(at, request)) as watching:  # type: ignore[type-var]
            async for event in watching:
                assert event.instant >= soon
                expired += map(str, event.expired)
                begun += map(str, event.begun)
                if expired and begun:
                    break
        assert (expired, begun) == ([ANN], [BOB])

    async def test_a_watch_of_the_future_is_refused(self, store: Store) -> None:
        with pytest.raises(RevisionInFuture):
            await events(store, 1, 1)

    async def test_a_watch_of_what_is_forgotten_is_refused(self, store: Store, forget: Callable[..., object]) -> None:
        await write(store, create(ANN))
        await write(store, create(BOB))
        await forget(store)  # type: ignore[misc]
        with pytest.raises(RevisionExpired):
            await events(store, 1, 2)

    async def test_watchers_do_not_disturb_each_other(self, store: Store) -> None:
        watching = [asyncio.create_task(events(store, 0, 40)) for _ in range(5)]
        for n in range(40):
            await write(store, create(f"doc:{n}#viewer@user:ann"))
        told = [[event.revision for event in await each] for each in watching]
        assert told == [list(range(1, 41))] * 5

    async def test_a_slow_one_is_told_and_dropped(self, store: Store) -> None:
        watching = store.watch(Revision(0), WatchRequest())
        await write(store, create("doc:0#viewer@user:ann"))
        assert (await anext(watching)).revision == 1
        following = asyncio.create_task(_next(watching))
        await asyncio.sleep(0.1)  # it has read its way up and follows the end from now on
        await write(store, create("doc:1#viewer@user:ann"))
        assert (await following).revision == 2
        for start in range(0, BUFFERED_MAX + 200, 200):
            texts = (f"doc:{n}#viewer@user:bob" for n in range(start, start + 200))
            await asyncio.gather(*(write(store, create(text)) for text in texts))
        with pytest.raises(WatchTooSlow):
            await asyncio.wait_for(_to_its_end(watching), 20)

    async def test_a_watcher_and_a_reader_agree(self, store: Store, beside: Store) -> None:
        """Applying the events to what was read at the start gives what can be read at the end."""
        await write(store, create(ANN, BOB))
        watching = asyncio.create_task(events(store, 1, 61, WatchRequest(checkpoints=True)))
        state = {one.identity: one for one in await everything(store, Revision(1))}
        for n in range(30):
            text = f"doc:{n % 4}#viewer@user:u{n % 3}"
            await write(beside, delete(text) if n % 3 == 1 else touch(text + "[office]" * (n % 2)))
            await write(store, touch(f"doc:{n % 5}#viewer@user:ann"))
        for event in await watching:
            for update in event.updates:
                if update.operation is Operation.DELETE:
                    del state[update.relationship.identity]
                else:
                    state[update.relationship.identity] = update.relationship
        assert sorted(state.values()) == sorted(await everything(store, Revision(61)))


async def _next(watching: AsyncIterator[WatchEvent]) -> WatchEvent:
    return await anext(watching)


async def _to_its_end(watching: AsyncIterator[WatchEvent]) -> None:
    async for _ in watching:
        pass


class Collections:
    """Garbage collection removes what the window has passed, and nothing else."""

    async def test_dead_rows_go_and_the_living_stay(
        self, datastore: Datastore, store: Store, forget: Callable[..., object]
    ) -> None:
        await write(store, create(ANN, BOB))
        await write(store, delete(ANN))
        assert await forget(store) == 2  # type: ignore[misc]
        assert await stored(store) == [BOB]
        assert (await datastore.collect(Instant(0))).relationships == 0

    async def test_within_the_window_all_stays(self, datastore: Datastore, store: Store) -> None:
        await write(store, create(ANN))
        await write(store, delete(ANN))
        await datastore.collect()
        assert await stored(store, Revision(1)) == [ANN]
        assert len(await entries(store)) == 2

    async def test_the_schema_that_was_current_stays(self, store: Store, forget: Callable[..., object]) -> None:
        first = await store.write_schema("a", expected=None)
        second = await store.write_schema("b", expected=first)
        await write(store, create(ANN))
        await forget(store)  # type: ignore[misc]
        found = await store.schema(await store.head())
        assert found is not None
        assert (found.text, found.written_at) == ("b", second)
        assert await store.schema(first) is None

    async def test_a_watch_under_way_goes_on(self, store: Store, forget: Callable[..., object]) -> None:
        await write(store, create(ANN))
        async with asyncio.timeout(20), aclosing(store.watch(Revision(0), WatchRequest())) as watching:  # type: ignore[type-var]
            assert (await anext(watching)).revision == 1
            await write(store, create(BOB))
            assert (await anext(watching)).revision == 2
            await forget(store)  # type: ignore[misc]
            await write(store, delete(BOB))
            assert changed((await store.changes(Revision(2), 1))[0]) == ([], [BOB])
            assert (await anext(watching)).revision == 3

    async def test_writes_go_on_meanwhile(
        self, datastore: Datastore, store: Store, forget: Callable[..., object]
    ) -> None:
        texts = [f"doc:{n}#viewer@user:ann" for n in range(3_000)]
        for _ in range(2):
            await store.import_relationships(in_batches(many(*texts), 1_000))
            await store.delete(DeleteRequest(matching("doc")))
        collecting = asyncio.create_task(datastore.collect(Instant(0)))
        for n in range(50):
            await write(store, touch(f"folder:{n}#viewer@user:ann"))
        assert (await collecting).relationships >= 3_000
        assert await store.count_matching(await store.head(), matching("folder"), None) == 50

    async def test_idempotency_keys_outlive_a_short_window(self, store: Store, forget: Callable[..., object]) -> None:
        request = WriteRequest(create(ANN), idempotency_key="k")
        await store.write(request)
        await forget(store)  # type: ignore[misc]
        assert (await store.write(request)).repeated
