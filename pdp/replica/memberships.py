"""The usersets that hold a subject, found by walking upward and kept until a change touches them.

Only for kinds made of unions alone, over relationships that always count; else there is nothing that could be kept.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from pdp.program import ArrowRule, ComputedRule, DirectRule, RelationKey
from pdp.replica.ids import WILDCARD_NODE
from pdp.replica.kinds import KindGraph, parts
from pdp.replica.replica import Replica
from pdp.replica.slots import Slot, SlotKey

_NODES_MAX = 20_000
"""A subject in more usersets than this is answered by walking down instead."""
_SUBJECTS_MAX = 200_000

Sets = frozenset[int]


class _Step(NamedTuple):
    """Upward from a kind: through a slot's reverse rows, or (``slot`` None) on the same node, to ``into``."""

    slot: Slot | None
    into: RelationKey


class Memberships:
    """For one kind of subject: which nodes of a kind hold it."""

    def __init__(self, kinds: KindGraph, replica: Replica) -> None:
        self._graph = kinds
        self._replica = replica
        self._kinds: dict[RelationKey, _KindMemberships] = {}

    def of(self, kind: RelationKey) -> tuple[Mapping[int, Sets | None], Callable[[int], Sets | None]]:
        """The nodes of the kind that hold a subject's node: what is known, and a function that learns it.

        None stands where it cannot be kept: conditions on the way, or too many of them.
        """
        if kind not in self._kinds:
            self._kinds[kind] = _KindMemberships(self._graph, self._replica, kind)
        return self._kinds[kind].known, self._kinds[kind].learn

    def take_over(self, previous: "Memberships") -> None:
        """Know what another one, of the same kinds over the same relationships, knows."""
        for kind, before in previous._kinds.items():
            self.of(kind)
            self._kinds[kind].known = before.known

    def forget(self, slot: SlotKey, subject: int) -> None:
        """A relationship of this slot with this subject changed."""
        for memberships in self._kinds.values():
            memberships.forget(slot, subject)


class _KindMemberships:
    def __init__(self, kinds: KindGraph, replica: Replica, kind: RelationKey) -> None:
        self._graph = kinds
        self._kind = kind
        self._subject = kinds.subject
        self.known: dict[int, Sets | None] = {}
        # where the subject itself is stored, and the steps upward from there, only through what leads to the kind
        self._starts: list[_Step] = []
        self._starts_wild: list[_Step] = []
        self._steps: dict[RelationKey, list[_Step]] = {}
        self._slots: set[SlotKey] = set()
        self._direct: set[SlotKey] = set()
        below = {kind}
        walking = [kind]
        while walking:
            into = walking.pop()
            for source in self._sources(replica, into):
                if source not in below:
                    below.add(source)
                    walking.append(source)

    def _sources(self, replica: Replica, into: RelationKey) -> Iterator[RelationKey]:
        """Note the steps that end in a kind; gives the kinds that they come from."""
        for part in parts(self._graph.program.rules[into]):
            found: list[tuple[RelationKey, Slot | None]] = []
            match part:
                case DirectRule(relation, terminals, wildcards, usersets):
                    if self._subject in terminals:
                        slot = replica.slot(SlotKey(into.type, relation, *self._subject))
                        self._direct.add(slot.key)
                        self._starts.append(_Step(slot, into))
                        if not self._subject.relation and self._subject.type in wildcards:
                            self._starts_wild.append(_Step(slot, into))
                    found = [
                        (RelationKey(*userset), replica.slot(SlotKey(into.type, relation, *userset)))
                        for userset in usersets
                    ]
                case ComputedRule(relation):
                    found = [(RelationKey(into.type, relation), None)]
                case ArrowRule(tupleset, computed, _, slots):
                    found = [
                        (RelationKey(kind.type, computed), replica.slot(SlotKey(into.type, tupleset, *kind)))
                        for kind in slots
                    ]
            yield from (self._step(source, via, into) for source, via in found if self._graph.holds(source))

    def _step(self, source: RelationKey, slot: Slot | None, into: RelationKey) -> RelationKey:
        self._steps.setdefault(source, []).append(_Step(slot, into))
        if slot is not None:
            self._slots.add(slot.key)
        return source

    def learn(self, subject: int) -> Sets | None:
        """Find the nodes of the kind that hold the subject, and keep them."""
        if len(self.known) >= _SUBJECTS_MAX:
            self.known.clear()
        sets = self.known[subject] = self._walk(subject)
        return sets

    def _walk(self, subject: int) -> Sets | None:
        seen: set[tuple[RelationKey, int]] = set()
        walking: list[tuple[RelationKey, int]] = []
        if self._subject.relation and subject >= 0:
            itself = (RelationKey(*self._subject), subject)
            seen.add(itself)
            walking.append(itself)
        starts = [(step, subject) for step in self._starts] + [(step, WILDCARD_NODE) for step in self._starts_wild]
        while starts or walking:
            if starts:
                step, node = starts.pop()
                steps = [step]
            else:
                kind, node = walking.pop()
                steps = self._steps.get(kind, [])
            for slot, into in steps:
                if slot is None:
                    nodes: Iterable[int] = (node,)
                else:
                    if slot.conditions:
                        return None
                    nodes = slot.reverse.row(node) if node >= 0 else ()
                for found in nodes:
                    if (into, found) not in seen:
                        seen.add((into, found))
                        walking.append((into, found))
            if len(seen) > _NODES_MAX:
                return None
        return frozenset(node for kind, node in seen if kind == self._kind)

    def forget(self, slot: SlotKey, subject: int) -> None:
        """A changed relationship of the subject itself touches that subject alone; of a userset, all below it."""
        if slot in self._slots or (slot in self._direct and subject == WILDCARD_NODE):
            self.known.clear()
        elif slot in self._direct:
            self.known.pop(subject, None)
