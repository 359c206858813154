"""The changelog's entries as bytes: what each revision changed, with the rows as they were before and after.

JSON, so that an operator can read it with the database's own tools; compressed where it is long. A revision of many
thousand changes is kept in parts and decoded part by part, as somebody iterates it.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar, overload

import msgspec
import zstandard

from pdp.relationships import Instant, Operation, Relationship, Revision, Update
from pdp.stores.protocol import Transaction

PART_CHANGES_MAX = 10_000
_COMPRESSED_FROM_BYTES = 2_048
_LEVEL = 1

T = TypeVar("T")


class Change(NamedTuple):
    """What one revision did to one relationship: ``None`` before is new, ``None`` after is gone."""

    before: Relationship | None
    after: Relationship | None

    @property
    def relationship(self) -> Relationship:
        """The relationship, as it became, or as it was when it went."""
        found = self.after if self.after is not None else self.before
        if found is None:
            raise ValueError("a change of nothing")
        return found

    @property
    def update(self) -> Update:
        """The change as a watcher is told of it."""
        if self.after is not None:
            return Update(Operation.TOUCH, self.after)
        return Update(Operation.DELETE, self.relationship)


class Entry(NamedTuple):
    """A row of the changelog."""

    revision: int
    committed_at: int
    schema_changed: int
    metadata: str
    added: int
    removed: int
    changes: bytes
    parts: int


class _New(msgspec.Struct):
    added: list[Relationship]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Change]).decode
_decode_new = msgspec.json.Decoder(_New).decode
_decode_metadata = msgspec.json.Decoder(dict[str, Any]).decode


def encode_changes(changes: Sequence[Change]) -> bytes:
    """Changes as bytes."""
    return _packed(_encode(changes))


def encode_new(relationships: Sequence[Relationship]) -> bytes:
    """Changes that only add, as bytes."""
    return _packed(b'{"added":' + _encode(relationships) + b"}")


def _packed(raw: bytes) -> bytes:
    return zstandard.compress(raw, _LEVEL) if len(raw) >= _COMPRESSED_FROM_BYTES else raw


def decode_changes(raw: bytes) -> list[Change]:
    """The reverse of `encode_changes`."""
    if raw[:1] not in (b"[", b"{"):
        raw = zstandard.decompress(raw)
    return _decode(raw) if raw[:1] == b"[" else [Change(None, one) for one in _decode_new(raw).added]


def encode_metadata(metadata: Any) -> str:
    """Transaction metadata as JSON."""
    return _encode(metadata).decode()


class Packed(Sequence[T], Generic[T]):
    """A sequence decoded from a changelog entry's parts whenever it is iterated. Not for picking single items."""

    def __init__(self, parts: Sequence[bytes], length: int, pick: Callable[[Change], T | None]) -> None:
        self._parts = parts
        self._length = length
        self._pick = pick

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        for part in self._parts:
            for change in decode_changes(part):
                picked = self._pick(change)
                if picked is not None:
                    yield picked

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return list(self)[index]
        for item in islice(self, index if index >= 0 else index + self._length, None):
            return item
        raise IndexError(index)


def transaction(entry: Entry, parts: Sequence[bytes] = ()) -> Transaction:
    """A changelog entry as a value; ``parts`` are its changes where they are kept apart."""
    metadata = _decode_metadata(entry.metadata) if entry.metadata != "{}" else {}
    revision, committed_at = Revision(entry.revision), Instant(entry.committed_at)
    schema_changed = bool(entry.schema_changed)
    if entry.parts:
        return Transaction(
            revision,
            committed_at,
            Packed(parts, entry.added, lambda change: change.after),
            Packed(parts, entry.removed, lambda change: change.before),
            schema_changed,
            metadata,
            Packed(parts, max(entry.added, entry.removed), lambda change: change.update),
        )
    changes = decode_changes(entry.changes)
    return Transaction(
        revision,
        committed_at,
        tuple(change.after for change in changes if change.after is not None),
        tuple(change.before for change in changes if change.before is not None),
        schema_changed,
        metadata,
        tuple(change.update for change in changes),
    )
