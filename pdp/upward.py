"""A schema read backwards, for one question: by which steps can a subject of a kind come to a permission of a type.

A *place* is a relation of a type, or a part of one that stands under an intersection or an exclusion. A `Plan` says
for each place where a subject is found in it at once (`Start`), and how one comes from it to the next: on the same
object (`Lift`) or through relationships, met from their subject's end (`Step`). Whoever comes by sure lifts and steps
alone has the permission; by others he may. Of an intersection one part leads on, of an exclusion the base: the places
from where these lead are ``searched``, and what the other parts hold is asked afterwards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, assert_never

from pdp.program import (
    AllRule,
    AnyRule,
    ArrowRule,
    ButNotRule,
    ComputedRule,
    DirectRule,
    Program,
    RelationKey,
    Rule,
    SelfRule,
    SubjectType,
)
from pdp.table import Table

Place: TypeAlias = int

_PLANS_KEPT = 256
_WILDCARD_WEIGHT = 1_000
"""A wildcard may stand on every object there is: of an intersection's parts, one without leads on."""


class Start(NamedTuple):
    """The subject, and with ``wildcard`` also ``*``, is looked for as the subject of ``relation``."""

    relation: str
    wildcard: bool


class Lift(NamedTuple):
    """To another place of the same object."""

    into: Place
    sure: bool


class Step(NamedTuple):
    """To objects on which this one (with ``subject_relation``, its userset) stands in ``relation``."""

    into: Place
    subject_relation: str
    relation: str
    sure: bool


class Arrival(NamedTuple):
    """A step, seen from where it ends."""

    origin: Place
    step: Step


class Both(NamedTuple):
    """What is in all of the parts."""

    parts: tuple[Place, ...]


class Less(NamedTuple):
    """What is in the base and not subtracted."""

    base: Place
    subtract: Place


@dataclass(slots=True)
class Spot:
    """What there is at a place, and where one comes from it.

    ``here``: the subject itself, as an object or as a userset, is in it. ``every``: an ``.all()`` arrow ends in it,
    so that only a look down from its objects can tell.
    """

    type: str
    starts: list[Start] = field(default_factory=list)
    lifted: list[Place] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    terms: list[Both | Less] = field(default_factory=list)
    here: bool = False
    every: bool = False
    lifts: list[Lift] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def inputs(self) -> Iterator[Place]:
        """The places that it consists of."""
        yield from self.lifted
        yield from (arrival.origin for arrival in self.arrivals)
        for term in self.terms:
            yield from term.parts if isinstance(term, Both) else term

    @property
    def nothing(self) -> bool:
        """Whether nobody can be in it."""
        return not (self.starts or self.lifted or self.arrivals or self.terms or self.here)


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module. ``order`` has the places by component, what they consist of before them."""

    target: Place
    spots: Sequence[Spot]
    searched: frozenset[Place]
    order: Sequence[Sequence[Place]]

    @property
    def places(self) -> frozenset[Place]:
        """All places that the target consists of."""
        return frozenset(place for component in self.order for place in component)

    def recursive(self, component: Sequence[Place]) -> bool:
        """Whether its places consist of each other."""
        return len(component) > 1 or component[0] in self.spots[component[0]].inputs()


class _Key(NamedTuple):
    program: int
    target: RelationKey
    subject: SubjectType


_kept: dict[_Key, tuple[Program, Plan]] = {}


def plan_for(program: Program, target: RelationKey, subject: SubjectType) -> Plan | None:
    """The plan of a question, kept for a number of them; None where no such subject can ever have the permission."""
    if subject not in program.reach[target]:
        return None
    key = _Key(id(program), target, subject)
    known = _kept.get(key)
    if known is None or known[0] is not program:
        if len(_kept) >= _PLANS_KEPT:
            del _kept[next(iter(_kept))]
        known = _kept[key] = (program, _Planner(program, subject).plan(target))
    return known[1]


class _Planner:
    def __init__(self, program: Program, subject: SubjectType) -> None:
        self._program = program
        self._subject = subject
        self._spots: list[Spot] = []
        self._places: dict[RelationKey, Place] = {}
        self._unread: list[RelationKey] = []

    def plan(self, target: RelationKey) -> Plan:
        place = self._place(target)
        while self._unread:
            key = self._unread.pop()
            if self._subject == SubjectType(*key):
                self._spots[self._places[key]].here = True  # a userset holds itself
            self._add(self._program.rules[key], key, self._places[key])
        inputs = self._behind(place, [[*spot.inputs()] for spot in self._spots])
        searched = self._behind(place, self._lead())
        return Plan(place, self._spots, frozenset(searched), list(Table.components(inputs)))

    def _lead(self) -> list[list[Place]]:
        """Decide which part of each term leads on; the places that lead to each place."""
        leads = [[*spot.lifted, *(arrival.origin for arrival in spot.arrivals)] for spot in self._spots]
        for place, spot in enumerate(self._spots):
            for term in spot.terms:
                lead = min(term.parts, key=self._weight) if isinstance(term, Both) else term.base
                leads[place].append(lead)
                self._spots[lead].lifts.append(Lift(place, sure=False))
        return leads

    def _weight(self, place: Place) -> int:
        """How much there may be to search before one comes to a place, very roughly."""
        weight = 0
        for behind in self._behind(place, [[*spot.inputs()] for spot in self._spots]):
            spot = self._spots[behind]
            weight += len(spot.arrivals) + _WILDCARD_WEIGHT * sum(start.wildcard for start in spot.starts)
        return weight

    @staticmethod
    def _behind(place: Place, inputs: Sequence[Sequence[Place]]) -> dict[Place, Sequence[Place]]:
        """The places that one can be reached from, itself included, each with its inputs."""
        behind = {place: inputs[place]}
        walking = [place]
        while walking:
            for origin in inputs[walking.pop()]:
                if origin not in behind:
                    behind[origin] = inputs[origin]
                    walking.append(origin)
        return behind

    def _new(self, type_: str) -> Place:
        self._spots.append(Spot(type_))
        return len(self._spots) - 1

    def _place(self, key: RelationKey) -> Place:
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._new(key.type)
            self._unread.append(key)
        return place

    def _reaches(self, key: RelationKey) -> bool:
        return self._subject in self._program.reach[key]

    def _add(self, rule: Rule, key: RelationKey, place: Place) -> None:
        """Make the rule a way into the place. Recurses on the schema's depth alone."""
        spot = self._spots[place]
        match rule:
            case DirectRule():
                self._add_direct(rule, place)
            case ComputedRule(relation):
                self._lift(RelationKey(key.type, relation), place)
            case ArrowRule(tupleset, computed, every, slots):
                spot.every = spot.every or every
                for slot in slots:
                    self._step(RelationKey(slot.type, computed), Step(place, slot.relation, tupleset, not every))
            case SelfRule():
                spot.here = spot.here or self._subject == (key.type, "")
            case AnyRule(children):
                for child in children:
                    self._add(child, key, place)
            case AllRule(children):
                parts = [self._part(child, key) for child in children]
                whole = tuple(part for part in parts if part is not None)
                if len(whole) == len(parts):
                    spot.terms.append(Both(whole))
            case ButNotRule(base, subtract):
                kept, taken = self._part(base, key), self._part(subtract, key)
                if kept is not None and taken is not None:
                    spot.terms.append(Less(kept, taken))
                elif kept is not None:
                    self._add(base, key, place)
            case _:
                assert_never(rule)

    def _add_direct(self, rule: DirectRule, place: Place) -> None:
        if self._subject in rule.terminals:
            wildcard = not self._subject.relation and self._subject.type in rule.wildcards
            self._spots[place].starts.append(Start(rule.relation, wildcard))
        for userset in rule.usersets:
            self._step(RelationKey(*userset), Step(place, userset.relation, rule.relation, sure=True))

    def _part(self, rule: Rule, key: RelationKey) -> Place | None:
        """A place for a rule of its own; None where nobody can be in it."""
        if isinstance(rule, ComputedRule):
            named = RelationKey(key.type, rule.relation)
            return self._place(named) if self._reaches(named) else None
        part = self._new(key.type)
        self._add(rule, key, part)
        return None if self._spots[part].nothing else part

    def _lift(self, origin: RelationKey, into: Place) -> None:
        if self._reaches(origin):
            place = self._place(origin)
            self._spots[place].lifts.append(Lift(into, sure=True))
            self._spots[into].lifted.append(place)

    def _step(self, origin: RelationKey, step: Step) -> None:
        if self._reaches(origin):
            place = self._place(origin)
            self._spots[place].steps.append(step)
            self._spots[step.into].arrivals.append(Arrival(place, step))
