"""The values a compiled schema consists of; all that the engine, the stores and the doors know of the language.

A `Schema` is resolved: every name in it exists, every type check has passed. It carries no source positions
beyond what errors and explanations need, and two schemas that mean the same compare equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Position:
    """A range of source text: lines and columns count from 1, columns in characters, the end exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


NOWHERE = Position(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class AllowedSubject:
    """One entry of a relation's subject types: ``type``, ``type#relation`` or ``type:*``, with its traits.

    ``relation`` is ``""`` for the object itself (written ``user`` or ``user#...``).
    """

    type: str
    relation: str = ""
    wildcard: bool = False
    caveat: str = ""
    expiration: bool = False
    position: Position = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class This:
    """The subjects stored in the relation itself (Zanzibar, section 2.3.1, ``_this``)."""


@dataclass(frozen=True, slots=True)
class Nil:
    """Nobody."""


@dataclass(frozen=True, slots=True)
class SelfSubject:
    """The resource itself, as a subject without a relation (``self``)."""


@dataclass(frozen=True, slots=True)
class ComputedUserset:
    """The subjects of another relation or permission of the same resource."""

    relation: str
    position: Position = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TupleToUserset:
    """Subjects of ``computed`` on the resources found through ``tupleset`` (an arrow).

    ``quantifier`` is ``"any"`` for ``->`` and ``.any()``, ``"all"`` for ``.all()``; ``function_style`` tells
    ``.any()`` from ``->``, which mean the same and are printed and diffed apart.
    """

    tupleset: str
    computed: str
    quantifier: Literal["any", "all"] = "any"
    function_style: bool = False
    position: Position = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Union:
    """Subjects of at least one child; two or more children, none of them a union."""

    children: tuple["Rewrite", ...]


@dataclass(frozen=True, slots=True)
class Intersection:
    """Subjects of every child; two or more children, none of them an intersection."""

    children: tuple["Rewrite", ...]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Subjects of ``base`` that are not subjects of ``subtract``."""

    base: "Rewrite"
    subtract: "Rewrite"


Rewrite: TypeAlias = This | Nil | SelfSubject | ComputedUserset | TupleToUserset | Union | Intersection | Exclusion


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation (stored, ``rewrite`` is `This`) or a permission (computed, ``allowed`` is empty).

    An imported model may have both in one name: then ``allowed`` is not empty and ``rewrite`` contains `This`.
    ``comment`` keeps its delimiters. ``annotation`` lists the types of a ``use typechecking`` annotation.
    """

    name: str
    rewrite: Rewrite
    allowed: tuple[AllowedSubject, ...] = ()
    comment: str = ""
    annotation: tuple[str, ...] = ()
    position: Position = field(default=NOWHERE, compare=False, repr=False)

    @property
    def is_permission(self) -> bool:
        """Whether nothing can be written to it."""
        return not self.allowed


@dataclass(frozen=True, slots=True)
class Definition:
    """An object type with its relations and permissions, in written order, by name."""

    name: str
    relations: Mapping[str, Relation]
    comment: str = ""
    position: Position = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CaveatType:
    """A parameter's type: ``name`` with type arguments for ``list`` and ``map``."""

    name: str
    arguments: tuple["CaveatType", ...] = ()

    def __str__(self) -> str:
        return f"{self.name}<{', '.join(map(str, self.arguments))}>" if self.arguments else self.name


@dataclass(frozen=True, slots=True)
class Caveat:
    """A named CEL condition over typed parameters; ``expression`` is its source text, checked to be ``bool``.

    ``checked`` is the compiled expression as `schema.cel` serializes it. A context's texts may have ``bytes_max``
    bytes in all and its lists and maps ``elements_max`` elements, and no text may repeat a part more than
    ``repeats_max`` times as a regular expression: more could take too long to evaluate. ``dialect`` tells what an
    imported condition may say and ours may not: ``uint`` is CEL's own there, and ``ipaddress(…)`` makes an address.
    """

    name: str
    parameters: Mapping[str, CaveatType]
    expression: str
    comment: str = ""
    position: Position = field(default=NOWHERE, compare=False, repr=False)
    checked: bytes = field(default=b"", compare=False, repr=False)
    bytes_max: int = field(default=0, compare=False, repr=False)
    elements_max: int = field(default=0, compare=False, repr=False)
    repeats_max: int = field(default=0, compare=False, repr=False)
    dialect: Literal["native", "openfga"] = "native"


@dataclass(frozen=True, slots=True)
class Schema:
    """A whole schema, resolved and checked; by name, in written order."""

    definitions: Mapping[str, Definition]
    caveats: Mapping[str, Caveat] = field(default_factory=dict)
