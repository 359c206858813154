"""Warnings: what a valid schema says that its writer may not have meant.

A line comment ``// tessera-ignore-warning: name`` above a relation or permission silences one there, and so do the
comments that schemas carry for the field's own tool (``// spicedb-ignore-warning: name``).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from schema.check import leaves
from schema.compile import Compiled
from schema.errors import Problems, Source
from schema.model import ComputedUserset, Definition, Position, Relation, Schema, TupleToUserset
from schema.tokens import END, FINISH, Tokens, scan

_IGNORE = re.compile(r"// ?(?:tessera|spicedb)-ignore-warning: ?([a-z-]+)\s*")
_OPERATORS = {"PLUS": "+", "AMPERSAND": "&", "MINUS": "-"}


@dataclass(frozen=True, slots=True)
class LintWarning:
    """Something doubtful: ``name`` is its kind, which an ignoring comment names; ``position`` is in ``file``."""

    name: str
    message: str
    position: Position
    definition: str
    relation: str
    file: str = ""
    source_line: str = ""


def lint(compiled: Compiled) -> list[LintWarning]:
    """Warnings about a schema, in source order."""
    schema, files = compiled.schema, Problems(*compiled.sources)
    found = list(_members(schema))
    for source in compiled.sources:
        found.extend(_mixed_operators(schema, scan(source)))
    kept = [one for one in found if one.name not in _ignored(schema, one)]
    kept.sort(key=lambda one: (one.position.line, one.position.column, one.name))
    return [_in_its_file(one, files.source_of(one.position)) for one in kept]


def _in_its_file(warning: LintWarning, source: Source) -> LintWarning:
    position = source.own(warning.position)
    return replace(warning, file=source.file, position=position, source_line=source.line(position.line))


def _ignored(schema: Schema, warning: LintWarning) -> set[str]:
    comment = schema.definitions[warning.definition].relations[warning.relation].comment
    return {found[1] for line in comment.splitlines() if (found := _IGNORE.fullmatch(line.strip()))}


def _members(schema: Schema) -> Iterator[LintWarning]:
    for definition in schema.definitions.values():
        own = definition.name.rpartition("/")[2]
        for member in definition.relations.values():
            if member.name.endswith(own):
                kind = "permission" if member.is_permission else "relation"
                message = f"the name of {kind} `{member.name}` repeats that of its definition `{definition.name}`"
                yield _warning("relation-name-references-parent", message, definition, member)
            for leaf in leaves(member.rewrite):
                if isinstance(leaf, ComputedUserset) and leaf.relation == member.name:
                    message = f"permission `{member.name}` refers to itself"
                    yield _warning("permission-references-itself", message, definition, member, leaf.position)
                elif isinstance(leaf, TupleToUserset):
                    yield from _arrow(schema, definition, member, leaf)


def _arrow(schema: Schema, definition: Definition, member: Relation, arrow: TupleToUserset) -> Iterator[LintWarning]:
    tupleset = definition.relations[arrow.tupleset]
    spelled = f"{arrow.tupleset}->{arrow.computed}"
    walked = sorted({allowed.type for allowed in tupleset.allowed})
    reached = [schema.definitions[type_].relations.get(arrow.computed) for type_ in walked]
    lacking = [type_ for type_, target in zip(walked, reached, strict=True) if target is None]
    if len(lacking) == len(walked):
        message = (
            f"arrow `{spelled}` reaches nothing: `{arrow.computed}` is on none of the types of `{arrow.tupleset}`"
        )
        yield _warning("arrow-references-unreachable-relation", message, definition, member, arrow.position)
    elif lacking:
        message = f"arrow `{spelled}` reaches nothing on {', '.join(f'`{type_}`' for type_ in lacking)}"
        yield _warning("arrow-target-missing-on-some-types", message, definition, member, arrow.position)
    if any(allowed.relation for allowed in tupleset.allowed):
        message = f"arrow `{spelled}` ignores the subject relations that `{arrow.tupleset}` allows"
        yield _warning("arrow-walks-subject-relation", message, definition, member, arrow.position)
    stored = [type_ for type_, target in zip(walked, reached, strict=True) if target and not target.is_permission]
    if stored:
        message = (
            f"arrow `{spelled}` reaches the relation `{stored[0]}#{arrow.computed}`; give it a permission instead"
        )
        yield _warning("arrow-references-relation", message, definition, member, arrow.position)


def _warning(
    name: str, message: str, definition: Definition, member: Relation, position: Position | None = None
) -> LintWarning:
    return LintWarning(name, message, position or member.position, definition.name, member.name)


def _mixed_operators(schema: Schema, tokens: Tokens) -> Iterator[LintWarning]:
    """Different operators side by side. Parentheses leave no trace in the values, so tokens are looked at."""
    permissions = {
        (member.position.line, member.position.column): (definition, member)
        for definition in schema.definitions.values()
        for member in definition.relations.values()
        if member.is_permission
    }
    kinds = tokens.kinds
    for at, kind in enumerate(kinds):
        if kind != "PERMISSION":
            continue
        place = tokens.position(at + 1)
        found = permissions.get((place.line, place.column))
        if found is None:
            continue
        levels: list[set[str]] = [set()]
        while kinds[at] not in (END, FINISH):
            if kinds[at] == "LPAR":
                levels.append(set())
            elif kinds[at] == "RPAR":
                levels.pop()
            elif kinds[at] in _OPERATORS:
                level = levels[-1]
                level.add(_OPERATORS[kinds[at]])
                if len(level) > 1:
                    mixed = " and ".join(f"`{one}`" for one in sorted(level))
                    message = f"{mixed} are mixed without parentheses: `+` binds tightest, then `&`, then `-`"
                    yield _warning("mixed-operators", message, *found, tokens.position(at))
                    break
            at += 1  # noqa: PLW2901 (the rest of this statement)
