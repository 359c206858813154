"""Backups: all stores of a database in one file, and what other parts give to be kept beside them.

A file is lines of JSON, ``[kind, value]``, compressed as one zstd stream: a header, then for each store its facts,
its schema, its relationships in batches and its counters, then the records of other parts, and an end that counts
them. A file without its end is damaged, and nothing is restored from it.

A restored store is a new one that takes the name: on a timeline of its own, since its revisions start anew, so that
zookies of before are refused; what had the name is deleted in the same transaction, and can be recovered.
"""

import base64
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
import zstandard

from pdp.errors import InvalidBackup, StoreExists, StoreNotFound
from pdp.relationships import WILDCARD, Instant, Relationship, RelationshipFilter
from pdp.stores import statements
from pdp.stores.bulk import WHOLE_MAX
from pdp.stores.datastore import SqlDatastore
from pdp.stores.filters import filter_from_text, filter_to_text
from pdp.stores.store import SqlStore
from pdp.stores.values import Conflict, Quotas

FORMAT = "tessera-backup"
VERSION = 1
_BATCH = 2_000
_LEVEL = 6
_LINE_BYTES_MAX = 64 << 20
_PSEUDONYM_BYTES = 10

Progress = Callable[[str, int], None]
"""Hears what is at hand (a store's or a part's name) and how much of it is done."""


class Part(Protocol):
    """Something else that a backup holds, such as accounts, clients and keys."""

    @property
    def name(self) -> str:
        """What its records are found by."""
        ...

    def dump(self) -> AsyncIterator[Mapping[str, Any]]:
        """All its records, as JSON can hold them."""
        ...

    async def restore(self, records: Iterator[Mapping[str, Any]], *, replace: bool) -> None:
        """Take the records in, all or none; over what is there only with ``replace``."""
        ...


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup file holds."""

    made_at: Instant
    redacted: bool
    stores: tuple[str, ...]
    parts: tuple[str, ...]
    relationships: int
    records: int


class _Redactor:
    """Puts a pseudonym in each id's place, the same one everywhere in a file, and leaves out caveats' contexts."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def _pseudonym(self, type_: str, id_: str) -> str:
        if id_ == WILDCARD:
            return id_
        hashed = blake2b(f"{len(type_)}:{type_}{id_}".encode(), key=self._key, digest_size=_PSEUDONYM_BYTES)
        return hashed.hexdigest()

    def redacted(self, one: Relationship) -> Relationship:
        """The relationship with pseudonyms for ids."""
        return one._replace(
            resource_id=self._pseudonym(one.resource_type, one.resource_id),
            subject_id=self._pseudonym(one.subject_type, one.subject_id),
            caveat_context="",
        )


async def write_backup(
    datastore: SqlDatastore,
    file: BinaryIO,
    *,
    stores: Sequence[str] = (),
    parts: Sequence[Part] = (),
    redact: bool = False,
    progress: Progress | None = None,
) -> Contents:
    """Write the stores of these names (all, where none is given), each as it stands when its turn comes.

    With ``redact`` ids are replaced by pseudonyms and neither ``parts`` nor keys are written: the file shows the
    shape of the data and none of its content.

    Raises:
        StoreNotFound: one of the names is no store's.
    """
    names = list(stores) or [name async for name in datastore.names()]
    found = [await datastore.open(name) for name in names]
    kept = () if redact else parts
    redactor = _Redactor() if redact else None
    made_at = await datastore.database.now()
    relationships = records = 0
    with zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).stream_writer(file, closefd=False) as out:

        def write(kind: str, value: Any) -> None:
            out.write(msgspec.json.encode((kind, value)) + b"\n")

        header = {
            "version": VERSION,
            "made_at": made_at,
            "redacted": redact,
            "stores": names,
            "parts": [part.name for part in kept],
        }
        write(FORMAT, header)
        for store in found:
            relationships += await _write_store(datastore, store, write, redactor, progress)
        for part in kept:
            write("part", part.name)
            count = 0
            async for record in part.dump():
                write("record", record)
                count += 1
                if progress is not None:
                    progress(part.name, count)
            records += count
        write("end", {"relationships": relationships, "records": records})
    return Contents(made_at, redact, tuple(names), tuple(part.name for part in kept), relationships, records)


async def _write_store(
    datastore: SqlDatastore,
    store: SqlStore,
    write: Callable[[str, Any], None],
    redactor: _Redactor | None,
    progress: Progress | None,
) -> int:
    info = await datastore.info(store.name)
    at = await store.head()
    facts = {
        "name": store.name,
        "revision": at,
        "relationships_max": info.quotas.relationships_max,
        "writes_per_second_max": info.quotas.writes_per_second_max,
        "zookie_key": None if redactor else base64.b64encode(store.zookie_key).decode(),
    }
    write("store", facts)
    schema = await store.schema(at)
    if schema is not None:
        write("schema", schema.text)
    done = 0
    async for batch in store.export(at, batch=_BATCH):
        write("relationships", [redactor.redacted(one) for one in batch] if redactor else batch)
        done += len(batch)
        if progress is not None:
            progress(store.name, done)
    for name, filter_ in await _counters(store):
        if redactor is None:
            write("counter", (name, filter_to_text(filter_)))
    return done


async def _counters(store: SqlStore) -> Sequence[tuple[str, RelationshipFilter]]:
    rows = await store.database.execute(statements.COUNTERS, store=store.store_id)
    return [(name, filter_from_text(text)) for name, text in rows]


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """A file's lines. Raises `InvalidBackup` where it is none, or damaged."""
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
            held = b""
            while chunk := reader.read(1 << 20):
                *lines, held = (held + chunk).split(b"\n")
                for line in lines:
                    kind, value = msgspec.json.decode(line, type=tuple[str, Any])
                    yield kind, value
                if len(held) > _LINE_BYTES_MAX:
                    raise InvalidBackup(f"`{path.name}` is no backup: a line has no end")
            if held:
                raise InvalidBackup(f"`{path.name}` is damaged: it ends in the middle of a line")
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise InvalidBackup(f"`{path.name}` is no backup, or is damaged: {error}") from error


def read_contents(path: Path) -> Contents:
    """Read a file from its header to its end, and say what it holds.

    Raises:
        InvalidBackup: it is none, it is damaged, or a newer version wrote it.
    """
    lines = _lines(path)
    header = next(lines, None)
    if header is None or header[0] != FORMAT:
        raise InvalidBackup(f"`{path.name}` is no backup")
    facts = header[1]
    if facts["version"] > VERSION:
        raise InvalidBackup(f"`{path.name}` was made by a newer version; this one reads up to {VERSION}")
    relationships = records = 0
    end: Mapping[str, int] | None = None
    for kind, value in lines:
        if end is not None:
            raise InvalidBackup(f"`{path.name}` is damaged: something follows its end")
        relationships += len(value) if kind == "relationships" else 0
        records += kind == "record"
        end = value if kind == "end" else None
    if end != {"relationships": relationships, "records": records}:
        raise InvalidBackup(f"`{path.name}` is damaged: it has no end, or not all that its end counts")
    return Contents(
        Instant(facts["made_at"]),
        facts["redacted"],
        tuple(facts["stores"]),
        tuple(facts["parts"]),
        relationships,
        records,
    )


async def restore_backup(
    datastore: SqlDatastore,
    path: Path,
    *,
    parts: Sequence[Part] = (),
    replace: bool = False,
    progress: Progress | None = None,
) -> Contents:
    """Restore all that a file holds.

    Each store takes its name when it is complete; what has the name then must be empty unless ``replace``, and can
    be recovered. A store that could not be completed is taken away again.

    Raises:
        InvalidBackup: the file is none, is damaged, or holds a part that nobody here takes.
        StoreExists: a store is there and not empty.
    """
    contents = read_contents(path)
    takers = {part.name: part for part in parts}
    for name in contents.parts:
        if name not in takers:
            raise InvalidBackup(f"`{path.name}` holds `{name}`, which cannot be restored here")
    if not replace:
        for name in contents.stores:
            if not await _is_free(datastore, name):
                raise StoreExists(name)
    # one revision brings a store back, unless it would be too large for one
    conflict = Conflict.FAIL if contents.relationships <= WHOLE_MAX else Conflict.SKIP
    lines = _Lines(_lines(path))
    lines.take(FORMAT)
    while lines.kind == "store":
        await _restore_store(datastore, lines, conflict, progress)
    while lines.kind == "part":
        taker = takers[lines.take("part")]
        await taker.restore(lines.all_of("record"), replace=replace)
    lines.take("end")
    return contents


async def _is_free(datastore: SqlDatastore, name: str) -> bool:
    try:
        info = await datastore.info(name)
    except StoreNotFound:
        return True
    return info.revision == 0


class _Lines:
    """A file's lines, of which the next one can be looked at."""

    def __init__(self, lines: Iterator[tuple[str, Any]]) -> None:
        self._rest = lines
        self._next = next(lines, None)

    @property
    def kind(self) -> str | None:
        """The next line's kind."""
        return self._next[0] if self._next is not None else None

    def take(self, kind: str) -> Any:
        """The next line's value, which must be of a kind."""
        if self._next is None or self._next[0] != kind:
            raise InvalidBackup(f"the backup is damaged: `{kind}` was expected")
        value, self._next = self._next[1], next(self._rest, None)
        return value

    def all_of(self, kind: str) -> Iterator[Any]:
        """The values of the next lines of a kind."""
        while self.kind == kind:
            yield self.take(kind)


async def _restore_store(
    datastore: SqlDatastore, lines: _Lines, conflict: Conflict, progress: Progress | None
) -> None:
    facts = lines.take("store")
    name = facts["name"]
    quotas = Quotas(facts["relationships_max"], facts["writes_per_second_max"])
    key = facts["zookie_key"]
    zookie_key = secrets.token_bytes(32) if key is None else base64.b64decode(key)
    making = f"{name} (restoring {secrets.token_hex(4)})"
    await datastore.make(making, Quotas(), zookie_key=zookie_key)
    store = await datastore.open(making)
    try:
        if lines.kind == "schema":
            await store.write_schema(lines.take("schema"), expected=None)
        await store.import_relationships(
            _batches(lines.all_of("relationships")),
            conflict=conflict,
            progress=None if progress is None else lambda count: progress(name, count),
        )
        for counter, filter_ in lines.all_of("counter"):
            await store.register_counter(counter, filter_from_text(filter_))
        await datastore.set_quotas(making, quotas)
        await datastore.take_name(making, name)
    except BaseException:
        await datastore.delete(making)
        raise


async def _batches(lists: Iterable[Any]) -> AsyncIterator[Sequence[Relationship]]:
    for rows in lists:
        yield msgspec.convert(rows, list[Relationship])
