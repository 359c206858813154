"""What every answer means, said slowly: the truth that the engine is held against. It shares no code with it.

**Questions and values.** A goal asks whether a subject has a relation on a resource. Its value is one of `Kind`:
has, lacks, conditional (on named parameters that were not given), failed (a caveat that could not be evaluated) or
paradox (the goal depends on its own negation).

**Equations.** Each goal, and each part of a rewrite, equals any of, all of, or one-but-not-the-other of further goals
and of *facts* (a relationship that counts at the instant, with its caveat's verdict). `Oracle._meaning` is the whole
language on a page. What it fixes:

* A userset is always a member of itself: ``group:x#member`` has ``member`` on ``group:x``, without any relationship.
* A wildcard ``user:*`` stands for subjects of exactly that type without a relation, never for usersets.
* An arrow walks from a relationship to its subject's object, whatever the subject's relation, never to a wildcard;
  the relationship's caveat conditions the step. A type without the target holds nobody: ``->`` passes it by, and
  makes ``.all()`` false, as does an empty tupleset.
* A relationship counts from ``valid_from`` on and no longer from ``expires_at`` on; one that does not count is as
  if it had never been written.

**Solutions.** The well-founded model (Van Gelder, "The Alternating Fixpoint of Logic Programs with Negation",
1993): from a set of what is certainly true follows, by a least fixpoint, what is possibly true, namely all that does
not need the negation of something certain; and from what is possibly true follows what is certainly true. The two
alternate until they stand still. So positive cycles support nothing, and a cycle through a negation stays undecided;
what is subtracted is an equation of its own, hence giving a part of a rewrite a name changes nothing. A fact whose
caveat is not decided is possible and not certain.

**Reasons.** What is possible but not certain is undecided. Its reasons are all undecided facts that it reaches
through undecided equations alone: the rest was decided without them. Missing parameters outrank a failure, since
giving them may decide the answer yet, and a failure outranks a paradox.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias, assert_never

from pdp.relationships import WILDCARD, Instant, ObjectRef, Relationship, SubjectRef
from schema.model import (
    ComputedUserset,
    Exclusion,
    Intersection,
    Nil,
    Rewrite,
    Schema,
    SelfSubject,
    This,
    TupleToUserset,
    Union,
)


class Kind(Enum):
    """What can come of a question."""

    HAS = "has"
    LACKS = "lacks"
    CONDITIONAL = "conditional"
    FAILED = "failed"
    PARADOX = "paradox"


class Verdict(NamedTuple):
    """A value: for a goal any kind, for a caveat any kind but a paradox. ``missing`` only where conditional."""

    kind: Kind
    missing: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.kind.value} {sorted(self.missing)}" if self.missing else self.kind.value


HAS = Verdict(Kind.HAS)
LACKS = Verdict(Kind.LACKS)
FAILED = Verdict(Kind.FAILED)
PARADOX = Verdict(Kind.PARADOX)


def conditional(*missing: str) -> Verdict:
    """Undecided for want of these parameters."""
    return Verdict(Kind.CONDITIONAL, frozenset(missing))


Valuation: TypeAlias = Callable[[Relationship], Verdict]


class Goal(NamedTuple):
    """Has the subject this relation on this resource?"""

    resource: ObjectRef
    relation: str
    subject: SubjectRef


class Part(NamedTuple):
    """A piece of the goal's rewrite, asked for the goal's subject."""

    goal: Goal
    rewrite: Rewrite


class Fact(NamedTuple):
    """A relationship counts, as far as its caveat goes."""

    relationship: Relationship


class Step(NamedTuple):
    """A relationship counts and leads on to a goal (``None``: to nobody)."""

    relationship: Relationship
    goal: Goal | None


Point: TypeAlias = Goal | Part | Fact | Step


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when one of the points is; of none, false."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """True when every point is; of none, true."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class ButNot:
    """True when the base is and what is subtracted is not."""

    base: Point
    subtract: Point


@dataclass(frozen=True, slots=True)
class Given:
    """Decided from outside: by a caveat."""

    verdict: Verdict


Equation: TypeAlias = AnyOf | AllOf | ButNot | Given

EPOCH = Instant(0)
TRUE = AllOf(())
FALSE = AnyOf(())


class Oracle:
    """Answers over one schema and one set of relationships at one instant."""

    def __init__(
        self,
        schema: Schema,
        relationships: Iterable[Relationship],
        *,
        instant: Instant = EPOCH,
        valuation: Valuation = lambda _: HAS,
    ) -> None:
        self._schema = schema
        self._valuation = valuation
        self._stored: dict[tuple[ObjectRef, str], list[Relationship]] = {}
        self._objects: set[ObjectRef] = set()
        for relationship in relationships:
            if not relationship.counts_at(instant):
                continue
            self._stored.setdefault((relationship.resource, relationship.relation), []).append(relationship)
            self._objects |= {relationship.resource, ObjectRef(relationship.subject_type, relationship.subject_id)}

    # What each goal means

    def _meaning(self, point: Point) -> Equation:
        match point:
            case Goal(resource, relation, subject) if subject == (*resource, relation):
                return TRUE
            case Goal(resource, relation):
                return AnyOf((Part(point, self._schema.definitions[resource.type].relations[relation].rewrite),))
            case Part(goal, rewrite):
                return self._rewrite(goal, rewrite)
            case Step(relationship, ahead):
                return AllOf((Fact(relationship), ahead)) if ahead else FALSE
            case Fact(relationship):
                return Given(self._valuation(relationship)) if relationship.caveat_name else TRUE

    def _rewrite(self, goal: Goal, rewrite: Rewrite) -> Equation:
        match rewrite:
            case Nil():
                return FALSE
            case SelfSubject():
                return TRUE if goal.subject == (*goal.resource, "") else FALSE
            case This():
                return AnyOf(tuple(self._this(goal)))
            case ComputedUserset(relation):
                return AnyOf((Goal(goal.resource, relation, goal.subject),))
            case TupleToUserset(tupleset, computed, quantifier):
                steps = tuple(
                    Step(relationship, self._on(relationship, computed, goal.subject))
                    for relationship in self._stored.get((goal.resource, tupleset), ())
                    if relationship.subject_id != WILDCARD
                )
                return AllOf(steps) if quantifier == "all" and steps else AnyOf(steps)
            case Union(children):
                return AnyOf(tuple(Part(goal, child) for child in children))
            case Intersection(children):
                return AllOf(tuple(Part(goal, child) for child in children))
            case Exclusion(base, subtract):
                return ButNot(Part(goal, base), Part(goal, subtract))
            case _:
                assert_never(rewrite)

    def _this(self, goal: Goal) -> Iterable[Point]:
        for relationship in self._stored.get((goal.resource, goal.relation), ()):
            found = relationship.subject
            if found in (goal.subject, SubjectRef(goal.subject.type, WILDCARD, goal.subject.relation)):
                yield Fact(relationship)
            elif found.relation:
                yield Step(relationship, self._on(relationship, found.relation, goal.subject))

    def _on(self, relationship: Relationship, relation: str, subject: SubjectRef) -> Goal | None:
        definition = self._schema.definitions.get(relationship.subject_type)
        if definition is None or relation not in definition.relations:
            return None
        return Goal(ObjectRef(relationship.subject_type, relationship.subject_id), relation, subject)

    # What follows from it

    def check(self, resource: ObjectRef, relation: str, subject: SubjectRef) -> Verdict:
        """Whether the subject has the relation or permission on the resource."""
        return self.check_all([Goal(resource, relation, subject)])[0]

    def check_all(self, goals: Sequence[Goal]) -> list[Verdict]:
        """The same for many goals, with the work shared."""
        model = _Model(self._equations(goals))
        return [model.verdict(goal) for goal in goals]

    def _equations(self, goals: Iterable[Goal]) -> dict[Point, Equation]:
        equations: dict[Point, Equation] = {}
        ahead: list[Point] = list(goals)
        while ahead:
            point = ahead.pop()
            if point not in equations:
                equations[point] = self._meaning(point)
                ahead.extend(_points(equations[point]))
        return equations

    # Lists: every candidate, one by one

    def lookup_resources(self, type_: str, relation: str, subject: SubjectRef) -> dict[str, Verdict]:
        """Ids of all resources on which the subject does not lack the relation.

        An object that no relationship names can only be found when it is the subject's own.
        """
        ids = sorted({id_ for type_found, id_ in (*self._objects, subject[:2]) if type_found == type_} - {WILDCARD})
        goals = [Goal(ObjectRef(type_, id_), relation, subject) for id_ in ids]
        return {id_: verdict for id_, verdict in zip(ids, self.check_all(goals), strict=True) if verdict != LACKS}

    def lookup_subjects(
        self, resource: ObjectRef, relation: str, type_: str, subject_relation: str = ""
    ) -> dict[str, Verdict]:
        """Every subject named anywhere, those who lack the relation included, and under ``*`` everybody else.

        Usersets have no ``*``: none but themselves and those named can be members. Which ids come as rows of their
        own and which as exclusions from ``*`` is not told; `read_subjects` brings such an answer into this form.
        """
        ids = {id_ for type_found, id_ in (*self._objects, resource) if type_found == type_} - {WILDCARD}
        nobody = next(name for name in map("nobody{}".format, range(len(ids) + 1)) if name not in ids)
        asked = [*sorted(ids), *([] if subject_relation else [nobody])]
        goals = [Goal(resource, relation, SubjectRef(type_, id_, subject_relation)) for id_ in asked]
        verdicts = dict(zip(asked, self.check_all(goals), strict=True))
        return {(WILDCARD if id_ == nobody else id_): verdict for id_, verdict in verdicts.items()}


class _Model:
    """The well-founded model of a closed set of equations."""

    def __init__(self, equations: Mapping[Point, Equation]) -> None:
        self._equations = equations
        self._parents: dict[Point, list[Point]] = {point: [] for point in equations}
        for point, equation in equations.items():
            for child in _points(equation):
                self._parents[child].append(point)
        certain: set[Point] = set()
        settled = False
        while not settled:
            before = certain
            possible = self._least_fixpoint(certain, undecided_facts=True)
            certain = self._least_fixpoint(possible, undecided_facts=False)
            settled = certain in (before, possible)
        self._certain = certain
        self._undecided = possible - certain

    def _least_fixpoint(self, against: set[Point], *, undecided_facts: bool) -> set[Point]:
        """What follows when exactly the points not in ``against`` may be relied on to be false."""
        true: set[Point] = set()

        def follows(equation: Equation) -> bool:
            match equation:
                case AnyOf(points):
                    return any(point in true for point in points)
                case AllOf(points):
                    return all(point in true for point in points)
                case ButNot(base, subtract):
                    return base in true and subtract not in against
                case Given(verdict):
                    return verdict == HAS or (undecided_facts and verdict != LACKS)

        ahead = [point for point, equation in self._equations.items() if follows(equation)]
        while ahead:
            point = ahead.pop()
            if point not in true:
                true.add(point)
                ahead.extend(parent for parent in self._parents[point] if follows(self._equations[parent]))
        return true

    def verdict(self, point: Point) -> Verdict:
        if point in self._certain:
            return HAS
        if point not in self._undecided:
            return LACKS
        reasons = self._reasons(point)
        missing = frozenset[str]().union(*(reason.missing for reason in reasons))
        if missing:
            return Verdict(Kind.CONDITIONAL, missing)
        return FAILED if reasons else PARADOX

    def _reasons(self, point: Point) -> set[Verdict]:
        reasons = set()
        seen = {point}
        ahead = [point]
        while ahead:
            equation = self._equations[ahead.pop()]
            if isinstance(equation, Given):
                reasons.add(equation.verdict)
            further = {child for child in _points(equation) if child in self._undecided} - seen
            seen |= further
            ahead.extend(further)
        return reasons


def _points(equation: Equation) -> tuple[Point, ...]:
    match equation:
        case AnyOf(points) | AllOf(points):
            return points
        case ButNot(base, subtract):
            return (base, subtract)
        case Given():
            return ()
