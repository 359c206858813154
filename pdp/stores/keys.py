"""Row keys: sixteen bytes that find a relationship, and all relationships of a slot or a resource, in one index.

A forward key is six bytes of ``resource_type, resource_id, relation``, two of ``subject_type, subject_relation`` and
eight of ``subject_id``, each a keyed BLAKE2b of length-prefixed parts; so the slot of a resource is a range of eight
bytes' prefix, and the resource's whole relation one of six. A reverse key is made the same way from the subject's
side. Ranges may hold a stranger whose hash is alike, so texts are always compared; keyed with the store's secret, no
caller can look for one.
"""

from functools import lru_cache
from hashlib import blake2b

KEY_BYTES = 16
_ZEROS = bytes(KEY_BYTES)
_ONES = b"\xff" * KEY_BYTES


def _hash(secret: bytes, size: int, parts: tuple[str, ...]) -> bytes:
    digest = blake2b(key=secret, digest_size=size)
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(2, "big") + raw)
    return digest.digest()


@lru_cache(maxsize=65_536)
def relation_prefix(secret: bytes, type_: str, id_: str, relation: str) -> bytes:
    """Six bytes: a resource's relation, or a subject (with its relation)."""
    return _hash(secret, 6, (type_, id_, relation))


@lru_cache(maxsize=4_096)
def slot_part(secret: bytes, type_: str, relation: str) -> bytes:
    """Two bytes: the type and relation at the far end."""
    return _hash(secret, 2, (type_, relation))


def forward_key(secret: bytes, identity: tuple[str, str, str, str, str, str]) -> bytes:
    """The key of a relationship."""
    type_, id_, relation, subject_type, subject_id, subject_relation = identity
    return (
        relation_prefix(secret, type_, id_, relation)
        + slot_part(secret, subject_type, subject_relation)
        + _hash(secret, 8, (subject_id,))
    )


def reverse_key(secret: bytes, identity: tuple[str, str, str, str, str, str]) -> bytes:
    """The key of a relationship, from its subject's side."""
    type_, id_, relation, subject_type, subject_id, subject_relation = identity
    return (
        relation_prefix(secret, subject_type, subject_id, subject_relation)
        + slot_part(secret, type_, relation)
        + _hash(secret, 8, (id_,))
    )


def key_range(prefix: bytes) -> tuple[bytes, bytes]:
    """The least and the greatest key with a prefix."""
    return prefix + _ZEROS[len(prefix) :], prefix + _ONES[len(prefix) :]
