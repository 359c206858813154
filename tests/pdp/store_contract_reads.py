"""What every store promises of reads: snapshots, lookups, filters, pages, schemas."""

import asyncio

import pytest

from pdp.errors import RevisionExpired, RevisionInFuture, SchemaChanged, SchemaInUse
from pdp.relationships import Instant, Operation, Relationship, RelationshipFilter, Revision, Update
from pdp.stores.protocol import Found, Read, Store, Usage, WriteRequest
from pdp.stores.values import KindCount
from tests.notation import relationship
from tests.pdp.store_words import (
    FUTURE,
    create,
    delete,
    everything,
    ids,
    many,
    matching,
    read_all,
    resources_of,
    stored,
    subjects_of,
    touch,
    write,
)

ANN, BOB = "doc:1#viewer@user:ann", "doc:1#viewer@user:bob"
EXPIRED = "doc:1#viewer@user:exp[expiration:1970-01-01T00:00:00.000001Z]"
NOT_YET = "doc:1#viewer@user:new[valid_from:2090-01-01T00:00:00Z]"

LIBRARY = (
    ANN,
    BOB,
    "doc:1#viewer@user:*",
    "doc:1#viewer@group:g#member",
    "doc:1#viewer@group:g",
    "doc:1#editor@user:ann",
    "doc:2#viewer@user:ann",
    "doc:10#viewer@user:ann",
    "document:1#viewer@user:ann",
    "folder:1#parent@folder:1",
    "group:g#member@user:ann",
    "group:g#member@group:g#member",
)


class Fetches:
    """Many reads of one snapshot in one round trip."""

    @pytest.mark.parametrize(
        ("read", "found"),
        [
            pytest.param(subjects_of("doc:1", "viewer"), "* ann bob", id="all of a kind"),
            pytest.param(subjects_of("doc:1", "viewer", ids="ann"), "ann", id="one id"),
            pytest.param(subjects_of("doc:1", "viewer", ids="ann * zed"), "* ann", id="several ids"),
            pytest.param(subjects_of("doc:1", "viewer", ids="ann ann"), "ann", id="an id twice"),
            pytest.param(subjects_of("doc:1", "viewer", ids="zed"), "", id="an id that is not there"),
            pytest.param(subjects_of("doc:1", "viewer", "group", "member"), "g", id="usersets"),
            pytest.param(subjects_of("doc:1", "viewer", "group"), "g", id="objects of the same type"),
            pytest.param(subjects_of("doc:1", "viewer", "group", "owner"), "", id="another subject relation"),
            pytest.param(subjects_of("doc:1", "editor"), "ann", id="another relation"),
            pytest.param(subjects_of("doc:3", "viewer"), "", id="an object without any"),
            pytest.param(subjects_of("folder:1", "parent", "folder"), "1", id="itself"),
            pytest.param(resources_of("user:ann", "doc", "viewer"), "1 10 2", id="resources"),
            pytest.param(resources_of("user:ann", "doc", "editor"), "1", id="resources of another relation"),
            pytest.param(resources_of("user:ann", "group", "member"), "g", id="resources of another type"),
            pytest.param(resources_of("group:g#member", "doc", "viewer"), "1", id="resources of a userset"),
            pytest.param(resources_of("group:g", "doc", "viewer"), "1", id="resources of an object"),
            pytest.param(resources_of("group:g#member", "group", "member"), "g", id="resources of itself"),
            pytest.param(resources_of("user:zed", "doc", "viewer"), "", id="nobody's resources"),
            pytest.param(resources_of("user:*", "doc", "viewer"), "1", id="the wildcard's resources"),
        ],
    )
    async def test_read(self, store: Store, read: Read, found: str) -> None:
        await write(store, create(*LIBRARY))
        assert await ids(store, read) == [found.split()]

    async def test_reads_are_answered_in_order(self, store: Store) -> None:
        await write(store, create(*LIBRARY))
        reads: list[Read] = [
            resources_of("user:ann", "doc", "viewer"),
            subjects_of("doc:1", "viewer", ids="bob"),
            subjects_of("doc:1", "editor"),
            subjects_of("doc:1", "viewer", ids="bob"),
            resources_of("user:bob", "doc", "viewer"),
        ]
        assert await ids(store, *reads) == [["1", "10", "2"], ["bob"], ["ann"], ["bob"], ["1"]]

    async def test_no_reads_have_no_answers(self, store: Store) -> None:
        assert await store.fetch(await store.head(), []) == []

    async def test_hundreds_of_reads(self, store: Store) -> None:
        await write(store, create(*(f"doc:{n}#viewer@user:u{n}" for n in range(500))))
        answers = await ids(store, *(subjects_of(f"doc:{n}", "viewer") for n in range(500)))
        assert answers == [[f"u{n}"] for n in range(500)]

    async def test_traits_come_along_and_are_not_judged(self, store: Store) -> None:
        one = relationship('doc:1#viewer@user:ann[office:{"floor":3}]')._replace(expires_at=Instant(1))
        await write(store, [Update(Operation.CREATE, one)])
        expected = Found("ann", "office", '{"floor":3}', Instant(1), None)
        for read in (subjects_of("doc:1", "viewer"), subjects_of("doc:1", "viewer", ids="ann")):
            assert list((await store.fetch(Revision(1), [read]))[0]) == [expected]
        answer = (await store.fetch(Revision(1), [resources_of("user:ann", "doc", "viewer")]))[0]
        assert list(answer) == [expected._replace(id="1")]

    async def test_a_snapshot_stays_as_it_was(self, store: Store) -> None:
        for update in (create(ANN), create(BOB), delete(ANN), touch(f"{BOB}[office]")):
            await write(store, update)
        read = subjects_of("doc:1", "viewer")
        answers = [(await ids(store, read, at=Revision(at)))[0] for at in range(5)]
        assert answers == [[], ["ann"], ["ann", "bob"], ["bob"], ["bob"]]
        before, after = [(await store.fetch(Revision(at), [read]))[0][0].caveat_name for at in (3, 4)]
        assert (before, after) == ("", "office")

    async def test_a_revision_ahead_is_refused(self, store: Store) -> None:
        with pytest.raises(RevisionInFuture):
            await store.fetch(Revision(1), [subjects_of("doc:1", "viewer")])
        with pytest.raises(RevisionInFuture):
            await store.read(Revision(1), RelationshipFilter("doc"), instant=None, limit=1)
        with pytest.raises(RevisionInFuture):
            await everything(store, Revision(1))

    async def test_reads_see_what_was_acknowledged(self, store: Store, beside: Store) -> None:
        for n in range(20):
            at = await write(store, create(f"doc:{n}#viewer@user:ann"))
            assert at == await beside.head()
            assert await ids(beside, subjects_of(f"doc:{n}", "viewer"), at=at) == [["ann"]]


class Filters:
    """Relationships by filter, page by page."""

    @pytest.mark.parametrize(
        ("filter_", "found"),
        [
            pytest.param(matching("doc"), (0, 1, 2, 3, 4, 5, 6, 7), id="type"),
            pytest.param(matching("doc:1"), (0, 1, 2, 3, 4, 5), id="type and id"),
            pytest.param(matching("doc:2,10"), (6, 7), id="several ids"),
            pytest.param(matching("doc:2,2"), (6,), id="an id twice"),
            pytest.param(matching("doc:2,99"), (6,), id="an id that is not there"),
            pytest.param(matching("doc:1%"), (0, 1, 2, 3, 4, 5, 7), id="prefix"),
            pytest.param(matching("doc:10%"), (7,), id="longer prefix"),
            pytest.param(matching("doc:%"), (0, 1, 2, 3, 4, 5, 6, 7), id="empty prefix"),
            pytest.param(matching("doc:1", "viewer"), (0, 1, 2, 3, 4), id="relation of a resource"),
            pytest.param(matching("doc:1,2", "viewer", "user:ann#"), (0, 6), id="a subject on several"),
            pytest.param(matching("doc:1", "viewer", "user"), (0, 1, 2), id="subject type"),
            pytest.param(matching("doc:1", "viewer", "user:ann"), (0,), id="one subject"),
            pytest.param(matching("doc:1", "viewer", "user:*"), (2,), id="the wildcard, literally"),
            pytest.param(matching("doc:1", "viewer", "group:g"), (3, 4), id="any subject relation"),
            pytest.param(matching("doc:1", "viewer", "group:g#"), (4,), id="no subject relation"),
            pytest.param(matching("doc:1", "viewer", "group#member"), (3,), id="a subject relation of any"),
            pytest.param(matching("doc", "editor"), (5,), id="relation of a type"),
            pytest.param(matching("", "viewer"), (0, 1, 2, 3, 4, 6, 7, 8), id="relation alone"),
            pytest.param(matching("", None, "user:ann"), (0, 5, 6, 7, 8, 10), id="subject alone"),
            pytest.param(matching("", None, "group:g#member"), (3, 11), id="userset alone"),
            pytest.param(matching("", "member", "group:g#member"), (11,), id="userset and relation"),
            pytest.param(matching("doc", "viewer", "user:ann#"), (0, 6, 7), id="subject and slot"),
            pytest.param(matching("", None, "group"), (3, 4, 11), id="subject type alone"),
            pytest.param(matching("", None, "group#member"), (3, 11), id="subject type and relation"),
            pytest.param(RelationshipFilter(None, (), "1"), (0, 1, 2, 3, 4, 5, 7, 8, 9), id="prefix alone"),
            pytest.param(RelationshipFilter(), tuple(range(12)), id="everything"),
            pytest.param(matching("nothing"), (), id="a type that is not there"),
            pytest.param(matching("", None, "nobody"), (), id="a subject type that is not there"),
        ],
    )
    async def test_filter(self, store: Store, filter_: RelationshipFilter, found: tuple[int, ...]) -> None:
        await write(store, create(*LIBRARY))
        assert await read_all(store, filter_) == sorted(LIBRARY[n] for n in found)
        assert await store.count_matching(Revision(1), filter_, None) == len(found)

    async def test_prefixes_are_literal(self, store: Store) -> None:
        await write(store, create("doc:a_b#viewer@user:ann", "doc:axb#viewer@user:ann", "doc:A_b#viewer@user:ann"))
        assert await read_all(store, RelationshipFilter("doc", (), "a_")) == ["doc:a_b#viewer@user:ann"]

    async def test_times_are_judged_at_the_instant_given(self, store: Store) -> None:
        await write(store, create(ANN, EXPIRED, NOT_YET))
        names = {instant: await read_all(store, matching("doc"), instant=instant) for instant in (Instant(0), FUTURE)}
        expired, not_yet = (text.partition("[")[0] for text in (EXPIRED, NOT_YET))
        assert names[Instant(0)] == [ANN, expired]
        assert names[FUTURE] == [ANN, not_yet]
        assert await read_all(store, matching("doc")) == [ANN, expired, not_yet]
        assert await store.count_matching(Revision(1), matching("doc"), FUTURE) == 2

    @pytest.mark.parametrize(
        ("at", "counts"),
        [
            pytest.param(99, True, id="before"),
            pytest.param(100, False, id="at"),
            pytest.param(101, False, id="after"),
        ],
    )
    async def test_expiry_is_exclusive(self, store: Store, at: int, counts: bool) -> None:
        one = relationship(ANN)._replace(expires_at=Instant(100))
        await write(store, [Update(Operation.CREATE, one)])
        assert bool(await read_all(store, matching("doc"), instant=Instant(at))) is counts

    @pytest.mark.parametrize(
        ("at", "counts"),
        [pytest.param(99, False, id="before"), pytest.param(100, True, id="at"), pytest.param(101, True, id="after")],
    )
    async def test_beginning_is_inclusive(self, store: Store, at: int, counts: bool) -> None:
        one = relationship(ANN)._replace(valid_from=Instant(100))
        await write(store, [Update(Operation.CREATE, one)])
        assert bool(await read_all(store, matching("doc"), instant=Instant(at))) is counts

    @pytest.mark.parametrize(
        "filter_",
        [
            RelationshipFilter("doc"),
            RelationshipFilter("doc", tuple(map(str, range(40)))),
            matching("", None, "user"),
            matching("", None, "user:ann"),
            RelationshipFilter(),
        ],
        ids=str,
    )
    async def test_pages_hold_still_while_others_write(self, store: Store, filter_: RelationshipFilter) -> None:
        """Every page is of the first page's snapshot, none leaves out or repeats, whatever is written between."""
        texts = sorted(f"doc:{n}#viewer@user:ann" for n in range(40))
        at = await write(store, create(*texts))
        found: list[Relationship] = []
        while True:
            after = found[-1] if found else None
            page = await store.read(at, filter_, instant=None, after=after, limit=7)
            found += page.relationships
            await write(store, [*delete(texts[len(found) % 40]), *touch(f"doc:new{len(found)}#viewer@user:ann")])
            if not page.more:
                break
        assert sorted(map(str, found)) == texts

    async def test_more_tells_whether_there_is_more(self, store: Store) -> None:
        at = await write(store, create(ANN, BOB))
        pages = [await store.read(at, matching("doc"), instant=None, limit=limit) for limit in (1, 2, 3)]
        assert [(len(page.relationships), page.more) for page in pages] == [(1, True), (2, False), (2, False)]

    async def test_a_resource_comes_together(self, store: Store) -> None:
        texts = [f"doc:{n % 5}#viewer@user:u{n}" for n in range(50)]
        at = await write(store, create(*texts))
        page = await store.read(at, matching("doc"), instant=None, limit=100)
        resources = [one.resource_id for one in page.relationships]
        assert len([n for n in range(1, 50) if resources[n] != resources[n - 1]]) == 4

    async def test_ids_are_told_apart_by_their_bytes(self, store: Store) -> None:
        await write(store, create("doc:a#viewer@user:x", "doc:A#viewer@user:x", "doc:a_#viewer@user:x"))
        assert await read_all(store, matching("doc:a")) == ["doc:a#viewer@user:x"]
        assert await ids(store, subjects_of("doc:A", "viewer")) == [["x"]]


class Scans:
    """The whole of a snapshot."""

    async def test_a_scan_is_the_snapshot(self, store: Store) -> None:
        await write(store, create(*LIBRARY))
        await write(store, delete(*LIBRARY[:6]))
        assert await stored(store, Revision(1)) == sorted(LIBRARY)
        assert await stored(store) == sorted(LIBRARY[6:])
        assert await stored(store, Revision(0)) == []

    async def test_a_scan_holds_still_while_others_write(self, store: Store) -> None:
        texts = [f"doc:{n}#viewer@user:ann" for n in range(500)]
        at = await write(store, create(*texts))
        found: list[str] = []
        async for rows in store.scan(at):
            await write(store, delete(*texts))
            found += [str(Relationship._make(row)) for row in rows]
        assert sorted(found) == sorted(texts)

    async def test_rows_have_ten_columns(self, store: Store) -> None:
        await write(store, create(NOT_YET))
        rows = [row async for rows in store.scan(Revision(1)) for row in rows]
        assert [tuple(row) for row in rows] == [tuple(many(NOT_YET)[0])]

    async def test_count_is_of_the_living(self, store: Store) -> None:
        await write(store, create(*LIBRARY))
        await write(store, [*delete(*LIBRARY[:5]), *delete("doc:99#viewer@user:ann"), *touch(LIBRARY[6])])
        assert await store.count() == len(LIBRARY) - 5

    async def test_kinds_are_counted(self, store: Store) -> None:
        await write(store, create(ANN, BOB, "doc:1#viewer@user:*", "doc:1#viewer@group:g#member"))
        await write(store, [*delete(BOB), *create("doc:2#viewer@user:*[office]"), *touch(EXPIRED)])
        assert list(await store.kinds()) == [
            KindCount("doc", "viewer", "group", "member", False, "", False, 1),
            KindCount("doc", "viewer", "user", "", False, "", False, 1),
            KindCount("doc", "viewer", "user", "", False, "", True, 1),
            KindCount("doc", "viewer", "user", "", True, "", False, 1),
            KindCount("doc", "viewer", "user", "", True, "office", False, 1),
        ]

    async def test_a_kind_that_is_gone_is_not_counted(self, store: Store) -> None:
        await write(store, create(ANN))
        await write(store, delete(ANN))
        assert list(await store.kinds()) == []


class Schemas:
    """A schema is written as a revision, and guarded against what it would orphan."""

    async def test_there_is_none_at_first(self, store: Store) -> None:
        assert await store.schema(await store.head()) is None

    async def test_a_schema_is_kept_as_written(self, store: Store) -> None:
        text = "// naïve \t\r\n'quoted' \\ 🔑\ndefinition user {}"
        at = await store.write_schema(text, expected=None)
        found = await store.schema(at)
        assert found is not None
        assert (found.text, found.written_at) == (text, at)

    async def test_each_revision_has_its_schema(self, store: Store) -> None:
        first = await store.write_schema("a", expected=None)
        await write(store, create(ANN))
        second = await store.write_schema("b", expected=first)
        texts = [await store.schema(Revision(at)) for at in range(second + 1)]
        assert [found and found.text for found in texts] == [None, "a", "a", "b"]

    @pytest.mark.parametrize("expected", [None, Revision(1), Revision(3)])
    async def test_a_schema_over_another_one_is_refused(self, store: Store, expected: Revision | None) -> None:
        await store.write_schema("a", expected=None)
        await store.write_schema("b", expected=Revision(1))
        with pytest.raises(SchemaChanged):
            await store.write_schema("c", expected=expected)
        assert await store.head() == 2

    async def test_of_many_at_once_one_is_written(self, store: Store, beside: Store) -> None:
        results = await asyncio.gather(
            *(one.write_schema(f"s{n}", expected=None) for n, one in enumerate((store, beside) * 5)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, SchemaChanged) for result in results) == 9

    @pytest.mark.parametrize(
        ("usage", "in_use"),
        [
            pytest.param(Usage(resource_type="doc"), True, id="type"),
            pytest.param(Usage(resource_type="folder"), False, id="unused type"),
            pytest.param(Usage(subject_type="group"), True, id="subject type"),
            pytest.param(Usage(subject_type="doc"), False, id="unused subject type"),
            pytest.param(Usage("doc", "viewer"), True, id="relation"),
            pytest.param(Usage("doc", "editor"), False, id="unused relation"),
            pytest.param(Usage("doc", "viewer", "group", "member"), True, id="userset"),
            pytest.param(Usage("doc", "viewer", "group", ""), False, id="unused without relation"),
            pytest.param(Usage("doc", "viewer", "user", "", wildcard=True), False, id="unused wildcard"),
            pytest.param(Usage("doc", "public", "user", "", wildcard=True), True, id="wildcard"),
            pytest.param(Usage("doc", "public", "user", "", wildcard=False), False, id="wildcard alone"),
            pytest.param(Usage(caveat_name="office"), True, id="caveat"),
            pytest.param(Usage(caveat_name="night"), False, id="unused caveat"),
            pytest.param(Usage("doc", "viewer", "user", "", False, "", True), False, id="with expiration"),
            pytest.param(Usage("doc", "viewer", "user", "", False, "", False), True, id="without expiration"),
            pytest.param(Usage("doc", "timed"), True, id="one that expires later"),
            pytest.param(Usage("doc", "gone"), False, id="one that has expired"),
            pytest.param(Usage("doc", "deleted"), False, id="one that was deleted"),
        ],
    )
    async def test_usage(self, store: Store, usage: Usage, in_use: bool) -> None:
        await write(
            store,
            create(
                ANN,
                "doc:1#viewer@group:g#member",
                "doc:1#public@user:*",
                "doc:1#caveated@user:ann[office]",
                "doc:1#timed@user:ann[expiration:2090-01-01T00:00:00Z]",
                "doc:1#gone@user:ann[expiration:1970-01-01T00:00:00.000001Z]",
                "doc:1#deleted@user:ann",
            ),
        )
        await write(store, delete("doc:1#deleted@user:ann"))
        other = Usage("nothing")
        if not in_use:
            assert await store.write_schema("a", expected=None, must_be_unused=[other, usage]) == 3
            return
        with pytest.raises(SchemaInUse) as refused:
            await store.write_schema("a", expected=None, must_be_unused=[other, usage])
        assert refused.value.usage == 1
        assert await store.schema(await store.head()) is None

    async def test_a_schema_and_a_write_exclude_each_other(self, store: Store) -> None:
        """Either the write is refused for its schema, or the schema for the relationship: never both written."""
        for n in range(10):
            schema = await store.schema(await store.head())
            seen = schema.written_at if schema else None
            resource = f"doc:{n}#r{n}@user:ann"
            results = await asyncio.gather(
                store.write_schema(f"s{n}", expected=seen, must_be_unused=[Usage("doc", f"r{n}")]),
                write_seen(store, create(resource), seen),
                return_exceptions=True,
            )
            assert sum(isinstance(result, int) for result in results) == 1


async def write_seen(store: Store, updates: list[Update], seen: Revision | None) -> Revision:
    """Write what was checked against a schema, revision 0 where there was none."""
    return (await store.write(WriteRequest(updates, schema_seen=seen or Revision(0)))).revision


class Expired:
    """What the window has passed gets a clear error, and only then."""

    async def test_reads_before_the_oldest_are_refused(self, store: Store, forget: object) -> None:
        assert callable(forget)
        for n in range(5):
            await write(store, create(f"doc:{n}#viewer@user:ann"))
        oldest = await forget(store)
        assert oldest == 5
        for at in range(5):
            with pytest.raises(RevisionExpired):
                await store.fetch(Revision(at), [subjects_of("doc:1", "viewer")])
            with pytest.raises(RevisionExpired):
                await store.read(Revision(at), matching("doc"), instant=None, limit=1)
            with pytest.raises(RevisionExpired):
                await everything(store, Revision(at))
            with pytest.raises(RevisionExpired):
                await store.changes(Revision(at), 1)
        assert await store.count_matching(oldest, matching("doc"), None) == 5
        assert await store.changes(oldest, 1) == []

    async def test_the_oldest_itself_stays_whole(self, store: Store, forget: object) -> None:
        assert callable(forget)
        await write(store, create(ANN, BOB))
        await write(store, delete(BOB))
        oldest = await forget(store)
        await write(store, delete(ANN))
        assert await stored(store, oldest) == [ANN]
        assert [change.revision for change in await store.changes(oldest, 10)] == [3]
