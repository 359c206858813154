"""From nodes to a `Schema`: flags in their place, partials expanded, one thing to a name.

What the result means is checked afterwards, in `schema.check`.
"""

from collections.abc import Iterator, Mapping, Sequence

from schema.errors import ProblemKind, SchemaProblem, Source, hint, quote
from schema.model import Caveat, CaveatType, Definition, Position, Relation, Schema
from schema.names import definition_name_fault, relation_name_fault
from schema.syntax import CaveatNode, DefinitionNode, Import, Item, Member, Partial, PartialReference, SchemaNode, Use
from schema.tokens import FLAGS

MEMBERS_MAX = 1_000_000
"""Members of a schema with its partials expanded: some lines of partials can name each other into billions."""

CAVEAT_TYPES: Mapping[str, int] = {
    "any": 0,
    "bool": 0,
    "bytes": 0,
    "double": 0,
    "duration": 0,
    "int": 0,
    "ipaddress": 0,
    "list": 1,
    "map": 1,
    "string": 0,
    "timestamp": 0,
    "uint": 0,
}
"""The types of caveat parameters, with the number of type arguments that each takes."""


class Problems:
    """Problems found in one text, with the names that each concerns."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.found: list[SchemaProblem] = []

    def parse(self, code: str, message: str, position: Position, **names: str) -> None:
        """Something the text cannot say."""
        self.found.append(self._source.problem(ProblemKind.PARSE, code, message, position, names))

    def type(self, code: str, message: str, position: Position, **names: str) -> None:
        """Something that means nothing."""
        self.found.append(self._source.problem(ProblemKind.TYPE, code, message, position, names))


def resolve(node: SchemaNode, problems: Problems) -> Schema:
    """Put the items of one text together. The text's imports must be resolved before."""
    _check_flags(node.items, problems)
    partials = {item.name: item for item in node.items if isinstance(item, Partial)}
    for partial in partials.values():
        _check_partial(partial, partials, problems)
    if problems.found:
        return Schema({})
    expansion = _Expansion(partials, problems)
    definitions: dict[str, Definition] = {}
    caveats: dict[str, Caveat] = {}
    for item in node.items:
        if not isinstance(item, DefinitionNode | CaveatNode):
            continue
        if item.name in definitions or item.name in caveats or item.name in partials:
            problems.parse(
                "duplicate-name",
                f"{quote(item.name)} is already the name of {_taken(item.name, definitions, caveats)}",
                item.position,
            )
        elif isinstance(item, DefinitionNode):
            definitions[item.name] = _definition(item, expansion, problems)
        else:
            caveats[item.name] = _caveat(item, problems)
    return Schema(definitions, caveats)


def _taken(name: str, definitions: Mapping[str, Definition], caveats: Mapping[str, Caveat]) -> str:
    if name in definitions:
        return "a definition"
    return "a caveat" if name in caveats else "a partial"


def _check_flags(items: Sequence[Item], problems: Problems) -> None:
    begun = False
    for item in items:
        if isinstance(item, DefinitionNode | CaveatNode):
            begun = True
        elif isinstance(item, Use):
            if item.flag not in FLAGS:
                known = ", ".join(f"`{flag}`" for flag in FLAGS)
                message = f"unknown flag {quote(item.flag)}{hint(item.flag, FLAGS)}; there are {known}"
                problems.parse("unknown-flag", message, item.position)
            if begun:
                message = "`use` must come before the first definition and caveat"
                problems.parse("misplaced-use", message, item.position)
        elif isinstance(item, Import):
            message = "imports are not allowed in this context: compile the files into one schema first"
            problems.parse("import-not-allowed", message, item.position)


def _check_partial(partial: Partial, partials: Mapping[str, Partial], problems: Problems) -> None:
    """Refuse a partial that names an unknown one or, by whatever way, itself."""
    seen: set[str] = set()
    todo = [member for member in partial.members if isinstance(member, PartialReference)]
    for member in todo:
        if member.name not in partials:
            problems.type("unknown-partial", _unknown_partial(member.name, partials), member.position)
    while todo:
        member = todo.pop()
        if member.name == partial.name:
            message = f"partial {quote(partial.name)} contains itself"
            problems.type("circular-partial", message, partial.position)
            return
        if member.name in seen or member.name not in partials:
            continue
        seen.add(member.name)
        todo.extend(inner for inner in partials[member.name].members if isinstance(inner, PartialReference))


def _unknown_partial(name: str, partials: Mapping[str, Partial]) -> str:
    return f"no partial {quote(name)}{hint(name, partials)}"


class _Expansion:
    """Puts the members of partials in place of references, not more than `MEMBERS_MAX` in all."""

    def __init__(self, partials: Mapping[str, Partial], problems: Problems) -> None:
        self._partials = partials
        self._problems = problems
        self._left = MEMBERS_MAX

    def members(self, members: Sequence[Member]) -> Iterator[Relation]:
        """The members, partials expanded at whatever depth."""
        todo = list(reversed(members))
        while todo:
            member = todo.pop()
            self._left -= 1
            if self._left <= 0:
                if not self._left:
                    message = f"partials expand to more than {MEMBERS_MAX} members"
                    self._problems.parse("too-many-members", message, member.position)
                return
            if isinstance(member, Relation):
                yield member
            elif member.name in self._partials:
                todo.extend(reversed(self._partials[member.name].members))
            else:
                message = _unknown_partial(member.name, self._partials)
                self._problems.parse("unknown-partial", message, member.position)


def _definition(node: DefinitionNode, expansion: _Expansion, problems: Problems) -> Definition:
    fault = definition_name_fault(node.name)
    if fault:
        problems.parse("invalid-name", fault, node.position, definition_name=node.name)
    relations: dict[str, Relation] = {}
    for member in expansion.members(node.members):
        kind = "permission" if member.is_permission else "relation"
        names = {"definition_name": node.name, f"{kind}_name": member.name}
        fault = relation_name_fault(member.name, kind)
        if fault:
            problems.parse("invalid-name", fault, member.position, **names)
        if member.name in relations:
            other = "permission" if relations[member.name].is_permission else "relation"
            message = f"{quote(member.name)} is already a {other} of `{node.name}`"
            problems.parse("duplicate-member", message, member.position, **names)
        relations[member.name] = member
    return Definition(node.name, relations, node.comment, node.position)


def _caveat(node: CaveatNode, problems: Problems) -> Caveat:
    parameters: dict[str, CaveatType] = {}
    for parameter in node.parameters:
        names = {"caveat_name": node.name, "parameter_name": parameter.name}
        if parameter.name in parameters:
            message = f"{quote(parameter.name)} is already a parameter of caveat `{node.name}`"
            problems.parse("duplicate-parameter", message, parameter.position, **names)
        fault = _type_fault(parameter.type)
        if fault:
            problems.parse("invalid-parameter-type", fault, parameter.position, **names)
        parameters[parameter.name] = _without_idle_arguments(parameter.type)
    return Caveat(node.name, parameters, node.expression, node.comment, node.position)


def _type_fault(type_: CaveatType) -> str | None:
    todo = [type_]
    while todo:
        one = todo.pop()
        arity = CAVEAT_TYPES.get(one.name)
        if arity is None:
            return f"no parameter type {quote(one.name)}{hint(one.name, CAVEAT_TYPES)}"
        if arity and len(one.arguments) != arity:
            return f"type `{one.name}` takes exactly one type argument, as in `{one.name}<string>`"
        todo.extend(one.arguments)
    return None


def _without_idle_arguments(type_: CaveatType) -> CaveatType:
    """A type without the arguments of scalars, which mean nothing. Types are nested no deeper than parentheses."""
    if not CAVEAT_TYPES.get(type_.name):
        return CaveatType(type_.name)
    return CaveatType(type_.name, tuple(_without_idle_arguments(argument) for argument in type_.arguments))
