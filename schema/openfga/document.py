"""A model as written, in the DSL or in JSON, before its rules are checked and it becomes a `Schema`.

Rewrites are those of `schema.model` from the start: `This` stands where the relation's own tuples count.
"""

from dataclasses import dataclass, field

from schema.model import NOWHERE, AllowedSubject, CaveatType, Position, Rewrite


@dataclass(frozen=True, slots=True)
class RelationNode:
    """A relation: what it is computed from, and the subjects that may be stored in it."""

    name: str
    rewrite: Rewrite
    restrictions: tuple[AllowedSubject, ...] = ()
    position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class TypeNode:
    """A type, or with ``extends`` more relations for one that another module defines."""

    name: str
    relations: tuple[RelationNode, ...] = ()
    extends: bool = False
    position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class ParameterNode:
    """A condition's parameter."""

    name: str
    type: CaveatType
    position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class ConditionNode:
    """A condition."""

    name: str
    parameters: tuple[ParameterNode, ...]
    expression: str
    position: Position = field(default=NOWHERE, compare=False)
    expression_position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Document:
    """A model, or one module of one; ``version`` is ``""`` for a module."""

    version: str
    types: tuple[TypeNode, ...]
    conditions: tuple[ConditionNode, ...] = ()
    version_position: Position = field(default=NOWHERE, compare=False)
