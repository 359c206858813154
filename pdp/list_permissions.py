"""Everything that one subject may do with one resource, found in one walk."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pdp.bulk import Outcome, outcome
from pdp.evaluate import Evaluation, Judge
from pdp.graph import Graph
from pdp.names import check_goal, definition
from pdp.program import Program
from pdp.relationships import Instant, ObjectRef, SubjectRef
from pdp.stores.protocol import Read


class Held(NamedTuple):
    """What came of one permission or relation."""

    permission: str
    outcome: Outcome


def names(program: Program, type_: str, *, relations: bool = False) -> list[str]:
    """The permissions of a type, in written order; with ``relations`` its relations too.

    Raises:
        UnknownDefinition: there is no such type.
    """
    return [
        relation.name
        for relation in definition(program.schema, type_).relations.values()
        if relations or relation.is_permission
    ]


class ListPermissions:
    """One evaluation, asked about each of the names; a `pdp.walk.Walk`."""

    def __init__(
        self,
        program: Program,
        resource: ObjectRef,
        permissions: Sequence[str],
        subject: SubjectRef,
        *,
        instant: Instant,
        judge: Judge,
        goals_max: int,
    ) -> None:
        """Ask.

        Raises:
            UnknownDefinition, UnknownRelation, WildcardNotAllowed: the question names what is not there.
        """
        for permission in permissions:
            check_goal(program.schema, resource.type, permission, subject)
        self._evaluation = Evaluation(program, subject, instant=instant, judge=judge, goals_max=goals_max)
        self._asked = [(name, self._evaluation.ask(resource, name)) for name in permissions]
        self.needs: dict[Read, None] = {}
        self.steps_left = 0

    def run(self, graph: Graph, steps_max: int = 1_000_000) -> bool:
        """See `pdp.walk.Walk`."""
        ended = self._evaluation.run(graph, steps_max)
        self.needs, self.steps_left = self._evaluation.needs, self._evaluation.steps_left
        return ended

    def held(self) -> Iterator[Held]:
        """What came of each name, in the order they were asked in."""
        for name, node in self._asked:
            yield Held(name, outcome(self._evaluation, node))
