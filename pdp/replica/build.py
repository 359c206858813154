"""Making a slot's arrays from its relationships, in bounded memory and off the event loop."""

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

from pdp.replica.slots import NODE_BITS, NODE_MASK, Adjacency, Row, Slot, SlotKey

_SPARSE_BELOW = 16
"""A slot in which fewer than one node in so many has a row keeps a list of those instead of a row for every node."""


class SlotBuilder:
    """Gathers a slot's relationships: eight bytes each until `build`."""

    __slots__ = ("append", "conditions", "edges", "key")

    def __init__(self, key: SlotKey) -> None:
        self.key = key
        self.edges = array("Q")
        self.append: Callable[[int], None] = self.edges.append
        self.conditions: dict[int, Row] = {}

    def build(self) -> Slot:
        """The slot. Takes 24 bytes a relationship while it runs."""
        slot = Slot(self.key)
        packed = np.frombuffer(self.edges, dtype=np.uint64) if self.edges else np.empty(0, np.uint64)
        fill(slot, packed, self.conditions)
        return slot


def fill(slot: Slot, packed: Any, conditions: dict[int, Row]) -> None:
    """Give a slot its base from packed edges (any order, each once)."""
    forward = np.sort(packed)
    slot.forward = _adjacency(forward)
    swapped = ((packed & np.uint64(NODE_MASK)) << np.uint64(NODE_BITS)) | (packed >> np.uint64(NODE_BITS))
    swapped.sort()
    slot.reverse = _adjacency(swapped)
    slot.base_conditions = conditions
    slot.conditions = dict(conditions)


def packed_edges(adjacency: Adjacency) -> Any:
    """The packed edges that an adjacency was made from, sorted."""
    starts = np.asarray(adjacency.starts, dtype=np.int64)
    ends = np.asarray(adjacency.ends, dtype=np.uint64)
    if not len(ends):
        return np.empty(0, np.uint64)
    if adjacency.keys is None:
        nodes = np.arange(adjacency.size, dtype=np.uint64)
    else:
        nodes = np.asarray(adjacency.keys, dtype=np.uint64)
    return (np.repeat(nodes, np.diff(starts)) << np.uint64(NODE_BITS)) | ends


def _adjacency(packed: Any) -> Adjacency:
    """Compressed rows of sorted packed edges."""
    if not len(packed):
        return Adjacency()
    nodes = (packed >> np.uint64(NODE_BITS)).astype(np.uint32)
    ends = (packed & np.uint64(NODE_MASK)).astype(np.uint32)
    size = int(nodes[-1]) + 1
    keys, counts = np.unique(nodes, return_counts=True)
    if len(keys) * _SPARSE_BELOW < size:
        starts = np.concatenate(([0], np.cumsum(counts))).astype(np.uint32)
        return Adjacency(_array(starts), _array(ends), _array(keys))
    dense = np.zeros(size + 1, np.uint32)
    dense[keys.astype(np.int64) + 1] = counts
    return Adjacency(_array(np.cumsum(dense, dtype=np.uint32)), _array(ends))


def _array(values: Any) -> "array[int]":
    """The same numbers in an array whose items Python reads fastest."""
    made = array("I")
    made.frombytes(values.tobytes())
    return made
