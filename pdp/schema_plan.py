"""What writing a schema would do, without writing it: what changes, what stands in the way, what may not be meant."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pdp.relationships import Revision
from pdp.service import StoreService
from pdp.stores.values import KindCount
from schema.compile import Compiled, compile_text
from schema.diff import Difference, diff_schemas
from schema.lint import LintWarning, lint
from schema.plan import MeaningChange, changed_meanings
from schema.safety import MustBeUnused, check_change


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the schema would be refused: relationships that it would orphan, or a change that is never allowed.

    ``relationships`` is how many there are, 0 where it is not their fault; some may have expired meanwhile, and then
    do not stand in the way.
    """

    operation: str
    message: str
    names: Mapping[str, str]
    relationships: int = 0


@dataclass(frozen=True, slots=True)
class SchemaPlan:
    """What writing the schema at this revision would do."""

    revision: Revision
    differences: Sequence[Difference]
    meanings: Sequence[MeaningChange]
    obstacles: Sequence[Obstacle]
    warnings: Sequence[LintWarning]


async def plan_schema(store: StoreService, text: str) -> SchemaPlan:
    """Plan a change of schema.

    Raises:
        SchemaError: the text is no valid schema.
    """
    follower = store.follower
    compiled: Compiled = await asyncio.to_thread(compile_text, text)
    head = await follower.head()
    await follower.catch_up(head)
    old, new = (await follower.schema(head)).program.schema, compiled.schema
    needed = check_change(old, new)
    kinds = await store.store.kinds() if needed.unused else ()
    obstacles = [Obstacle(one.names["operation"], one.message, one.names) for one in needed.refused]
    for one in needed.unused:
        living = sum(kind.living for kind in kinds if _concerns(one, kind))
        if living:
            obstacles.append(Obstacle(one.operation, one.message, one.names, living))
    return SchemaPlan(head, diff_schemas(old, new), changed_meanings(old, new), obstacles, lint(compiled))


def _concerns(unused: MustBeUnused, kind: KindCount) -> bool:
    """Whether relationships of a kind must not exist."""
    wanted = (
        (unused.resource_type, kind.resource_type),
        (unused.relation, kind.relation),
        (unused.subject_type, kind.subject_type),
        (unused.subject_relation, kind.subject_relation),
        (unused.wildcard, kind.wildcard),
        (unused.caveat_name, kind.caveat_name),
        (unused.expiration, kind.expiration),
    )
    return all(mine is None or mine == theirs for mine, theirs in wanted)
