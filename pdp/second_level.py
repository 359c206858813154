"""Finished checks, shared between processes: what saves a process several round trips to the database.

Used where a store is answered on demand. An entry is a yes or no with the revision it was found at and the reads it
rests on; a process uses it only if its own window of the changelog reaches back to that revision and shows that none
of those reads changed since. So entries outlive unrelated writes, need no invalidation, and a second level that is
slow, flushed, restarted or lying can cost time and never a wrong answer: entries are authenticated, and one that
cannot be read is none. Only what no caveat and no time bound touched is kept: the rest is not one answer.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from hmac import compare_digest
from typing import NamedTuple, Protocol

import msgspec

from pdp.changes import ChangeWindow, dependency
from pdp.graph import Graph
from pdp.relationships import ObjectRef, Revision, SubjectRef
from pdp.stores.protocol import Found, Read, RelationshipStore

READS_MIN = 3
"""A check that rests on fewer reads is not worth an entry: it is one round trip or two."""
READS_MAX = 64
_TAG_BYTES = 16
_HASH_BYTES = 8


class SecondLevel(Protocol):
    """A shared store of small values that may forget, fail and be slow; its methods never raise."""

    async def get(self, key: bytes) -> bytes | None:
        """The value; None where there is none, or it cannot be had soon."""
        ...

    async def put(self, key: bytes, value: bytes) -> None:
        """Keep a value for a while, if possible."""
        ...


class Question(NamedTuple):
    """A check as entries know it."""

    schema: Revision
    resource: ObjectRef
    permission: str
    subject: SubjectRef


class _Entry(msgspec.Struct, array_like=True):
    revision: int
    has: bool
    rests_on: bytes


class Recording:
    """A graph that notes which reads were answered, and whether a caveat or a time bound was met."""

    def __init__(self, base: Graph) -> None:
        self._base = base
        self.reads: dict[Read, None] = {}
        self.bounded = False

    def get(self, read: Read) -> Sequence[Found] | None:
        """See `pdp.graph.Graph`."""
        found = self._base.get(read)
        if found is not None and read not in self.reads:
            self.reads[read] = None
            self.bounded = self.bounded or any(
                one.caveat_name or one.expires_at is not None or one.valid_from is not None for one in found
            )
        return found


class FinishedChecks:
    """One store's finished checks in the second level."""

    def __init__(self, level: SecondLevel, store: RelationshipStore, window: ChangeWindow) -> None:
        self._level = level
        self._secret = store.zookie_key
        self._place = f"{store.name}\0{store.timeline}".encode()
        self._window = window
        self.hits = 0
        self.misses = 0
        self.refused = 0
        """Entries that were there and could not be used: changed since, out of the window's reach, or no entries."""

    async def find(self, question: Question, at: Revision) -> bool | None:
        """The answer at a revision that was applied, if an entry has it."""
        key = self._key(question)
        value = await self._level.get(key)
        if value is None:
            self.misses += 1
            return None
        entry = self._read(key, value)
        if entry is None or entry.revision > at or not self._holds(entry):
            self.refused += 1
            return None
        self.hits += 1
        return entry.has

    async def keep(self, question: Question, at: Revision, has: bool, rests_on: Iterable[Read]) -> None:
        """Keep an answer with what it rests on, if that is worth it."""
        reads = list(rests_on)
        if not READS_MIN <= len(reads) <= READS_MAX:
            return
        key = self._key(question)
        hashes = b"".join(self._hash(read) for read in reads)
        payload = msgspec.msgpack.encode(_Entry(at, has, hashes))
        await self._level.put(key, self._tag(key, payload) + payload)

    def _key(self, question: Question) -> bytes:
        """Everything that the answer depends on, but the relationships."""
        parts = (
            str(question.schema),
            *question.resource,
            question.permission,
            *question.subject,
        )
        digest = blake2b(self._place, key=self._secret, digest_size=20, person=b"check")
        for part in parts:
            raw = part.encode()
            digest.update(len(raw).to_bytes(4, "big") + raw)
        return b"tessera:check:" + digest.digest()

    def _tag(self, key: bytes, payload: bytes) -> bytes:
        return blake2b(key + payload, key=self._secret, digest_size=_TAG_BYTES, person=b"entry").digest()

    def _read(self, key: bytes, value: bytes) -> _Entry | None:
        tag, payload = value[:_TAG_BYTES], value[_TAG_BYTES:]
        if not compare_digest(tag, self._tag(key, payload)):
            return None
        try:
            return msgspec.msgpack.decode(payload, type=_Entry)
        except msgspec.DecodeError:
            return None

    def _holds(self, entry: _Entry) -> bool:
        hashes = entry.rests_on
        return len(hashes) % _HASH_BYTES == 0 and self._window.unchanged_hashes(
            (hashes[start : start + _HASH_BYTES] for start in range(0, len(hashes), _HASH_BYTES)),
            Revision(entry.revision),
        )

    def _hash(self, read: Read) -> bytes:
        return dependency(read).digest(self._secret)
