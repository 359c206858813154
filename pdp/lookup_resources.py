"""Every resource of a type on which a subject has a permission.

The search goes upward from the subject, from userset to userset and from object to object, by the steps of a `Plan`;
the number of round trips is the depth of the graph, and what lies beside the way is never read. What is come by
unions alone is an answer at once. What is come by the leading part of an intersection or an exclusion, or under an
undecided caveat, may be one: a few of these are decided by evaluations together; many by searching what the other
parts hold, too, and joining the parts as sets, place after place. Only where that cannot be told by sets — data may
recurse through such a place, an ``.all()`` arrow has to be looked down — or would read far more than there are
resources in question, are many decided by evaluations as well.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from pdp.bulk import outcome
from pdp.errors import WildcardNotAllowed
from pdp.evaluate import Evaluation, Judge, Permissionship
from pdp.lookup import Findings, Lookup, Undecided
from pdp.names import definition, relation
from pdp.program import Program, RelationKey, SubjectType
from pdp.relationships import WILDCARD, Instant, ObjectRef, SubjectRef
from pdp.stores.protocol import ResourcesRead
from pdp.subject_sets import NO_REASONS, NOBODY, Members, Reasons, both, either, less
from pdp.upward import Both, Place, Plan, Spot, Step, plan_for
from pdp.walk import Work

_FEW = 200
"""Resources in question that are decided by evaluations without a thought of anything cleverer."""
_EVALUATED_TOGETHER = 5_000
_READS_FOR_EACH = 8
_READS_BESIDE = 50_000
_IDS_A_STEP = 16


class FoundResource(NamedTuple):
    """A resource on which the subject has the permission, or may have it once what is ``missing`` is given."""

    id: str
    permissionship: Permissionship
    missing: tuple[str, ...] = ()


class _Reached(NamedTuple):
    """Objects that the search came to at a place: for certain, and only perhaps."""

    sure: set[str]
    maybe: set[str]


class _Onward(NamedTuple):
    """Objects from where the search goes on."""

    place: Place
    ids: Set[str]
    sure: bool


class _Way(NamedTuple):
    """A read whose resources one comes to ``into`` a place by."""

    read: ResourcesRead
    into: Place
    sure: bool


class LookupResources(Lookup):
    """See the module; a `pdp.walk.Walk`, whose ``findings`` are there once it has ended."""

    findings: Findings[FoundResource]

    def __init__(
        self,
        program: Program,
        type_: str,
        permission: str,
        subject: SubjectRef,
        *,
        instant: Instant,
        judge: Judge,
        goals_max: int,
        reads_max: int,
    ) -> None:
        """Ask.

        Raises:
            UnknownDefinition, UnknownRelation: the question names what is not there.
            WildcardNotAllowed: the subject is ``type:*``.
        """
        super().__init__(program, instant=instant, judge=judge, goals_max=goals_max, reads_max=reads_max)
        relation(program.schema, type_, permission)
        definition(program.schema, subject.type)
        if subject.relation:
            relation(program.schema, subject.type, subject.relation)
        if subject.id == WILDCARD:
            raise WildcardNotAllowed("subject_id")
        self._subject = subject
        self._target = RelationKey(type_, permission)
        self._reached: list[_Reached] = []
        self._onward: deque[_Onward] = deque()

    def _walk(self) -> Work[None]:
        plan = plan_for(self.program, self._target, SubjectType(self._subject.type, self._subject.relation))
        members = NOBODY
        if plan is not None:
            yield from self._search(plan, plan.searched)
            sure, maybe = self._reached[plan.target]
            members = Members.of(sure)
            if maybe:
                told = yield from self._tell(plan, maybe)
                members = either([members, told])
        self._reached = []
        order = yield from self.in_order(members.possible.ids)
        self.findings = Findings(order, lambda id_: self._row(members, id_))

    def _row(self, members: Members, id_: str) -> FoundResource | Undecided:
        if members.certain.has(id_):
            return FoundResource(id_, Permissionship.HAS_PERMISSION)
        told = self.told(members.why(id_))
        if isinstance(told, tuple):
            return FoundResource(id_, Permissionship.CONDITIONAL_PERMISSION, told)
        return Undecided(told)

    # Searching

    def _search(self, plan: Plan, places: Set[Place], reads_max: int | None = None) -> Work[bool]:
        """Come to every object of these places that there is a way to; False where that took too many reads."""
        self._reached = [_Reached(set(), set()) for _ in plan.spots]
        self._onward.clear()
        waiting = self._begin(plan, places)
        begun_at = self.reads
        while waiting or self._onward:
            if self._onward:
                place, ids, sure = self._onward.popleft()
                for lift in plan.spots[place].lifts:
                    if lift.into in places:
                        self._come(lift.into, ids, sure=sure and lift.sure)
                for step in plan.spots[place].steps:
                    if step.into in places:
                        ways = self._ways(plan, place, step, ids, sure and step.sure)
                        waiting += yield from self._follow(ways)
                yield len(ids) // _IDS_A_STEP + 1
            else:
                yield from self.wait()
                waiting = yield from self._follow(waiting)
            if reads_max is not None and self.reads - begun_at > reads_max:
                return False
        return True

    def _begin(self, plan: Plan, places: Set[Place]) -> list[_Way]:
        """Put the subject where it stands itself; the ways to where it stands in a relation."""
        ways = []
        for place in places:
            spot = plan.spots[place]
            if spot.here:
                self._come(place, {self._subject.id}, sure=True)
            ways += [_Way(read, place, sure=True) for read in self._starts(spot)]
        return ways

    def _starts(self, spot: Spot) -> Iterator[ResourcesRead]:
        for start in spot.starts:
            yield ResourcesRead(self._subject, spot.type, start.relation)
            if start.wildcard:
                yield ResourcesRead(SubjectRef(self._subject.type, WILDCARD), spot.type, start.relation)

    @staticmethod
    def _ways(plan: Plan, origin: Place, step: Step, ids: Iterable[str], sure: bool) -> Iterator[_Way]:
        type_, into = plan.spots[origin].type, plan.spots[step.into].type
        for id_ in ids:
            subject = SubjectRef(type_, id_, step.subject_relation)
            yield _Way(ResourcesRead(subject, into, step.relation), step.into, sure)

    def _come(self, place: Place, ids: Set[str], *, sure: bool) -> None:
        reached = self._reached[place]
        new = ids - reached.sure
        if sure:
            reached.sure.update(new)
            reached.maybe.difference_update(new)
        else:
            new -= reached.maybe
            reached.maybe.update(new)
        if new:
            # what is certain first, lest the search goes the same way twice
            (self._onward.appendleft if sure else self._onward.append)(_Onward(place, new, sure))

    def _follow(self, ways: Iterable[_Way]) -> Work[list[_Way]]:
        """Go these ways as far as they are loaded; those that are not."""
        came: dict[tuple[Place, bool], set[str]] = {}
        waiting = []
        for way in ways:
            found = self.read(way.read)
            if found is None:
                waiting.append(way)
            elif found:
                certain, perhaps = yield from self.sort_out(found)
                came.setdefault((way.into, way.sure), set()).update(certain)
                if perhaps:
                    came.setdefault((way.into, False), set()).update(id_ for id_, _ in perhaps)
            yield 1
        for (place, sure), ids in came.items():
            self._come(place, ids, sure=sure)
        return waiting

    # Telling what may be an answer from what is one

    def _tell(self, plan: Plan, maybe: Set[str]) -> Work[Members]:
        if len(maybe) > _FEW and not any(plan.spots[place].every for place in plan.places):
            searched = yield from self._search(plan, plan.places, _READS_FOR_EACH * len(maybe) + _READS_BESIDE)
            told = (yield from self._join(plan)) if searched else None
            if told is not None:
                return told
        return (yield from self._evaluate(list(maybe)))

    def _join(self, plan: Plan) -> Work[Members | None]:
        """The target's objects by set algebra over what was come to; None where data may recurse through a term."""
        values: dict[Place, Members] = {}
        for component in plan.order:
            if not any(self._reached[place].maybe for place in component):
                values.update({place: Members.of(self._reached[place].sure) for place in component})
            elif plan.recursive(component):
                return None
            else:
                place = component[0]
                values[place] = yield from self._value(plan, place, values)
        return values[plan.target]

    def _value(self, plan: Plan, place: Place, values: Mapping[Place, Members]) -> Work[Members]:
        spot = plan.spots[place]
        certain = {self._subject.id} if spot.here else set()
        perhaps: dict[str, Reasons] = {}
        for read in self._starts(spot):
            yield from self._gather(read, NO_REASONS, certain, perhaps)
        for origin, step in spot.arrivals:
            value = values[origin]
            for way in self._ways(plan, origin, step, value.certain.ids, sure=True):
                yield from self._gather(way.read, NO_REASONS, certain, perhaps)
            for way in self._ways(plan, origin, step, value.reasons, sure=False):
                yield from self._gather(way.read, value.reasons[way.read.subject.id], certain, perhaps)
        sets = [Members.of(certain), Members.perhaps(perhaps), *(values[origin] for origin in spot.lifted)]
        for term in spot.terms:
            if isinstance(term, Both):
                sets.append(both([values[part] for part in term.parts]))
            else:
                sets.append(less(values[term.base], values[term.subtract]))
            yield sets[-1].size() // _IDS_A_STEP + 1
        members = either(sets)
        yield members.size() // _IDS_A_STEP + 1
        return members

    def _gather(
        self, read: ResourcesRead, reasons: Reasons, certain: set[str], perhaps: dict[str, Reasons]
    ) -> Work[None]:
        """Add the resources that a read leads to, under the reasons that its subject stands under."""
        found = self.read(read)
        while found is None:
            yield from self.wait()
            found = self.read(read)
        sure, unsure = yield from self.sort_out(found)
        if reasons:
            unsure = [*((id_, reasons) for id_ in sure), *((id_, own | reasons) for id_, own in unsure)]
        else:
            certain.update(sure)
        for position, (id_, own) in enumerate(unsure):
            perhaps[id_] = perhaps.get(id_, NO_REASONS) | own
            if not position % _IDS_A_STEP:
                yield 1

    def _evaluate(self, ids: Sequence[str]) -> Work[Members]:
        """Decide resources by evaluations, thousands at a time to bound what a table takes."""
        certain: set[str] = set()
        perhaps: dict[str, Reasons] = {}
        for start in range(0, len(ids), _EVALUATED_TOGETHER):
            evaluation = Evaluation(
                self.program, self._subject, instant=self.instant, judge=self.judge, goals_max=self.goals_max
            )
            nodes = []
            for id_ in ids[start : start + _EVALUATED_TOGETHER]:
                nodes.append((id_, evaluation.ask(ObjectRef(self._target.type, id_), self._target.relation)))
                yield 1
            yield from self.finish(evaluation)
            for id_, node in nodes:
                reasons = self.reasons(outcome(evaluation, node))
                if reasons is True:
                    certain.add(id_)
                elif reasons is not False:
                    perhaps[id_] = reasons
                yield 1
        return either([Members.of(certain), Members.perhaps(perhaps)])
