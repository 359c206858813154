"""Row keys: two integers that find a relationship, its slot, its resource or its type in one index.

``slot`` (64 bits) is a ladder of keyed hashes, most general first, so that a prefix of it is a range of the index:

    12 bits  resource type
    32 bits  resource (type and id)
    10 bits  relation
    10 bits  subject type and subject relation

``pair`` (64 bits) mixes the whole identity, so that two relationships agree in both with a chance of 2^-96 or less
whatever they share. ``subject_slot`` is the same ladder from the subject's side. So one index of 16 bytes a row gives
lookups, forward scans in four widths and uniqueness; a second one gives reverse reads. A range may hold a stranger
whose hash is alike, so whoever reads compares the texts too. The hashes are keyed with a secret of the store: nobody
outside can look for collisions.

Integers are shifted into the signed range, in which both databases keep and order them.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Any, NamedTuple

import numpy as np

from pdp.relationships import Relationship

_U = np.uint64
_HASHED = Struct(">IIQ")
_OFFSET = 1 << 63
_MASK = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15
_OBJECTS_KEPT = 65_536
_NAMES_KEPT = 4_096

_TYPE_SHIFT = 52
_OBJECT_SHIFT = 20
_RELATION_SHIFT = 10
_RELATION_MASK = (1 << 10) - 1


class Range(NamedTuple):
    """Slots from ``least`` to ``greatest``, both included."""

    least: int
    greatest: int


class Key(NamedTuple):
    """A relationship's place in the two indexes; it sorts as the first index does."""

    slot: int
    pair: int
    subject_slot: int


class Keyed(NamedTuple):
    """Relationships in the order of their keys, as columns."""

    slots: Sequence[int]
    pairs: Sequence[int]
    subject_slots: Sequence[int]
    relationships: Sequence[Relationship]

    def part(self, start: int, end: int) -> "Keyed":
        """Those from one position to another."""
        return Keyed(
            self.slots[start:end],
            self.pairs[start:end],
            self.subject_slots[start:end],
            self.relationships[start:end],
        )

    def places(self) -> list[tuple[int, int]]:
        """Each one's slot and pair."""
        return list(zip(self.slots, self.pairs, strict=True))


class KeyMaker:
    """Makes the keys of one store, whose secret keys the hashes."""

    def __init__(self, secret: bytes) -> None:
        def keyed(kind: bytes) -> Callable[[str], bytes]:
            begun = blake2b(key=secret, digest_size=16, person=kind)

            def digest(text: str) -> bytes:
                state = begun.copy()  # the key's block is hashed once, not once a text
                state.update(text.encode())
                return state.digest()

            return digest

        type_digest, object_digest, name_digest = keyed(b"type"), keyed(b"object"), keyed(b"relation")

        @lru_cache(_NAMES_KEPT)
        def type_bits(type_: str) -> int:
            bits: int = _HASHED.unpack(type_digest(type_))[0]
            return bits >> 20

        @lru_cache(_NAMES_KEPT)
        def name_bits(type_: str, relation: str) -> tuple[int, int]:
            bits, _, mix = _HASHED.unpack(name_digest(f"{len(type_)}:{type_}{relation}"))
            return bits & _RELATION_MASK, mix

        @lru_cache(_OBJECTS_KEPT)
        def object_bits(type_: str, id_: str) -> tuple[int, int]:
            bits, _, mix = _HASHED.unpack(object_digest(f"{len(type_)}:{type_}{id_}"))
            return (type_bits(type_) << 32 | bits) << _OBJECT_SHIFT, mix

        self._object_digest = object_digest
        self._type_bits = type_bits
        self._name_bits = name_bits
        self._object_bits = object_bits

    def key(self, relationship: Relationship) -> Key:
        """The key of a relationship; caveat and times do not matter."""
        resource_type, resource_id, relation, subject_type, subject_id, subject_relation = relationship[:6]
        resource, resource_mix = self._object_bits(resource_type, resource_id)
        subject, subject_mix = self._object_bits(subject_type, subject_id)
        near, near_mix = self._name_bits(resource_type, relation)
        far, far_mix = self._name_bits(subject_type, subject_relation)
        pair = ((resource_mix ^ near_mix) * _ODD + (subject_mix ^ far_mix)) & _MASK
        return Key(
            (resource | near << _RELATION_SHIFT | far) - _OFFSET,
            pair - _OFFSET,
            (subject | far << _RELATION_SHIFT | near) - _OFFSET,
        )

    def keyed(self, relationships: Sequence[Relationship]) -> "Keyed":
        """Very many relationships in key order, a few arrays instead of an object each."""
        objects: dict[str, int] = {}
        resources, subjects = [], []
        for resource_type, resource_id, _, subject_type, subject_id, *_ in relationships:
            text = f"{len(resource_type)}:{resource_type}{resource_id}"
            resources.append(objects.setdefault(text, len(objects)))
            text = f"{len(subject_type)}:{subject_type}{subject_id}"
            subjects.append(objects.setdefault(text, len(objects)))
        hashes = np.frombuffer(b"".join(map(self._object_digest, objects)), dtype=">u4,>u4,>u8")
        bits, mixes = hashes["f0"].astype(np.uint64), hashes["f2"].astype(np.uint64)
        near = np.array([self._name_bits(one[0], one[2]) for one in relationships], dtype=np.uint64)
        far = np.array([self._name_bits(one[3], one[5]) for one in relationships], dtype=np.uint64)
        types = [self._type_bits(one[0]) for one in relationships], [self._type_bits(one[3]) for one in relationships]
        slots, subject_slots = (
            (np.array(type_, dtype=np.uint64) << _U(_TYPE_SHIFT))
            | (bits[object_] << _U(_OBJECT_SHIFT))
            | (this[:, 0] << _U(_RELATION_SHIFT))
            | that[:, 0]
            for type_, object_, this, that in (
                (types[0], resources, near, far),
                (types[1], subjects, far, near),
            )
        )
        pairs = (mixes[resources] ^ near[:, 1]) * _U(_ODD) + (mixes[subjects] ^ far[:, 1])
        order = np.lexsort((pairs, slots))
        return Keyed(
            _signed(slots[order]),
            _signed(pairs[order]),
            _signed(subject_slots[order]),
            [relationships[n] for n in order.tolist()],
        )

    def slot(self, type_: str, id_: str, relation: str, far_type: str, far_relation: str) -> int:
        """The slot of an object's relation, for objects of one type and relation at the far end.

        From a resource it is ``slot``, from a subject (with its own relation) ``subject_slot``.
        """
        prefix = self._object_bits(type_, id_)[0]
        near, far = self._name_bits(type_, relation)[0], self._name_bits(far_type, far_relation)[0]
        return (prefix | near << _RELATION_SHIFT | far) - _OFFSET

    def relation_range(self, type_: str, id_: str, relation: str) -> Range:
        """The slots of an object's relation."""
        prefix = self._object_bits(type_, id_)[0] | self._name_bits(type_, relation)[0] << _RELATION_SHIFT
        return _range(prefix, _RELATION_SHIFT)

    def object_range(self, type_: str, id_: str) -> Range:
        """The slots of an object."""
        return _range(self._object_bits(type_, id_)[0], _OBJECT_SHIFT)

    def type_range(self, type_: str) -> Range:
        """The slots of all objects of a type."""
        return _range(self._type_bits(type_) << _TYPE_SHIFT, _TYPE_SHIFT)


def _signed(column: np.ndarray[Any, np.dtype[np.uint64]]) -> list[int]:
    shifted: list[int] = (column ^ _U(_OFFSET)).view(np.int64).tolist()
    return shifted


def _range(prefix: int, free_bits: int) -> Range:
    return Range(prefix - _OFFSET, (prefix | (1 << free_bits) - 1) - _OFFSET)
