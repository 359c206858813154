"""From a model's text to a `Document`, and what is said where it cannot be read."""

from typing import Any

from schema.driver import Stack, accepts, drive, makers
from schema.errors import Fix, Problems, near, quote
from schema.model import (
    AllowedSubject,
    CaveatType,
    ComputedUserset,
    Exclusion,
    Intersection,
    Position,
    Rewrite,
    This,
    TupleToUserset,
    Union,
)
from schema.openfga.document import ConditionNode, Document, ParameterNode, RelationNode, TypeNode
from schema.openfga.tokens import BUT_NOT, CEL, NAME, NL, RESERVED, TABLES, VERSION
from schema.tokens import FINISH, Tokens

_THIS = This()
_WORDS = {
    NL: "the end of the line",
    NAME: "a name",
    VERSION: "a version",
    CEL: "an expression",
    BUT_NOT: "`but not`",
    FINISH: "the end of the text",
}


def parse(tokens: Tokens, problems: Problems) -> Document:
    """Read a model or a module. Where problems are noted it lacks what could not be read."""
    builder = _Builder(tokens, problems)
    document = drive(TABLES, tokens.kinds, makers(TABLES, builder), _Recovery(tokens, problems))
    return document if isinstance(document, Document) else Document("", ())


class _Builder:
    """One method a rule."""

    def __init__(self, tokens: Tokens, problems: Problems) -> None:
        self._tokens = tokens
        self._texts = tokens.texts
        self._position = tokens.position
        self._problems = problems
        self._direct: list[tuple[int, tuple[AllowedSubject, ...]]] = []

    def document(self, values: list[Any]) -> Document:
        (version, position), *rest = values
        types = tuple(one for one in rest if isinstance(one, TypeNode))
        conditions = tuple(one for one in rest if isinstance(one, ConditionNode))
        return Document(version, types, conditions, position)

    def model_header(self, values: list[int]) -> tuple[str, Position]:
        (version,) = values
        return self._texts[version], self._position(version)

    def module_header(self, values: list[int]) -> tuple[str, Position]:
        (name,) = values
        return "", self._position(name)

    def new_type(self, values: list[Any]) -> TypeNode:
        name, *relations = values
        found = relations[0] if relations else ()
        return TypeNode(self._texts[name], found, position=self._position(name))

    def extended_type(self, values: list[Any]) -> TypeNode:
        name, *relations = values
        found = relations[0] if relations else ()
        return TypeNode(self._texts[name], found, extends=True, position=self._position(name))

    def relations(self, values: list[RelationNode]) -> tuple[RelationNode, ...]:
        return tuple(values)

    def relation(self, values: list[Any]) -> RelationNode:
        name, rewrite = values
        direct, self._direct = self._direct, []
        restrictions: tuple[AllowedSubject, ...] = ()
        for index, found in direct:
            before = index - 1
            while self._tokens.kinds[before] == "LPAR":
                before -= 1
            if before == name + 1:
                restrictions = found
            else:
                message = "types in `[ ]` can only be the first operand of a definition"
                self._problems.parse("invalid-syntax", message, self._position(index))
        return RelationNode(self._texts[name], rewrite, restrictions, self._position(name))

    def this(self, values: list[Any]) -> This:
        bracket, *restrictions = values
        self._direct.append((bracket, tuple(restrictions)))
        return _THIS

    def restriction(self, values: list[Any]) -> AllowedSubject:
        name, *rest = values
        relation, wildcard, condition = "", False, ""
        for kind, text in rest:
            if kind == "wildcard":
                wildcard = True
            elif kind == "userset":
                relation = text
            else:
                condition = text
        return AllowedSubject(self._texts[name], relation, wildcard, condition, position=self._position(name))

    def wildcard(self, _values: list[int]) -> tuple[str, str]:
        return "wildcard", ""

    def userset(self, values: list[int]) -> tuple[str, str]:
        (relation,) = values
        return "userset", self._texts[relation]

    def with_(self, values: list[int]) -> tuple[str, str]:
        (condition,) = values
        return "with", self._texts[condition]

    def union(self, values: list[Rewrite]) -> Rewrite:
        return flat_union(values)

    def intersection(self, values: list[Rewrite]) -> Rewrite:
        return flat_intersection(values)

    def exclusion(self, values: list[Any]) -> Rewrite:
        base, _, subtract = values
        return Exclusion(base, subtract)

    def computed_userset(self, values: list[int]) -> Rewrite:
        (relation,) = values
        return ComputedUserset(self._texts[relation], self._position(relation))

    def tuple_to_userset(self, values: list[int]) -> Rewrite:
        computed, tupleset = values
        position = self._position(computed, tupleset)
        return TupleToUserset(self._texts[tupleset], self._texts[computed], position=position)

    def condition(self, values: list[Any]) -> ConditionNode:
        name, *parameters, expression = values
        return ConditionNode(
            self._texts[name],
            tuple(parameters),
            self._texts[expression],
            self._position(name),
            self._position(expression),
        )

    def parameter(self, values: list[Any]) -> ParameterNode:
        name, type_ = values
        return ParameterNode(self._texts[name], type_, self._position(name))

    def caveat_type(self, values: list[int]) -> CaveatType:
        name, *argument = values
        return CaveatType(self._texts[name], tuple(CaveatType(self._texts[one]) for one in argument))


def flat_union(children: list[Rewrite]) -> Rewrite:
    """A union of two or more, those among them that are unions taken apart."""
    flat: list[Rewrite] = []
    for child in children:
        flat.extend(child.children if isinstance(child, Union) else (child,))
    return Union(tuple(flat))


def flat_intersection(children: list[Rewrite]) -> Rewrite:
    """An intersection of two or more, those among them that are intersections taken apart."""
    flat: list[Rewrite] = []
    for child in children:
        flat.extend(child.children if isinstance(child, Intersection) else (child,))
    return Intersection(tuple(flat))


class _Recovery:
    """Says what does not fit, and goes on at the next ``define``, ``type`` or ``condition``."""

    def __init__(self, tokens: Tokens, problems: Problems) -> None:
        self._tokens = tokens
        self._problems = problems

    def recover(self, stack: Stack, index: int) -> int:
        """See `schema.driver.Recovery`. Without a header nothing is worth going on for."""
        kinds = self._tokens.kinds
        self._report(stack, index)
        if kinds[index] == FINISH or self._problems.full:
            return -1
        header = next((at for at, value in enumerate(stack.values) if isinstance(value, tuple)), None)
        if header is None:
            return -1
        del stack.states[header + 2 :], stack.values[header + 1 :]
        index += 1
        while kinds[index] not in ("TYPE", "EXTEND", "CONDITION"):
            if kinds[index] == FINISH:
                return -1
            index += 1
        return index

    def _report(self, stack: Stack, index: int) -> None:
        tokens = self._tokens
        kind, text, position = tokens.kinds[index], tokens.texts[index], tokens.position(index)
        wanted = [one for one in _IN_ORDER if accepts(TABLES, stack.states, one)]
        if NL in wanted:
            wanted = [one for one in wanted if one not in _LINE_KINDS]
        fix = None
        if index in tokens.broken:
            message = tokens.broken[index]
        elif NAME in wanted and text in RESERVED:
            message = f"`{text}` is a reserved word and cannot name anything"
        else:
            message = f"expected {_one_of(wanted)}, found {self._found(kind, text)}"
            word = near(text, [TABLES.spellings.get(one, "") for one in wanted]) if kind == NAME else None
            if word:
                message += f"; did you mean `{word}`?"
                fix = Fix(f"write `{word}`", position, word)
        code = "schema-version-required" if "MODEL" in wanted or "SCHEMA" in wanted else "invalid-syntax"
        self._problems.parse(code, message, position, fix=fix)

    @staticmethod
    def _found(kind: str, text: str) -> str:
        return {FINISH: "the end of the text", NL: "the end of the line"}.get(kind) or quote(text)


_LINE_KINDS = ("TYPE", "EXTEND", "DEFINE", "CONDITION")
_IN_ORDER = (*TABLES.literals.values(), NAME, VERSION, CEL, BUT_NOT, NL, FINISH)


def _one_of(kinds: list[str]) -> str:
    words = [_WORDS.get(kind) or f"`{TABLES.spellings[kind]}`" for kind in kinds]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
