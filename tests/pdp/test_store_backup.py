"""Backups: what comes back is what was there, into either database; and nothing comes back from a damaged file."""

import io
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from pdp.errors import InvalidBackup, InvalidZookie, StoreExists, StoreNotFound
from pdp.relationships import Relationship, Revision
from pdp.stores.backup import Contents, Part, read_contents, restore_backup, write_backup
from pdp.stores.connect import connect
from pdp.stores.datastore import SqlDatastore
from pdp.stores.protocol import Store
from pdp.stores.values import Quotas
from pdp.zookies import decode, encode
from tests.pdp.store_words import create, delete, everything, many, matching, stored, write

SCHEMA = "// kept as it is\ndefinition user {}\ndefinition doc { relation viewer: user }"
LIBRARY = (
    "doc:1#viewer@user:ann",
    'doc:1#viewer@user:bob[office:{"floor":3}]',
    "doc:2#viewer@user:*",
    "doc:2#viewer@group:ann#member",
    "doc:3#viewer@user:old[expiration:1970-01-01T00:00:00.000001Z]",
    "doc:4#viewer@user:new[valid_from:2090-01-01T00:00:00Z]",
)


@pytest.fixture(params=["sqlite", "postgres"])
async def source(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlDatastore]:
    """A database with two stores."""
    datastore = await _empty(request, tmp_path / "source.db")
    store = await datastore.create("default", Quotas(1_000, 500))
    await store.write_schema(SCHEMA, expected=None)
    await write(store, create(*LIBRARY, "doc:9#viewer@user:gone"))
    await write(store, delete("doc:9#viewer@user:gone"))
    await store.register_counter("docs", matching("doc"))
    other = await datastore.create("other")
    await write(other, create("doc:1#viewer@user:zed"))
    yield datastore
    await datastore.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlDatastore]:
    """An empty database."""
    datastore = await _empty(request, tmp_path / "target.db")
    yield datastore
    await datastore.close()


async def _empty(request: pytest.FixtureRequest, file: Path) -> SqlDatastore:
    url = f"sqlite:///{file}"
    if request.param == "postgres":
        server = request.getfixturevalue("shared_postgres")
        name = f"test_{file.stem}_{abs(hash(str(file))) % 10**9}"
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name}")
        request.addfinalizer(lambda: server.execute(f"DROP DATABASE {name} WITH (FORCE)"))
        url = server.url(name)
    datastore = await connect(url)
    await datastore.migrate()
    return datastore


@pytest.fixture
async def lite(tmp_path: Path) -> AsyncIterator[SqlDatastore]:
    """A database with one store, for what does not depend on the database."""
    datastore = await connect(f"sqlite:///{tmp_path}/lite.db")
    await datastore.migrate()
    store = await datastore.create("default")
    await store.write_schema(SCHEMA, expected=None)
    await write(store, create(*LIBRARY))
    yield datastore
    await datastore.close()


async def backup(datastore: SqlDatastore, path: Path, **options: Any) -> Contents:
    """Write a backup file."""
    with path.open("wb") as file:
        return await write_backup(datastore, file, **options)


class Accounts(Part):
    """A part of a backup: some records."""

    name = "accounts"

    def __init__(self, records: list[Mapping[str, Any]]) -> None:
        self.records = records
        self.replaced: bool | None = None

    async def dump(self) -> AsyncIterator[Mapping[str, Any]]:
        """Give the records."""
        for record in self.records:
            yield record

    async def restore(self, records: Iterator[Mapping[str, Any]], *, replace: bool) -> None:
        """Take records."""
        self.records = list(records)
        self.replaced = replace


class TestRoundTrip:
    """Out of one database and into another."""

    async def test_all_of_it_comes_back(self, source: SqlDatastore, target: SqlDatastore, tmp_path: Path) -> None:
        made = await backup(source, tmp_path / "file")
        assert made.stores == ("default", "other")
        assert made.relationships == len(LIBRARY) + 1
        assert await restore_backup(target, tmp_path / "file") == made
        store, other = await target.open("default"), await target.open("other")
        assert sorted(await everything(store)) == sorted(many(*LIBRARY))
        assert await stored(other) == ["doc:1#viewer@user:zed"]
        schema = await store.schema(await store.head())
        assert schema is not None
        assert schema.text == SCHEMA
        assert await other.schema(await other.head()) is None
        assert await store.counter("docs") == matching("doc")
        info = await target.info("default")
        assert (info.quotas, info.relationships) == (Quotas(1_000, 500), len(LIBRARY))
        assert [name async for name in target.names()] == ["default", "other"]

    async def test_a_restored_store_works_on(
        self, source: SqlDatastore, target: SqlDatastore, tmp_path: Path
    ) -> None:
        await backup(source, tmp_path / "file")
        await restore_backup(target, tmp_path / "file")
        store = await target.open("default")
        await write(store, delete(LIBRARY[0]))
        assert await store.count() == len(LIBRARY) - 1


class TestTimelines:
    """A restore starts a new timeline."""

    async def test_zookies_of_before_are_refused(self, lite: SqlDatastore, tmp_path: Path) -> None:
        before = await lite.open("default")
        token = encode(before, Revision(1))
        await backup(lite, tmp_path / "file")
        await restore_backup(lite, tmp_path / "file", replace=True)
        after = await lite.open("default")
        with pytest.raises(InvalidZookie, match="restored"):
            decode(after, token)
        assert decode(after, encode(after, Revision(1))) == 1

    async def test_what_was_replaced_can_be_recovered(self, lite: SqlDatastore, tmp_path: Path) -> None:
        await backup(lite, tmp_path / "file")
        before = await lite.info("default")
        await write(await lite.open("default"), create("doc:7#viewer@user:later"))
        await restore_backup(lite, tmp_path / "file", replace=True)
        assert "doc:7#viewer@user:later" not in await stored(await lite.open("default"))
        await lite.delete("default")
        recovered = await lite.recover(before.store_id)
        assert "doc:7#viewer@user:later" in await stored(recovered)

    async def test_who_held_the_old_store_is_told(self, lite: SqlDatastore, tmp_path: Path) -> None:
        before = await lite.open("default")
        await backup(lite, tmp_path / "file")
        await restore_backup(lite, tmp_path / "file", replace=True)
        with pytest.raises(StoreNotFound):
            await before.head()
        with pytest.raises(StoreNotFound):
            await write(before, create("doc:8#viewer@user:x"))

    async def test_an_empty_store_may_be_replaced_unasked(self, lite: SqlDatastore, tmp_path: Path) -> None:
        await backup(lite, tmp_path / "file")
        empty = await connect(f"sqlite:///{tmp_path}/empty.db")
        await empty.migrate()
        await empty.create("default")
        await restore_backup(empty, tmp_path / "file")
        assert len(await stored(await empty.open("default"))) == len(LIBRARY)
        await empty.close()

    async def test_a_store_in_use_is_not_replaced_unasked(self, lite: SqlDatastore, tmp_path: Path) -> None:
        await backup(lite, tmp_path / "file")
        with pytest.raises(StoreExists, match="`default`"):
            await restore_backup(lite, tmp_path / "file")
        assert [name async for name in lite.names()] == ["default"]


class TestRedaction:
    """A file that shows the shape of the data and none of its content."""

    async def restored(self, lite: SqlDatastore, path: Path) -> list[Relationship]:
        """All relationships of a redacted backup."""
        await backup(lite, path, redact=True)
        await restore_backup(lite, path, replace=True)
        return await everything(await lite.open("default"))

    async def test_no_id_and_no_context_is_in_it(self, lite: SqlDatastore, tmp_path: Path) -> None:
        await backup(lite, tmp_path / "file", redact=True, parts=[Accounts([{"email": "ann@example.org"}])])
        text = zstandard.ZstdDecompressor().stream_reader((tmp_path / "file").read_bytes()).read().decode()
        for secret in ("ann", "bob", "floor", "example", '"1"'):
            assert secret not in text
        assert read_contents(tmp_path / "file").redacted
        assert read_contents(tmp_path / "file").parts == ()

    async def test_its_zookie_key_is_not_in_it(self, lite: SqlDatastore, tmp_path: Path) -> None:
        store = await lite.open("default")
        await self.restored(lite, tmp_path / "file")
        assert (await lite.open("default")).zookie_key != store.zookie_key

    async def test_what_was_equal_is_equal(self, lite: SqlDatastore, tmp_path: Path) -> None:
        found = await self.restored(lite, tmp_path / "file")
        assert len(found) == len(LIBRARY)
        assert len({one.resource_id for one in found}) == 4
        assert sum(one.subject_id == "*" for one in found) == 1
        assert {one.caveat_name for one in found} == {"", "office"}

    async def test_a_type_has_pseudonyms_of_its_own(self, lite: SqlDatastore, tmp_path: Path) -> None:
        found = await self.restored(lite, tmp_path / "file")
        group = next(one for one in found if one.subject_type == "group")
        assert group.subject_id not in {one.subject_id for one in found if one.subject_type == "user"}

    async def test_two_files_have_nothing_in_common(self, lite: SqlDatastore, tmp_path: Path) -> None:
        first = {one.resource_id for one in await self.restored(lite, tmp_path / "one")}
        second = {one.resource_id for one in await self.restored(lite, tmp_path / "two")}
        assert not first & second


class TestParts:
    """What others give to be kept."""

    async def test_records_come_back(self, lite: SqlDatastore, tmp_path: Path) -> None:
        records: list[Mapping[str, Any]] = [{"id": n, "name": f"é{n}"} for n in range(3)]
        made = await backup(lite, tmp_path / "file", parts=[Accounts(records)])
        assert (made.parts, made.records) == (("accounts",), 3)
        taker = Accounts([])
        await restore_backup(lite, tmp_path / "file", parts=[taker], replace=True)
        assert (taker.records, taker.replaced) == (records, True)

    async def test_a_part_that_nobody_takes_is_refused(self, lite: SqlDatastore, tmp_path: Path) -> None:
        await backup(lite, tmp_path / "file", parts=[Accounts([{"id": 1}])])
        before = await lite.info("default")
        with pytest.raises(InvalidBackup, match="`accounts`"):
            await restore_backup(lite, tmp_path / "file", replace=True)
        assert (await lite.info("default")).store_id == before.store_id

    async def test_only_some_stores(self, lite: SqlDatastore, tmp_path: Path) -> None:
        await lite.create("other")
        assert (await backup(lite, tmp_path / "file", stores=["other"])).stores == ("other",)
        with pytest.raises(StoreNotFound, match="`nowhere`"):
            await backup(lite, tmp_path / "file", stores=["nowhere"])

    async def test_progress_is_told(self, lite: SqlDatastore, tmp_path: Path) -> None:
        told: list[tuple[str, int]] = []
        await backup(lite, tmp_path / "file", parts=[Accounts([{"id": 1}])], progress=lambda *step: told.append(step))
        assert told == [("default", len(LIBRARY)), ("accounts", 1)]


def packed(*lines: tuple[str, Any]) -> bytes:
    """A file of these lines."""
    return zstandard.compress(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


HEADER = ("tessera-backup", {"version": 1, "made_at": 0, "redacted": False, "stores": ["default"], "parts": []})
FACTS = (
    "store",
    {
        "name": "default",
        "revision": 1,
        "relationships_max": None,
        "writes_per_second_max": None,
        "zookie_key": None,
    },
)
ROW = ["doc", "1", "viewer", "user", "ann", "", "", "", None, None]
END = ("end", {"relationships": 1, "records": 0})


class TestDamage:
    """Nothing is restored from a file that is not whole."""

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"", id="empty"),
            pytest.param(b"no backup", id="not compressed"),
            pytest.param(packed(), id="nothing in it"),
            pytest.param(zstandard.compress(b"no json\n"), id="not json"),
            pytest.param(zstandard.compress(b"[1, 2]\n"), id="not our json"),
            pytest.param(packed(FACTS, END), id="no header"),
            pytest.param(packed(("tessera-backup", {**HEADER[1], "version": 2}), END), id="a newer version"),
            pytest.param(packed(HEADER, FACTS, ("relationships", [ROW])), id="no end"),
            pytest.param(packed(HEADER, FACTS, END), id="fewer than its end counts"),
            pytest.param(packed(HEADER, FACTS, ("relationships", [ROW, ROW]), END), id="more than its end counts"),
            pytest.param(packed(HEADER, FACTS, ("relationships", [ROW]), END, FACTS), id="something after its end"),
            pytest.param(packed(HEADER, FACTS, ("relationships", [ROW]), END)[:-9], id="cut off"),
            pytest.param(zstandard.compress(b'["tessera-backup", {'), id="cut off in a line"),
        ],
    )
    async def test_damaged(self, lite: SqlDatastore, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "file"
        path.write_bytes(content)
        before = await lite.info("default")
        with pytest.raises(InvalidBackup, match="`file`"):
            await restore_backup(lite, path, replace=True)
        assert (await lite.info("default")).store_id == before.store_id

    async def test_every_altered_byte_is_seen(self, lite: SqlDatastore, tmp_path: Path) -> None:
        await backup(lite, tmp_path / "file")
        whole = (tmp_path / "file").read_bytes()
        refused = 0
        for position in range(0, len(whole), max(1, len(whole) // 60)):
            altered = bytearray(whole)
            altered[position] ^= 0x55
            (tmp_path / "altered").write_bytes(altered)
            try:
                contents = read_contents(tmp_path / "altered")
            except InvalidBackup:
                refused += 1
            else:
                assert contents == read_contents(tmp_path / "file")  # a bit of the frame's header that means nothing
        assert refused >= 55

    async def test_a_restore_that_fails_leaves_what_was(self, lite: SqlDatastore, tmp_path: Path) -> None:
        """The file is whole, and yet a relationship comes twice."""
        end = ("end", {"relationships": 2, "records": 0})
        (tmp_path / "file").write_bytes(packed(HEADER, FACTS, ("relationships", [ROW, ROW]), end))
        before = await lite.info("default")
        with pytest.raises(Exception, match="already exists"):
            await restore_backup(lite, tmp_path / "file", replace=True)
        assert (await lite.info("default")).store_id == before.store_id
        assert [name async for name in lite.names()] == ["default"]

    async def test_a_minimal_file_is_restored(self, lite: SqlDatastore, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(packed(HEADER, FACTS, ("relationships", [ROW]), END))
        await restore_backup(lite, tmp_path / "file", replace=True)
        store: Store = await lite.open("default")
        assert await stored(store) == ["doc:1#viewer@user:ann"]

    async def test_a_file_is_written_as_a_stream(self, lite: SqlDatastore) -> None:
        class Pipe(io.BytesIO):
            def seekable(self) -> bool:
                return False

        pipe = Pipe()
        await write_backup(lite, pipe)
        assert len(pipe.getvalue()) > 100
