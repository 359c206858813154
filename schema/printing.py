"""A `Schema` as the text that means it, in one canonical form: the same values always print the same.

Caveats come before definitions, both by name; members keep their order. Nested operators are always in parentheses,
since few readers guess that ``+`` binds tighter than ``&`` and ``&`` tighter than ``-``.
"""

from collections.abc import Iterator

from schema.check import leaves, spell_allowed
from schema.model import (
    Caveat,
    ComputedUserset,
    Definition,
    Exclusion,
    Intersection,
    Nil,
    Relation,
    Rewrite,
    Schema,
    SelfSubject,
    This,
    TupleToUserset,
    Union,
)

_COMMENT_LINE_CHARS_MAX = 70


class NotExpressible(Exception):
    """A relation that is stored and computed under one name, as only an imported model has."""

    def __init__(self, definition: str, relation: str) -> None:
        super().__init__(f"`{definition}#{relation}` is both stored and computed, which the language cannot say")
        self.definition = definition
        self.relation = relation


def print_schema(schema: Schema, *, annotations: bool = False) -> str:
    """The schema's text; ``annotations`` keeps the types that permissions were annotated with.

    Raises:
        NotExpressible: an imported relation is both stored and computed.
    """
    blocks = []
    flags = _flags(schema, annotations=annotations)
    if flags:
        blocks.append("\n".join(f"use {flag}" for flag in flags))
    blocks.extend(_caveat(schema.caveats[name]) for name in sorted(schema.caveats))
    blocks.extend(_definition(schema.definitions[name], annotations) for name in sorted(schema.definitions))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def print_rewrite(rewrite: Rewrite) -> str:
    """An expression. Recurses on its depth, which `schema.check` bounds."""
    match rewrite:
        case ComputedUserset(relation):
            return relation
        case TupleToUserset(tupleset, computed, quantifier, function_style):
            return f"{tupleset}.{quantifier}({computed})" if function_style else f"{tupleset}->{computed}"
        case Union(children):
            return " + ".join(map(_operand, children))
        case Intersection(children):
            return " & ".join(map(_operand, children))
        case Exclusion(base, subtract):
            return f"{_operand(base)} - {_operand(subtract)}"
        case Nil():
            return "nil"
        case SelfSubject():
            return "self"
        case This():
            raise ValueError("what a relation stores is no expression of the language")


def _operand(rewrite: Rewrite) -> str:
    text = print_rewrite(rewrite)
    return f"({text})" if isinstance(rewrite, Union | Intersection | Exclusion) else text


def _flags(schema: Schema, *, annotations: bool) -> list[str]:
    """Only the flags that the text needs, in reverse alphabetical order."""
    members = [member for definition in schema.definitions.values() for member in definition.relations.values()]
    flags = []
    if annotations and any(member.annotation for member in members):
        flags.append("typechecking")
    if any(isinstance(leaf, SelfSubject) for member in members for leaf in leaves(member.rewrite)):
        flags.append("self")
    if any(allowed.expiration for member in members for allowed in member.allowed):
        flags.append("expiration")
    return flags


def _caveat(caveat: Caveat) -> str:
    parameters = ", ".join(f"{name} {caveat.parameters[name]}" for name in sorted(caveat.parameters))
    lines = [*print_comment(caveat.comment), f"caveat {caveat.name}({parameters}) {{", f"\t{caveat.expression}", "}"]
    return "\n".join(lines)


def _definition(definition: Definition, annotations: bool) -> str:
    lines = list(print_comment(definition.comment))
    if not definition.relations:
        return "\n".join([*lines, f"definition {definition.name} {{}}"])
    lines.append(f"definition {definition.name} {{")
    for at, member in enumerate(definition.relations.values()):
        comment = list(print_comment(member.comment))
        if comment and at:
            lines.append("")
        lines.extend(f"\t{line}" for line in comment)
        lines.append(f"\t{_member(definition, member, annotations)}")
    return "\n".join([*lines, "}"])


def _member(definition: Definition, member: Relation, annotations: bool) -> str:
    if not member.is_permission:
        if not isinstance(member.rewrite, This):
            raise NotExpressible(definition.name, member.name)
        return f"relation {member.name}: {' | '.join(map(spell_allowed, member.allowed))}"
    annotation = f": {' | '.join(member.annotation)}" if annotations and member.annotation else ""
    return f"permission {member.name}{annotation} = {print_rewrite(member.rewrite)}"


def print_comment(comment: str) -> Iterator[str]:
    """Comments, one after the other: each ``//`` a line, each block on one line if it is short, else starred."""
    rest = comment.strip()
    while rest:
        if rest.startswith("//"):
            line, _, rest = rest.partition("\n")
            yield f"// {line[2:].strip()}".rstrip()
            rest = rest.lstrip()
            continue
        end = rest.index("*/", 2) + 2
        yield from _block(rest[:end])
        rest = rest[end:].lstrip()


def _block(comment: str) -> Iterator[str]:
    if len(comment) < _COMMENT_LINE_CHARS_MAX and "\n" not in comment and "\r" not in comment:
        yield comment
        return
    opening = "/**" if comment.startswith("/**") else "/*"
    yield opening
    for line in comment[len(opening) : -2].strip().splitlines():
        yield f" * {line.strip().removeprefix('*').strip()}".rstrip()
    yield " */"
