"""Many checks at once, at one revision and instant: work is shared, answers are not.

Items about one subject with one context are questions to one `Evaluation`, so what lies on the way to several of
them is walked once. A context that differs in anything makes an evaluation of its own: nothing decided under one is
ever seen under another. Whatever is wrong with an item is the answer to that item alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from pdp.errors import PdpError, WorkExceeded
from pdp.evaluate import Answer, Evaluation
from pdp.graph import Graph
from pdp.judge import judge_with
from pdp.names import check_goal
from pdp.program import Program
from pdp.relationships import WILDCARD, Instant, ObjectRef, SubjectRef
from pdp.stores.protocol import Read
from pdp.table import Node
from pdp.walk import Together

Outcome: TypeAlias = Answer | PdpError
"""What came of one question: an answer, or why there is none."""


@dataclass(frozen=True, slots=True)
class BulkItem:
    """One question, with its own context."""

    resource: ObjectRef
    permission: str
    subject: SubjectRef
    context: Mapping[str, Any] = field(default_factory=dict)


UNANSWERED = WorkExceeded("the question was not answered")


class _Key(NamedTuple):
    """What an evaluation's answers depend on, beside program, instant and graph."""

    subject: SubjectRef
    context: str


class BulkCheck:
    """See the module; a `pdp.walk.Walk`. ``outcomes`` are the items', in order, once it has ended."""

    def __init__(self, program: Program, items: Sequence[BulkItem], *, instant: Instant, goals_max: int) -> None:
        self.outcomes: list[Outcome] = [UNANSWERED] * len(items)
        faults: dict[tuple[str, ...], PdpError | None] = {}
        groups: dict[_Key, _Group] = {}
        for position, item in enumerate(items):
            fault = _fault(program, item, faults)
            if fault is not None:
                self.outcomes[position] = fault
                continue
            key = _Key(item.subject, json.dumps(item.context, sort_keys=True) if item.context else "")
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group(program, item, instant, goals_max, self.outcomes)
            group.asked.append((position, item))
        self._together = Together(groups.values())
        self.needs: dict[Read, None] = {}
        self.steps_left = 0

    def run(self, graph: Graph, steps_max: int = 1_000_000) -> bool:
        """See `pdp.walk.Walk`."""
        ended = self._together.run(graph, steps_max)
        self.needs, self.steps_left = self._together.needs, self._together.steps_left
        return ended


def _fault(program: Program, item: BulkItem, known: dict[tuple[str, ...], PdpError | None]) -> PdpError | None:
    """What is wrong with an item's names, looked up once for all items that share them."""
    subject = item.subject
    names = (
        item.resource.type,
        item.permission,
        subject.type,
        subject.relation,
        subject.id if subject.id == WILDCARD else "",
    )
    if names not in known:
        try:
            check_goal(program.schema, item.resource.type, item.permission, subject)
        except PdpError as error:
            known[names] = error
        else:
            known[names] = None
    return known[names]


class _Group:
    """The questions of one evaluation, which lives from the group's first turn to its last."""

    def __init__(
        self, program: Program, first: BulkItem, instant: Instant, goals_max: int, outcomes: list[Outcome]
    ) -> None:
        self._program = program
        self._first = first
        self._instant = instant
        self._goals_max = goals_max
        self._outcomes = outcomes
        self._evaluation: Evaluation | None = None
        self._nodes: list[tuple[int, Node]] = []
        self._apart: Together | None = None
        self.asked: list[tuple[int, BulkItem]] = []
        self.needs: dict[Read, None] = {}
        self.steps_left = 0

    def run(self, graph: Graph, steps_max: int = 1_000_000) -> bool:
        walk = self._apart or self._evaluation
        if walk is None:
            walk = self._evaluation = self._begin()
        try:
            ended = walk.run(graph, steps_max)
        except WorkExceeded as error:
            self._evaluation = None
            self.needs, self.steps_left = {}, walk.steps_left
            if len(self.asked) == 1:
                self._outcomes[self.asked[0][0]] = error
                return True
            self._apart = Together([self._alone(*asked) for asked in self.asked])
            return False
        self.needs, self.steps_left = walk.needs, walk.steps_left
        if ended and self._evaluation is not None:
            for position, node in self._nodes:
                self._outcomes[position] = outcome(self._evaluation, node)
            self._evaluation = None
        return ended

    def _alone(self, position: int, item: BulkItem) -> "_Group":
        """One of several items that were too much together; which of them is too much alone will show."""
        alone = _Group(self._program, item, self._instant, self._goals_max, self._outcomes)
        alone.asked.append((position, item))
        return alone

    def _begin(self) -> Evaluation:
        evaluation = Evaluation(
            self._program,
            self._first.subject,
            instant=self._instant,
            judge=judge_with(self._program.schema, self._first.context),
            goals_max=self._goals_max,
        )
        self._nodes = [(position, evaluation.ask(item.resource, item.permission)) for position, item in self.asked]
        return evaluation


def outcome(evaluation: Evaluation, node: Node) -> Outcome:
    """What came of a question: its answer, or what `Evaluation.answer` raises."""
    try:
        return evaluation.answer(node)
    except PdpError as error:
        return error
