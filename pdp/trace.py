"""What a check did: a tree of the goals it evaluated, each with its result, its caveats and the time it took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pdp.evaluate import Permissionship
from pdp.relationships import Instant, ObjectRef, SubjectRef


class CaveatResult(Enum):
    """What a caveat came to; the values are the v1 API's, which has no word for one that failed."""

    FAILED = 1
    FALSE = 2
    TRUE = 3
    MISSING_SOME_CONTEXT = 4


@dataclass(frozen=True, slots=True)
class CaveatTrace:
    """A caveat that was judged: its values, a relationship's over the request's, and what it came to."""

    name: str
    expression: str
    context: Mapping[str, Any]
    result: CaveatResult
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """One goal. ``permissionship`` is None where it was left open, the answer being known without it.

    ``cached``: the goal stands elsewhere in the tree, with what is under it; each goal is evaluated once.
    ``caveats`` are those of the relation's own relationships. ``duration_us`` includes what is under it.
    """

    resource: ObjectRef
    relation: str
    is_permission: bool
    subject: SubjectRef
    permissionship: Permissionship | None
    missing: tuple[str, ...] = ()
    caveats: Sequence[CaveatTrace] = ()
    expires_at: Instant | None = None
    duration_us: int = 0
    cached: bool = False
    children: Sequence["Trace"] = ()
