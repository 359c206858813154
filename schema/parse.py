"""From text to `SchemaNode`: the methods that make each rule of ``grammar.lark``, and what is said about errors."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from schema.driver import Stack, accepts, drive, makers
from schema.errors import Fix, Problems, near, quote
from schema.model import (
    AllowedSubject,
    CaveatType,
    ComputedUserset,
    Exclusion,
    Intersection,
    Nil,
    Position,
    Relation,
    Rewrite,
    SelfSubject,
    This,
    TupleToUserset,
    Union,
)
from schema.syntax import (
    CaveatNode,
    DefinitionNode,
    Import,
    Item,
    Parameter,
    Partial,
    PartialReference,
    SchemaNode,
    Use,
)
from schema.tokens import CEL, END, FINISH, FLAG, FLAGS, NAME, STRING, TABLES, Tokens

_ITEM_KINDS = frozenset({"DEFINITION", "CAVEAT", "USE", "PARTIAL", "IMPORT"})
_MEMBER_KINDS = frozenset({"RELATION", "PERMISSION", "ELLIPSIS"})
_BODY_RESUMES = _MEMBER_KINDS | {END, "RBRACE", "DEFINITION", "CAVEAT"}
_KEYWORD_KINDS = frozenset(kind for text, kind in TABLES.literals.items() if text.isalpha()) | {"TYPECHECKING"}
_WORDS = {
    END: "the end of the statement (a line break or `;`)",
    NAME: "a name",
    STRING: "a quoted path",
    CEL: "an expression",
    FLAG: f"a flag ({', '.join(f'`{flag}`' for flag in FLAGS)})",
    FINISH: "the end of the text",
}
_EXPECTED_SHOWN_MAX = 8

_WORDS_FIRST = [
    "definition",
    "caveat",
    "use",
    "partial",
    "import",
    "relation",
    "permission",
    "...",
    ":",
    "=",
    "#",
    "(",
]
_IN_ORDER = (*(TABLES.literals[text] for text in _WORDS_FIRST), NAME, FLAG, STRING, CEL)
_IN_ORDER += tuple(kind for kind in (*TABLES.literals.values(), END, FINISH) if kind not in _IN_ORDER)

Quantifier: TypeAlias = Literal["any", "all"]
_THIS, _NIL, _SELF = This(), Nil(), SelfSubject()


def parse(tokens: Tokens, problems: Problems) -> SchemaNode:
    """Read a text. Where problems are noted the node lacks what could not be read."""
    builder = _Builder(tokens, problems)
    node = drive(TABLES, tokens.kinds, makers(TABLES, builder), _Recovery(tokens, problems))
    return node if isinstance(node, SchemaNode) else SchemaNode(())


class _Builder:
    """One method a rule, each given the rule's values: token indices, and what other methods made."""

    def __init__(self, tokens: Tokens, problems: Problems) -> None:
        self._tokens = tokens
        self._texts = tokens.texts
        self._position = tokens.position
        self._problems = problems

    def schema(self, items: list[Item]) -> SchemaNode:
        return SchemaNode(tuple(items))

    def use(self, values: list[Any]) -> Use:
        (flag,) = values
        return Use(self._texts[flag], self._position(flag))

    def import_(self, values: list[Any]) -> Import:
        (path,) = values
        quotes = 3 if self._texts[path][:3] in ('"""', "'''") and len(self._texts[path]) >= 6 else 1
        return Import(self._texts[path][quotes:-quotes], self._position(path))

    def definition(self, values: list[Any]) -> DefinitionNode:
        (name, first, position), *members = values
        return DefinitionNode(name, tuple(members), self._tokens.comment(first - 1), position)

    def partial(self, values: list[Any]) -> Partial:
        (name, first, position), *members = values
        return Partial(name, tuple(members), self._tokens.comment(first - 1), position)

    def partial_reference(self, values: list[Any]) -> PartialReference:
        (name,) = values
        return PartialReference(self._texts[name], self._position(name))

    def caveat(self, values: list[Any]) -> CaveatNode:
        (name, first, position), *parameters, expression = values
        comment = self._tokens.comment(first - 1)
        at = self._position(expression)
        return CaveatNode(name, tuple(parameters), self._texts[expression], comment, position, at)

    def parameter(self, values: list[Any]) -> Parameter:
        name, type_ = values
        return Parameter(self._texts[name], type_, self._position(name))

    def caveat_type(self, values: list[Any]) -> CaveatType:
        name, *arguments = values
        return CaveatType(self._texts[name], tuple(arguments))

    def relation(self, values: list[Any]) -> Relation:
        name, *allowed = values
        comment = self._tokens.comment(name - 1)
        return Relation(self._texts[name], _THIS, tuple(allowed), comment, (), self._position(name))

    def allowed_subject(self, values: list[Any]) -> AllowedSubject:
        (type_, _, position), *rest = values
        relation, wildcard, caveat, expiration = "", False, "", False
        for value in rest:
            if value is True:
                wildcard = True
            elif isinstance(value, str):
                relation = value
            else:
                caveat, expiration = value
        return AllowedSubject(type_, relation, wildcard, caveat, expiration, position)

    def wildcard(self, _values: list[Any]) -> bool:
        return True

    def userset(self, values: list[Any]) -> str:
        (relation,) = values
        text = self._texts[relation]
        return "" if text == "..." else text

    def caveat_trait(self, values: list[Any]) -> tuple[str, bool]:
        ((caveat, _, _),) = values
        return caveat, False

    def caveat_and_expiration(self, values: list[Any]) -> tuple[str, bool]:
        ((caveat, _, _),) = values
        return caveat, True

    def expiration_trait(self, _values: list[Any]) -> tuple[str, bool]:
        return "", True

    def misplaced_caveat(self, values: list[Any]) -> tuple[str, bool]:
        ((caveat, first, position),) = values
        start = self._position(first - 2)
        at = Position(start.line, start.column, position.end_line, position.end_column)
        fixed = f"{caveat} and expiration"
        message = f"a caveat comes before the expiration: write `with {fixed}`"
        fix = Fix(f"write `{fixed}`", at, fixed)
        self._problems.parse("expiration-before-caveat", message, at, fix=fix)
        return caveat, True

    def permission(self, values: list[Any]) -> Relation:
        name, *annotation, rewrite = values
        comment = self._tokens.comment(name - 1)
        types = annotation[0] if annotation else ()
        return Relation(self._texts[name], rewrite, (), comment, types, self._position(name))

    def annotation(self, values: list[Any]) -> tuple[str, ...]:
        return tuple(self._texts[name] for name in values)

    def exclusion(self, values: list[Rewrite]) -> Rewrite:
        base = values[0]
        for subtract in values[1:]:
            base = Exclusion(base, subtract)
        return base

    def intersection(self, values: list[Rewrite]) -> Rewrite:
        children: list[Rewrite] = []
        for value in values:
            children.extend(value.children if isinstance(value, Intersection) else (value,))
        return Intersection(tuple(children))

    def union(self, values: list[Rewrite]) -> Rewrite:
        children: list[Rewrite] = []
        for value in values:
            children.extend(value.children if isinstance(value, Union) else (value,))
        return Union(tuple(children))

    def computed_userset(self, values: list[Any]) -> ComputedUserset:
        (name,) = values
        return ComputedUserset(self._texts[name], self._position(name))

    def arrow(self, values: list[Any]) -> TupleToUserset:
        return self._arrow(values[0], values[1], values[1])

    def any_arrow(self, values: list[Any]) -> TupleToUserset:
        return self._arrow(values[0], values[1], values[1] + 1, "any", function_style=True)

    def all_arrow(self, values: list[Any]) -> TupleToUserset:
        return self._arrow(values[0], values[1], values[1] + 1, "all", function_style=True)

    def nil(self, _values: list[Any]) -> Nil:
        return _NIL

    def self_subject(self, _values: list[Any]) -> SelfSubject:
        return _SELF

    def path(self, values: list[int]) -> tuple[str, int, Position]:
        first = values[0]
        if len(values) == 1:
            return self._texts[first], first, self._position(first)
        return "/".join(self._texts[name] for name in values), first, self._position(first, values[-1])

    def _arrow(
        self, walked: Any, right: int, last: int, quantifier: Quantifier = "any", *, function_style: bool = False
    ) -> TupleToUserset:
        if isinstance(walked, TupleToUserset):
            start, end = walked.position, self._position(last)
            at = Position(start.line, start.column, end.line, end.column)
            if walked.tupleset:
                message = "an arrow cannot follow another: give the first a permission of its own"
                self._problems.parse("nested-arrow", message, at)
            return TupleToUserset("", "", quantifier, function_style, at)
        position = self._position(walked, last)
        return TupleToUserset(self._texts[walked], self._texts[right], quantifier, function_style, position)


class _Recovery:
    """Says what does not fit, and goes on at the next statement of a body, or at the next item."""

    def __init__(self, tokens: Tokens, problems: Problems) -> None:
        self._tokens = tokens
        self._problems = problems

    def recover(self, stack: Stack, index: int) -> int:
        """See `schema.driver.Recovery`. The stack is cut back, so what it held of this body or item is lost."""
        kinds = self._tokens.kinds
        kind = kinds[index]
        names = accepts(TABLES, stack.states, NAME)
        unended = _is_unended(stack.states)
        self._report(stack.states, index, names=names)
        if kind == FINISH or self._problems.full:
            return -1
        brace = self._open_brace(stack)
        if brace is not None:
            del stack.states[brace + 2 :], stack.values[brace + 1 :]
            resumes = _BODY_RESUMES
            if not unended and kind in _MEMBER_KINDS:
                index += 1
        else:
            stack.states, stack.values = [TABLES.start], []
            resumes = _ITEM_KINDS
        if names and kind in _ITEM_KINDS:
            index += 1
        while kinds[index] not in resumes:
            if kinds[index] == FINISH:
                return -1
            index += 1
        if kinds[index] in _ITEM_KINDS:
            stack.states, stack.values = [TABLES.start], []
        return index

    def _open_brace(self, stack: Stack) -> int | None:
        """Where on the stack the brace of a body is; a caveat's follows a parenthesis."""
        kinds, values = self._tokens.kinds, stack.values
        for at, value in enumerate(values):
            if isinstance(value, int) and kinds[value] == "LBRACE":
                before = values[at - 1]
                return None if isinstance(before, int) and kinds[before] == "RPAR" else at
        return None

    def _report(self, states: Sequence[int], index: int, *, names: bool) -> None:
        tokens = self._tokens
        kind, text = tokens.kinds[index], tokens.texts[index]
        position = tokens.position(index)
        fix = None
        code = "unexpected-token"
        wanted = [k for k in _IN_ORDER if accepts(TABLES, states, k) and k not in tokens.unused_keywords]
        if "CAVEAT" in wanted:
            wanted = [k for k in wanted if k != END]
        if index in tokens.broken:
            code, message = "unreadable", tokens.broken[index]
        elif names and kind in _KEYWORD_KINDS:
            code, message = "reserved-word", _reserved(text)
        elif wanted == [CEL]:
            code, message = "empty-expression", "a caveat needs an expression between its braces"
        elif _is_unended(states) and kind != END:
            code = "statement-not-ended"
            message = f"expected {_WORDS[END]} before {self._found(index)}"
            if kind in ("RBRACE", *_MEMBER_KINDS):
                at = Position(position.line, position.column, position.line, position.column)
                fix = Fix("end the statement with `;`", at, "; ")
            elif text == "and":
                message += "; an expiration needs `use expiration` at the top of the schema"
        else:
            message = f"expected {_one_of(wanted)}, found {self._found(index)}"
            word = near(text, [_spelled(kind) for kind in wanted]) if kind == NAME else None
            if kind == NAME and text in ("partial", "import") and "DEFINITION" in wanted:
                message += f"; `use {text}` must stand at the top of the schema"
            elif word:
                message += f"; did you mean `{word}`?"
                fix = Fix(f"write `{word}`", position, word)
        self._problems.parse(code, message, position, fix=fix)

    def _found(self, index: int) -> str:
        kind, text = self._tokens.kinds[index], self._tokens.texts[index]
        if kind == FINISH:
            return "the end of the text"
        if kind == END and text == "\n":
            return "a line break, which ends the statement here"
        return quote(text)


def _is_unended(states: Sequence[int]) -> bool:
    """Whether a member is complete but for its end."""
    return accepts(TABLES, states, END) and not any(accepts(TABLES, states, kind) for kind in ("RELATION", "CAVEAT"))


def _reserved(word: str) -> str:
    for flag, words in FLAGS.items():
        if word in words:
            return f"`{word}` is a keyword here, by `use {flag}`, and cannot name anything"
    return f"`{word}` is a reserved word and cannot name anything"


def _spelled(kind: str) -> str:
    return TABLES.spellings.get(kind, "")


def _one_of(kinds: Sequence[str]) -> str:
    words = [_WORDS.get(kind) or f"`{_spelled(kind)}`" for kind in kinds]
    if len(words) > _EXPECTED_SHOWN_MAX:
        words = [*words[: _EXPECTED_SHOWN_MAX - 1], "…"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
