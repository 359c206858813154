"""Every subject of a kind that has a permission on a resource.

The resource's relations are explored downward and worked out as sets (`pdp.subject_sums`), wildcards and their
exclusions included. Only where data leads from an intersection, an exclusion or an undecided caveat back to itself is
everybody who was met, and ``*`` for everybody else, decided by an evaluation each, over what was explored.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from pdp.bulk import UNANSWERED, Outcome, outcome
from pdp.evaluate import Evaluation, Goal, Judge, Permissionship
from pdp.graph import Graph
from pdp.lookup import ExcludedSubject, Findings, Lookup, Undecided
from pdp.names import definition, relation
from pdp.program import Program, SubjectType
from pdp.relationships import WILDCARD, Instant, ObjectRef, SubjectRef
from pdp.stores.protocol import Found, Read, SubjectsRead
from pdp.subject_sets import Ids, Members, Reasons, SubjectSet, either_subjects
from pdp.subject_sums import Downward, Sum, work_out
from pdp.table import Node
from pdp.walk import Together, Work

__all__ = ["ExcludedSubject", "FoundSubject", "LookupSubjects"]


class FoundSubject(NamedTuple):
    """A subject that has the permission, or may have it; ``*`` is everybody but the ``excluded``, sorted by id."""

    id: str
    permissionship: Permissionship
    missing: tuple[str, ...] = ()
    excluded: Sequence[ExcludedSubject] = ()


class LookupSubjects(Lookup):
    """See the module; a `pdp.walk.Walk`, whose ``findings`` are there once it has ended.

    A row ``*`` tells what everybody has but those excluded. Whoever was found by name has a row of his own beside
    it; so has whoever has more than everybody. Of two that fit, a subject's own row is what counts.
    """

    findings: Findings[FoundSubject]

    def __init__(
        self,
        program: Program,
        resource: ObjectRef,
        permission: str,
        subject: SubjectType,
        *,
        instant: Instant,
        judge: Judge,
        goals_max: int,
        reads_max: int,
        wildcards: bool = True,
    ) -> None:
        """Ask; without ``wildcards`` no row ``*`` is given.

        Raises:
            UnknownDefinition, UnknownRelation: the question names what is not there.
        """
        super().__init__(program, instant=instant, judge=judge, goals_max=goals_max, reads_max=reads_max)
        relation(program.schema, resource.type, permission)
        definition(program.schema, subject.type)
        if subject.relation:
            relation(program.schema, subject.type, subject.relation)
        self._resource = resource
        self._permission = permission
        self._subject = subject
        self._wildcards = wildcards

    def _walk(self) -> Work[None]:
        downward = Downward(self, self._subject)
        root = yield from downward.explore(Goal(*self._resource, self._permission))
        found = yield from work_out(root)
        if found is None:
            found = yield from self._decide_each(downward.sums)
        self.findings = yield from self._list(found)

    def _decide_each(self, sums: Sequence[Sum]) -> Work[SubjectSet]:
        ids = set[str]().union(*(chain(sum_.certain, sum_.perhaps) for sum_ in sums))
        wild = any(sum_.wild or sum_.wild_perhaps for sum_ in sums)
        decisions = {id_: _Decision(self, id_) for id_ in (*ids, *([WILDCARD] if wild else ()))}
        yield from self.finish(Together(decisions.values()), _Narrowed(self.graph))
        certain: set[str] = set()
        perhaps: dict[str, Reasons] = {}
        for id_, decision in decisions.items():
            reasons = self.reasons(decision.outcome)
            if reasons is True:
                certain.add(id_)
            elif reasons is not False:
                perhaps[id_] = reasons
            yield 1
        if WILDCARD in certain:
            certain.discard(WILDCARD)
            possible = Ids(ids - certain - perhaps.keys(), all_but=True)
            return SubjectSet(Members(Ids(ids - certain, all_but=True), possible, perhaps), certain, ids - certain)
        if WILDCARD in perhaps:
            everyone = perhaps.pop(WILDCARD)
            possible = Ids(ids - certain - perhaps.keys(), all_but=True)
            unlike = {id_: reasons for id_, reasons in perhaps.items() if reasons != everyone}
            return SubjectSet(Members(Ids(certain), possible, unlike, everyone), certain, frozenset(unlike))
        return either_subjects([SubjectSet(Members.of(certain)), SubjectSet(Members.perhaps(perhaps))])

    def evaluation(self, id_: str) -> tuple[Evaluation, Node]:
        """The question, asked for one subject."""
        evaluation = Evaluation(
            self.program,
            SubjectRef(self._subject.type, id_, self._subject.relation),
            instant=self.instant,
            judge=self.judge,
            goals_max=self.goals_max,
        )
        return evaluation, evaluation.ask(self._resource, self._permission)

    def _list(self, found: SubjectSet) -> Work[Findings[FoundSubject]]:
        members = found.members
        if not found.wild:
            order = yield from self.in_order(members.possible.ids)
            return Findings(order, lambda id_: self._row(members, id_))
        rows = {id_ for id_ in found.named if members.possible.has(id_)}
        if not members.certain.all_but:
            rows |= members.certain.ids
        yield len(rows)
        excluded: list[ExcludedSubject] = []
        for id_ in (yield from self.in_order(members.possible.ids | members.reasons.keys())):
            yield 1
            if not members.possible.has(id_):
                excluded.append(ExcludedSubject(id_, Permissionship.HAS_PERMISSION))
                continue
            reasons, everyone = members.why(id_), members.everyone
            told = self.told(reasons)
            like_everyone = isinstance(told, tuple) and reasons >= everyone
            docked = id_ in found.docked or not members.everyone_undecided
            if docked:
                beside = self.told(reasons - everyone or reasons) if like_everyone else told
                missing = beside if isinstance(beside, tuple) else ()
                excluded.append(ExcludedSubject(id_, Permissionship.CONDITIONAL_PERMISSION, missing))
            if not like_everyone or (not docked and reasons != everyone):
                rows.add(id_)
        if self._wildcards:
            rows.add(WILDCARD)
        order = yield from self.in_order(rows)
        return Findings(order, lambda id_: self._row(members, id_, excluded))

    def _row(self, members: Members, id_: str, excluded: Sequence[ExcludedSubject] = ()) -> FoundSubject | Undecided:
        beside = excluded if id_ == WILDCARD else ()
        if members.certain.has(id_):
            return FoundSubject(id_, Permissionship.HAS_PERMISSION, (), beside)
        told = self.told(members.why(id_))
        if isinstance(told, tuple):
            return FoundSubject(id_, Permissionship.CONDITIONAL_PERMISSION, told, beside)
        return Undecided(told, beside)


class _Decision:
    """Whether one subject is in; a `pdp.walk.Walk` that takes up no room before its first turn and after its last."""

    __slots__ = ("_begun", "_id", "_lookup", "needs", "outcome", "steps_left")

    def __init__(self, lookup: LookupSubjects, id_: str) -> None:
        self._lookup = lookup
        self._id = id_
        self._begun: tuple[Evaluation, Node] | None = None
        self.needs: dict[Read, None] = {}
        self.steps_left = 0
        self.outcome: Outcome = UNANSWERED

    def run(self, graph: Graph, steps_max: int = 1_000_000) -> bool:
        begun = self._begun or self._lookup.evaluation(self._id)
        evaluation, node = begun
        ended = evaluation.run(graph, steps_max)
        self.needs, self.steps_left = evaluation.needs, evaluation.steps_left
        if ended:
            self.outcome = outcome(evaluation, node)
        self._begun = None if ended else begun
        return ended


class _Narrowed:
    """A graph that answers for a few subjects out of what is loaded for all of them."""

    def __init__(self, base: Graph) -> None:
        self._base = base
        self._by_id: dict[Read, Mapping[str, Found]] = {}

    def get(self, read: Read) -> Sequence[Found] | None:
        """See `pdp.graph.Graph`."""
        if not isinstance(read, SubjectsRead) or not read.subject_ids:
            return self._base.get(read)
        whole = read._replace(subject_ids=())
        by_id = self._by_id.get(whole)
        if by_id is None:
            found = self._base.get(whole)
            if found is None:
                return self._base.get(read)
            by_id = self._by_id[whole] = {one.id: one for one in found}
        return [by_id[id_] for id_ in read.subject_ids if id_ in by_id]
