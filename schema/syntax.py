"""What a schema's text consists of before it is resolved: flags, imports, partials, and members as written.

Relations, permissions, types and expressions are the values of `schema.model` from the start; only what resolution
takes away has a class here. Every node keeps its position.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from schema.model import NOWHERE, CaveatType, Position, Relation


@dataclass(frozen=True, slots=True)
class Use:
    """``use flag``."""

    flag: str
    position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Import:
    """``import "path"``, the path without its quotes."""

    path: str
    position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class PartialReference:
    """``...name``: the members of a partial, in place."""

    name: str
    position: Position = field(default=NOWHERE, compare=False)


Member: TypeAlias = Relation | PartialReference


@dataclass(frozen=True, slots=True)
class DefinitionNode:
    """A definition as written."""

    name: str
    members: tuple[Member, ...]
    comment: str = ""
    position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Partial:
    """Members to be put in place of references to them."""

    name: str
    members: tuple[Member, ...]
    comment: str = ""
    position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A caveat's parameter as written."""

    name: str
    type: CaveatType
    position: Position = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class CaveatNode:
    """A caveat as written; ``expression`` is its text without the blanks around it."""

    name: str
    parameters: tuple[Parameter, ...]
    expression: str
    comment: str = ""
    position: Position = field(default=NOWHERE, compare=False)
    expression_position: Position = field(default=NOWHERE, compare=False)


Item: TypeAlias = Use | Import | DefinitionNode | Partial | CaveatNode


@dataclass(frozen=True, slots=True)
class SchemaNode:
    """A whole text: its items in written order."""

    items: tuple[Item, ...]
