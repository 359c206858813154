"""The tree of a permission on a resource: which sets of subjects it is made of, and how they are joined."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from pdp.relationships import ObjectRef, SubjectRef


class Operation(Enum):
    """How the children of a node are joined; the values are the v1 API's."""

    UNION = 1
    INTERSECTION = 2
    EXCLUSION = 3


@dataclass(frozen=True, slots=True)
class Leaf:
    """Subjects as they are stored: usersets and ``*`` are not followed, caveats not shown. Sorted."""

    object: ObjectRef
    relation: str
    subjects: Sequence[SubjectRef] = ()


@dataclass(frozen=True, slots=True)
class Branch:
    """Children joined by an operation; of an exclusion, the first less the second."""

    object: ObjectRef
    relation: str
    operation: Operation
    children: Sequence["Tree"] = ()


Tree: TypeAlias = Leaf | Branch
