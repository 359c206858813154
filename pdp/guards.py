"""A permission that somebody must have for a write to be made, judged in the write's own transaction.

It is evaluated under the store's lock, on what the writes before it left, so nobody can take the permission away
between the question and the write. The bound on its work is small for that reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pdp.errors import PermissionMissing
from pdp.evaluate import Evaluation, Permissionship
from pdp.judge import judge_with
from pdp.names import check_goal
from pdp.program import Program
from pdp.relationships import ObjectRef, SubjectRef
from pdp.stores.protocol import Found, Guard, Judging, Read

GOALS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class PermissionNeeded:
    """``subject`` must have ``permission`` on ``resource`` when the write is judged; conditional is not enough."""

    resource: ObjectRef
    permission: str
    subject: SubjectRef
    context: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.resource}#{self.permission}@{self.subject}"


class _Loaded:
    """A graph of what was fetched so far."""

    def __init__(self) -> None:
        self.found: dict[Read, Sequence[Found]] = {}

    def get(self, read: Read) -> Sequence[Found] | None:
        """See `pdp.graph.Graph`."""
        return self.found.get(read)


def guard(program: Program, needed: PermissionNeeded) -> Guard:
    """The condition as a store takes it.

    Raises:
        UnknownDefinition, UnknownRelation, WildcardNotAllowed: it names what is not there.
    """
    check_goal(program.schema, needed.resource.type, needed.permission, needed.subject)

    async def hold(judging: Judging) -> None:
        evaluation = Evaluation(
            program,
            needed.subject,
            instant=judging.instant,
            judge=judge_with(program.schema, needed.context),
            goals_max=GOALS_MAX,
        )
        node = evaluation.ask(needed.resource, needed.permission)
        graph = _Loaded()
        while not evaluation.run(graph):
            reads = list(evaluation.needs)
            for read, found in zip(reads, await judging.fetch(reads), strict=True):
                graph.found[read] = found
        if evaluation.answer(node).permissionship is not Permissionship.HAS_PERMISSION:
            raise PermissionMissing(needed.resource, needed.permission, needed.subject)

    text = json.dumps([str(needed), needed.context], sort_keys=True, separators=(",", ":"))
    return Guard(text, hold)
