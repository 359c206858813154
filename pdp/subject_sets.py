"""Sets of subjects in three values, with wildcards: the algebra that lookups are computed in.

`Members` says of every id whether it is in for certain, out, or undecided and for which reasons. A set may hold
everybody but some: its parts are `Ids`, finite or the complement of something finite, and all operations are set
operations on these. Two bounds are kept, what is certain and what is possible; a union takes the unions of the
bounds, an intersection the intersections, and a difference takes away from what is certain all that is possibly
subtracted, and the other way round. That is Kleene's logic, id by id. The reasons of an undecided id are those of
every operand that is undecided for it: the same atoms that a check's answer names.

So, with X and Y finite: ``(*∖X) ∪ (*∖Y) = *∖(X∩Y)``, ``(*∖X) ∖ (*∖Y) = Y∖X``, ``C ∖ (*∖Y) = C∩Y``, and so on.
A `SubjectSet` also knows who was found by name beside a wildcard, since a list shows them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple, TypeAlias

from pdp.evaluate import Unknown

Reasons: TypeAlias = frozenset[Unknown]

_NO_IDS: Final[frozenset[str]] = frozenset()
NO_REASONS: Final[Reasons] = frozenset()


class Ids(NamedTuple):
    """These ids, or (``all_but``) all others."""

    ids: Set[str] = _NO_IDS
    all_but: bool = False

    def has(self, id_: str) -> bool:
        """Whether it is one of them."""
        return (id_ in self.ids) is not self.all_but


NONE: Final = Ids()
ALL: Final = Ids(_NO_IDS, all_but=True)


def union(sets: Iterable[Ids]) -> Ids:
    """All that is in one of them. Time linear in what they name."""
    inside: list[Set[str]] = []
    outside: list[Set[str]] = []
    for ids, all_but in sets:
        (outside if all_but else inside).append(ids)
    if not outside:
        return Ids(inside[0] if len(inside) == 1 else _NO_IDS.union(*inside))
    outside.sort(key=len)
    excepted = frozenset(outside[0])
    if len(outside) > 1:
        excepted = excepted.intersection(*outside[1:])
    return Ids(excepted.difference(*inside) if inside else excepted, all_but=True)


def intersection(sets: Iterable[Ids]) -> Ids:
    """All that is in each of them."""
    ids, all_but = union(Ids(ids, not all_but) for ids, all_but in sets)
    return Ids(ids, not all_but)


def difference(base: Ids, subtract: Ids) -> Ids:
    """All that is in the one and not in the other."""
    return intersection((base, Ids(subtract.ids, not subtract.all_but)))


@dataclass(frozen=True, slots=True)
class Members:
    """Who is in, who may be.

    ``possible`` holds all of ``certain``, and is the same object where nothing is undecided. ``reasons`` has an
    entry for every undecided id, but that those without one share ``everyone``'s, where everybody is undecided.
    """

    certain: Ids = NONE
    possible: Ids = NONE
    reasons: Mapping[str, Reasons] = field(default_factory=dict)
    everyone: Reasons = NO_REASONS

    @staticmethod
    def of(ids: Set[str]) -> "Members":
        """These, for certain."""
        certain = Ids(ids)
        return Members(certain, certain)

    @staticmethod
    def perhaps(reasons: Mapping[str, Reasons]) -> "Members":
        """These, each if its reasons turn out well."""
        return Members(NONE, Ids(reasons.keys()), reasons) if reasons else NOBODY

    @property
    def decided(self) -> bool:
        """Whether nothing is undecided."""
        return self.possible is self.certain

    @property
    def empty(self) -> bool:
        """Whether nobody can be in."""
        return not self.possible.ids and not self.possible.all_but

    def undecided(self, id_: str) -> bool:
        """Whether an id may or may not be in."""
        return self.possible.has(id_) and not self.certain.has(id_)

    def why(self, id_: str) -> Reasons:
        """The reasons of an id; none where it is decided."""
        return self.reasons.get(id_, self.everyone) if self.undecided(id_) else NO_REASONS

    @property
    def everyone_undecided(self) -> bool:
        """Whether an id that nothing names may or may not be in."""
        return self.possible.all_but and not self.certain.all_but

    def size(self) -> int:
        """How many ids it names, about: what an operation on it costs."""
        return len(self.certain.ids) + (0 if self.decided else len(self.possible.ids) + len(self.reasons))

    def under(self, reasons: Reasons) -> "Members":
        """The same people, each only if the reasons turn out well too."""
        if self.empty:
            return NOBODY
        certain, possible = self.certain, self.possible
        joined = {id_: own | reasons for id_, own in self.reasons.items()}
        if not certain.all_but:
            joined = {**dict.fromkeys(certain.ids, reasons), **joined}
        return Members(NONE, possible, joined, self.everyone | reasons if possible.all_but else NO_REASONS)


NOBODY: Final = Members()
EVERYBODY: Final = Members(ALL, ALL)


def either(sets: Sequence[Members]) -> Members:
    """In one of the sets."""
    sets = [each for each in sets if not each.empty]
    if len(sets) < 2:
        return sets[0] if sets else NOBODY
    certain = union(each.certain for each in sets)
    if all(each.decided for each in sets):
        return Members(certain, certain)
    return _join(certain, union(each.possible for each in sets), sets)


def both(sets: Sequence[Members]) -> Members:
    """In all of the sets."""
    certain = intersection(each.certain for each in sets)
    if all(each.decided for each in sets):
        return Members(certain, certain)
    return _join(certain, intersection(each.possible for each in sets), sets)


def less(base: Members, subtract: Members) -> Members:
    """In the one and not in the other."""
    certain = difference(base.certain, subtract.possible)
    if base.decided and subtract.decided:
        return Members(certain, certain)
    return _join(certain, difference(base.possible, subtract.certain), (base, subtract))


def _join(certain: Ids, possible: Ids, operands: Sequence[Members]) -> Members:
    """Members between two bounds, each undecided one with the reasons of all operands undecided for it."""
    everyone = NO_REASONS
    if possible.all_but and not certain.all_but:
        everyone = everyone.union(*(each.everyone for each in operands if each.everyone_undecided))
        named = _NO_IDS.union(*(chain(each.reasons, each.certain.ids, each.possible.ids) for each in operands))
        undecided: Set[str] = named - certain.ids - possible.ids
    elif certain.all_but:
        undecided = certain.ids - possible.ids
    else:
        undecided = possible.ids - certain.ids
    if not undecided and not everyone:
        return Members(certain, certain)
    return Members(certain, possible, _merge(undecided, operands), everyone)


def _merge(undecided: Set[str], operands: Sequence[Members]) -> dict[str, Reasons]:
    merged: dict[str, Reasons] = {}
    for each in operands:
        told = each.reasons
        if each.everyone_undecided:
            own = {id_: told.get(id_, each.everyone) for id_ in undecided if each.undecided(id_)}
        elif len(told) <= len(undecided) and told.keys() <= undecided:
            own = dict(told)
        else:
            own = {id_: told[id_] for id_ in undecided & told.keys()}
        for id_ in merged.keys() & own.keys():
            own[id_] |= merged[id_]
        merged = {**merged, **own} if merged else own
    return merged


class SubjectSet(NamedTuple):
    """Subjects of one kind. What they are is ``members``; the rest is how a list shows them beside a wildcard.

    Where everybody is possible, ``named`` are those found by name as well, and ``docked`` those whom a wildcard may
    not cover since something was taken from it; elsewhere both are empty.
    """

    members: Members = NOBODY
    named: Set[str] = _NO_IDS
    docked: Set[str] = _NO_IDS

    @property
    def wild(self) -> bool:
        """Whether everybody is possible."""
        return self.members.possible.all_but

    def names(self) -> Set[str]:
        """All that were found by name."""
        return self.named if self.wild else self.members.possible.ids

    def lacking(self) -> Set[str]:
        """Those who have less than everybody has."""
        if not self.wild:
            return _NO_IDS
        members = self.members
        return members.possible.ids | members.reasons.keys() | self.docked

    def under(self, reasons: Reasons) -> "SubjectSet":
        """The same people under a condition that is not decided."""
        return self._replace(members=self.members.under(reasons))


NO_SUBJECTS: Final = SubjectSet()
EVERY_SUBJECT: Final = SubjectSet(EVERYBODY)


def either_subjects(sets: Collection[SubjectSet]) -> SubjectSet:
    """In one of the sets."""
    members = either([each.members for each in sets])
    if not members.possible.all_but:
        return SubjectSet(members)
    named = _NO_IDS.union(*(each.names() for each in sets))
    return SubjectSet(members, named, _NO_IDS.union(*(each.docked for each in sets)))


def both_subjects(sets: Collection[SubjectSet]) -> SubjectSet:
    """In all of the sets: by name who was found by name in one of them."""
    members = both([each.members for each in sets])
    if not members.possible.all_but:
        return SubjectSet(members)
    named = _NO_IDS.union(*(each.names() for each in sets))
    return SubjectSet(members, named, _NO_IDS.union(*(each.lacking() for each in sets)))


def less_subjects(base: SubjectSet, subtract: SubjectSet) -> SubjectSet:
    """In the one and not in the other. Who is left of a wildcard less another stands by name."""
    members = less(base.members, subtract.members)
    if not members.possible.all_but:
        return SubjectSet(members)
    taken = subtract.members
    return SubjectSet(members, base.named, base.docked | taken.possible.ids | taken.reasons.keys())
