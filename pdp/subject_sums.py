"""Who is behind a relation, written down as sums and terms, and worked out as sets of subjects.

Two passes, neither with recursion on data. `Downward` explores from a resource everything that a subject of a kind
can be found behind, and writes down for each relation met a `Sum`: subjects stored there, sums that it includes, and
*terms*, which are intersections, exclusions, ``.all()`` and what stands under an undecided caveat. `work_out` then
makes sets of them (`pdp.subject_sets`), operands before terms. A sum takes in all that it includes however deeply
nested, by a walk with a set of visited sums: the least fixpoint of a union is what can be reached. Only where data
leads from a term back to itself is there no order to work them out in.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple, TypeAlias, assert_never

from pdp.errors import WorkExceeded
from pdp.evaluate import Goal
from pdp.lookup import Lookup
from pdp.program import (
    AllRule,
    AnyRule,
    ArrowRule,
    ButNotRule,
    ComputedRule,
    DirectRule,
    RelationKey,
    Rule,
    SelfRule,
    SubjectType,
)
from pdp.relationships import WILDCARD, ObjectRef
from pdp.stores.protocol import Found, SubjectsRead
from pdp.subject_sets import (
    EVERY_SUBJECT,
    NO_SUBJECTS,
    Members,
    Reasons,
    SubjectSet,
    both_subjects,
    either_subjects,
    less_subjects,
)
from pdp.walk import Work

_IDS_A_STEP = 16
"""Ids that a set operation takes through in about the time of one step."""


class Sum:
    """Subjects that are in one of several things."""

    __slots__ = ("certain", "includes", "perhaps", "terms", "wild", "wild_perhaps")

    def __init__(self) -> None:
        self.certain: set[str] = set()
        self.perhaps: dict[str, Reasons] = {}
        self.wild = False
        self.wild_perhaps: Reasons = frozenset()
        self.includes: list[Sum] = []
        self.terms: list[Term] = []

    def only_includes(self) -> bool:
        """Whether it is no more than what it includes."""
        return not (self.certain or self.perhaps or self.wild or self.wild_perhaps or self.terms)


class Both(NamedTuple):
    """Subjects who are in all of the parts."""

    parts: tuple[Sum, ...]


class Less(NamedTuple):
    """Subjects of the base who are not subtracted."""

    base: Sum
    subtract: Sum


class Under(NamedTuple):
    """Subjects of a sum, under a condition that is not decided."""

    reasons: Reasons
    sum: Sum


class Every(NamedTuple):
    """Subjects who are behind every step; of none, nobody. None stands for a step with nobody behind it."""

    steps: list[Under | Sum | None]


Term: TypeAlias = Both | Less | Under | Every


class _Source(NamedTuple):
    """A read whose answers go ``into`` a sum, or are steps each: subjects, or (``follow``) that relation of each."""

    into: Sum | Every
    read: SubjectsRead
    follow: str | None


class Downward:
    """Sums of everything that a kind of subject can be found behind, explored with the means of a lookup."""

    def __init__(self, lookup: Lookup, subject: SubjectType) -> None:
        self._lookup = lookup
        self._rules = lookup.program.rules
        self._reach = lookup.program.reach
        self._subject = subject
        self._of: dict[Goal, Sum] = {}
        self._unopened: list[tuple[Goal, Sum]] = []
        self._sources: list[_Source] = []
        self.sums: list[Sum] = []

    def explore(self, goal: Goal) -> Work[Sum]:
        """Everything below a goal; its sum."""
        root = self._sum(goal) or self._new()
        waiting: list[_Source] = []
        while self._unopened or self._sources or waiting:
            if not self._unopened and not self._sources:
                yield from self._lookup.wait()
                self._sources, waiting = waiting, []
            while self._sources:
                source = self._sources.pop()
                found = self._lookup.read(source.read)
                if found is None:
                    waiting.append(source)
                else:
                    yield from self._take(source, found)
                yield 1
            while self._unopened:
                self._open(*self._unopened.pop())
                yield 1
        return root

    def _new(self) -> Sum:
        sum_ = Sum()
        self.sums.append(sum_)
        return sum_

    def _sum(self, goal: Goal) -> Sum | None:
        """The sum of a goal, to be explored; None where no such subject can ever be behind it."""
        if self._subject not in self._reach[RelationKey(goal.type, goal.relation)]:
            return None
        known = self._of.get(goal)
        if known is None:
            if len(self._of) >= self._lookup.goals_max:
                raise WorkExceeded(f"more than {self._lookup.goals_max} goals were opened without an answer")
            known = self._of[goal] = self._new()
            self._unopened.append((goal, known))
        return known

    def _open(self, goal: Goal, sum_: Sum) -> None:
        if self._subject == (goal.type, goal.relation):
            sum_.certain.add(goal.id)  # a userset holds itself
        self._add(self._rules[RelationKey(goal.type, goal.relation)], goal, sum_)

    def _add(self, rule: Rule, goal: Goal, sum_: Sum) -> None:
        """Include in the sum what the rule holds. Recurses on the schema's depth alone."""
        match rule:
            case DirectRule():
                self._add_direct(rule, goal, sum_)
            case ComputedRule(name):
                self._include(sum_, Goal(goal.type, goal.id, name))
            case ArrowRule():
                self._add_arrow(rule, goal, sum_)
            case SelfRule():
                if self._subject == (goal.type, ""):
                    sum_.certain.add(goal.id)
            case AnyRule(children):
                for child in children:
                    self._add(child, goal, sum_)
            case AllRule(children):
                sum_.terms.append(Both(tuple(self._part(child, goal) for child in children)))
            case ButNotRule(base, subtract):
                sum_.terms.append(Less(self._part(base, goal), self._part(subtract, goal)))
            case _:
                assert_never(rule)

    def _add_direct(self, rule: DirectRule, goal: Goal, sum_: Sum) -> None:
        resource = ObjectRef(goal.type, goal.id)
        if self._subject in rule.terminals:
            self._sources.append(_Source(sum_, SubjectsRead(resource, rule.relation, *self._subject), None))
        for userset in rule.usersets:
            if self._subject in self._reach[RelationKey(*userset)]:
                read = SubjectsRead(resource, rule.relation, *userset)
                self._sources.append(_Source(sum_, read, userset.relation))

    def _add_arrow(self, rule: ArrowRule, goal: Goal, sum_: Sum) -> None:
        resource = ObjectRef(goal.type, goal.id)
        if not rule.every:
            for slot in rule.slots:
                if self._subject in self._reach[RelationKey(slot.type, rule.computed)]:
                    read = SubjectsRead(resource, rule.tupleset, *slot)
                    self._sources.append(_Source(sum_, read, rule.computed))
            return
        every = Every([])
        sum_.terms.append(every)
        for slot in (*rule.slots, *rule.targetless):
            self._sources.append(_Source(every, SubjectsRead(resource, rule.tupleset, *slot), rule.computed))

    def _part(self, rule: Rule, goal: Goal) -> Sum:
        if isinstance(rule, ComputedRule):
            return self._sum(Goal(goal.type, goal.id, rule.relation)) or self._new()
        part = self._new()
        self._add(rule, goal, part)
        return part

    def _include(self, sum_: Sum, goal: Goal) -> None:
        included = self._sum(goal)
        if included is not None:
            sum_.includes.append(included)

    def _take(self, source: _Source, found: Sequence[Found]) -> Work[None]:
        into, read, follow = source
        if isinstance(into, Every):
            yield from self._take_steps(into, read.subject_type, follow or "", found)
            return
        certain, perhaps = yield from self._lookup.sort_out(found)
        if follow is None:
            into.certain.update(certain)
            yield from _gather(into.perhaps, perhaps)
            if WILDCARD in into.certain:
                into.certain.discard(WILDCARD)
                into.wild = True
            into.wild_perhaps |= into.perhaps.pop(WILDCARD, frozenset())
            return
        for id_ in certain:
            if id_ != WILDCARD:  # an arrow never follows a wildcard
                self._include(into, Goal(read.subject_type, id_, follow))
                yield 1
        for id_, reasons in perhaps:
            behind = self._sum(Goal(read.subject_type, id_, follow)) if id_ != WILDCARD else None
            if behind is not None:
                into.terms.append(Under(reasons, behind))
            yield 1

    def _take_steps(self, every: Every, type_: str, follow: str, found: Sequence[Found]) -> Work[None]:
        """A step for each that counts at the instant: a condition that is not met is a step that leads to nobody."""
        for one in found:
            yield 1
            if not self._lookup.counts(one) or (one.id == WILDCARD and (type_, follow) in self._rules):
                continue
            behind = self._sum(Goal(type_, one.id, follow)) if (type_, follow) in self._rules else None
            verdict = behind is not None and self._lookup.verdict(one)
            if behind is None or verdict is False:
                every.steps.append(None)
            elif verdict is True:
                every.steps.append(behind)
            else:
                every.steps.append(Under(self._lookup.because(verdict), behind))


def work_out(root: Sum) -> Work[SubjectSet | None]:
    """The set of a sum; None where something that it rests on rests on itself through a term."""
    operands = yield from _order(root)
    if operands is None:
        return None
    uses: dict[Sum, int] = {}
    for operand in chain.from_iterable(operands.values()):
        uses[operand] = uses.get(operand, 0) + 1
    values: dict[Sum, SubjectSet] = {}
    value = NO_SUBJECTS
    for sum_, below in operands.items():
        value = values[sum_] = yield from _value(sum_, values)
        for operand in below:
            uses[operand] -= 1
            if not uses[operand]:
                del values[operand]  # or a long chain would keep the set of every link
    return value


def _order(root: Sum) -> Work[dict[Sum, Sequence[Sum]] | None]:
    """The sums that are operands, with theirs, each after its own; None where they need each other."""
    operands: dict[Sum, Sequence[Sum]] = {}
    begun = {root}
    below = yield from _operands(root)
    walking = [(root, below, iter(below))]
    while walking:
        sum_, below, rest = walking[-1]
        operand = next(rest, None)
        if operand is None:
            walking.pop()
            operands[sum_] = below
        elif operand not in begun:
            begun.add(operand)
            below = yield from _operands(operand)
            walking.append((operand, below, iter(below)))
        elif operand not in operands:
            return None
    return operands


def _operands(sum_: Sum) -> Work[Sequence[Sum]]:
    operands: dict[Sum, None] = {}
    for included in (yield from _included(sum_)):
        for term in included.terms:
            operands.update(dict.fromkeys(_parts(term)))
            yield 1
    return tuple(operands)


def _included(sum_: Sum) -> Work[Sequence[Sum]]:
    """A sum and all that it includes, however deep."""
    if not sum_.includes:
        return (sum_,)
    seen = {sum_: None}
    walking = [sum_]
    while walking:
        for included in walking.pop().includes:
            if included not in seen:
                seen[included] = None
                walking.append(included)
        yield 1
    return tuple(seen)


def _value(sum_: Sum, values: Mapping[Sum, SubjectSet]) -> Work[SubjectSet]:
    certain: set[str] = set()
    perhaps: dict[str, Reasons] = {}
    sets: list[SubjectSet] = []
    for included in (yield from _included(sum_)):
        certain |= included.certain
        yield _steps(len(included.certain))
        yield from _gather(perhaps, included.perhaps.items())
        if included.wild:
            sets.append(EVERY_SUBJECT)
        elif included.wild_perhaps:
            sets.append(EVERY_SUBJECT.under(included.wild_perhaps))
        for term in included.terms:
            sets.append(_apply(term, values))
            yield _steps(sets[-1].members.size())
    sets += [SubjectSet(Members.of(certain)), SubjectSet(Members.perhaps(perhaps))]
    value = either_subjects(sets)
    yield _steps(value.members.size())
    return value


def _steps(ids: int) -> int:
    return ids // _IDS_A_STEP + 1


def _gather(into: dict[str, Reasons], perhaps: Iterable[tuple[str, Reasons]]) -> Work[None]:
    for position, (id_, reasons) in enumerate(perhaps):
        known = into.get(id_)
        into[id_] = reasons if known is None else known | reasons
        if not position % _IDS_A_STEP:
            yield 1


def _same(sum_: Sum) -> Sum:
    """The sum that one stands for, where including it is all that it does."""
    seen = {sum_}
    while len(sum_.includes) == 1 and sum_.only_includes():
        sum_ = sum_.includes[0]
        if sum_ in seen:
            break
        seen.add(sum_)
    return sum_


def _parts(term: Term) -> Iterator[Sum]:
    match term:
        case Both(parts):
            yield from map(_same, parts)
        case Less(base, subtract):
            yield _same(base)
            yield _same(subtract)
        case Under(_, sum_):
            yield _same(sum_)
        case Every(steps):
            for step in steps:
                if step is not None:
                    yield _same(step.sum if isinstance(step, Under) else step)
        case _:
            assert_never(term)


def _apply(term: Term, values: Mapping[Sum, SubjectSet]) -> SubjectSet:
    match term:
        case Both(parts):
            return both_subjects([values[_same(part)] for part in parts])
        case Less(base, subtract):
            return less_subjects(values[_same(base)], values[_same(subtract)])
        case Under(reasons, sum_):
            return values[_same(sum_)].under(reasons)
        case Every(steps):
            sets = []
            for step in steps:
                if step is None:
                    return NO_SUBJECTS
                sets.append(_apply(step, values) if isinstance(step, Under) else values[_same(step)])
            return both_subjects(sets) if sets else NO_SUBJECTS
        case _:
            assert_never(term)
