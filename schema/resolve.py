"""From nodes to a `Schema`: partials expanded, one thing to a name.

What the result means is checked afterwards, in `schema.check`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from schema.cel import CheckedCaveat, check_caveat
from schema.errors import Problems, hint, quote
from schema.model import NOWHERE, Caveat, CaveatType, Definition, Relation, Schema
from schema.names import CAVEAT_TYPES, definition_name_fault, parameter_type_fault, relation_name_fault
from schema.syntax import CaveatNode, DefinitionNode, Item, Member, Partial, PartialReference

EXPRESSIONS_CHARS_MAX = 500_000
"""The expressions of a schema's caveats together: checking them takes some seconds a megabyte."""
MEMBERS_MAX = 1_000_000
"""Members of a schema with its partials expanded: some lines of partials can name each other into billions."""


def resolve(items: Sequence[Item], problems: Problems) -> Schema:
    """Put items together, those of imported files before those of the file that imports them."""
    partials = {item.name: item for item in items if isinstance(item, Partial)}
    _check_partials(partials, problems)
    if problems.found:
        return Schema({})
    if sum(len(item.expression) for item in items if isinstance(item, CaveatNode)) > EXPRESSIONS_CHARS_MAX:
        message = f"the expressions of caveats are longer than {EXPRESSIONS_CHARS_MAX} characters together"
        problems.parse("expressions-too-long", message, NOWHERE)
        return Schema({})
    expansion = _Expansion(partials, problems)
    definitions: dict[str, Definition] = {}
    caveats: dict[str, Caveat] = {}
    for item in items:
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


def _check_partials(partials: Mapping[str, Partial], problems: Problems) -> None:
    """Refuse partials that name an unknown one or, by whatever way, themselves."""
    finished: set[str] = set()
    for partial in partials.values():
        opened: dict[str, None] = {}
        todo = [(partial, True)]
        while todo:
            one, first = todo.pop()
            if not first:
                opened.pop(one.name)
                finished.add(one.name)
            elif one.name in opened:
                message = f"partial {quote(one.name)} contains itself"
                problems.type("circular-partial", message, one.position)
            elif one.name not in finished:
                opened[one.name] = None
                todo.append((one, False))
                todo.extend((inner, True) for inner in _contained(one, partials, problems))


def _contained(partial: Partial, partials: Mapping[str, Partial], problems: Problems) -> Iterator[Partial]:
    for member in partial.members:
        if isinstance(member, PartialReference):
            if member.name in partials:
                yield partials[member.name]
            else:
                problems.type("unknown-partial", _unknown_partial(member.name, partials), member.position)


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
        problems.parse("invalid-name", fault, node.position, {"definition_name": node.name})
    relations: dict[str, Relation] = {}
    for member in expansion.members(node.members):
        kind = "permission" if member.is_permission else "relation"
        names = {"definition_name": node.name, f"{kind}_name": member.name}
        fault = relation_name_fault(member.name, kind)
        if fault:
            problems.parse("invalid-name", fault, member.position, names)
        if member.name in relations:
            other = "permission" if relations[member.name].is_permission else "relation"
            message = f"{quote(member.name)} is already a {other} of `{node.name}`"
            problems.parse("duplicate-member", message, member.position, names)
        relations[member.name] = member
    return Definition(node.name, relations, node.comment, node.position)


def _caveat(node: CaveatNode, problems: Problems) -> Caveat:
    parameters: dict[str, CaveatType] = {}
    faulty = False
    for parameter in node.parameters:
        names = {"caveat_name": node.name, "parameter_name": parameter.name}
        if parameter.name in parameters:
            message = f"{quote(parameter.name)} is already a parameter of caveat `{node.name}`"
            problems.parse("duplicate-parameter", message, parameter.position, names)
            faulty = True
        fault = parameter_type_fault(parameter.type)
        if fault:
            problems.parse("invalid-parameter-type", fault, parameter.position, names)
            faulty = True
            continue
        parameters[parameter.name] = _without_idle_arguments(parameter.type)
    caveat = Caveat(node.name, parameters, node.expression, node.comment, node.position)
    return caveat if faulty else _with_expression(caveat, node, problems)


def _with_expression(caveat: Caveat, node: CaveatNode, problems: Problems) -> Caveat:
    """The caveat with its expression compiled, unless it cannot be."""
    if problems.full:
        return caveat
    checked = check_caveat(caveat)
    if isinstance(checked, CheckedCaveat):
        limits = checked.limits
        return replace(
            caveat,
            checked=checked.serialized,
            bytes_max=limits.bytes,
            elements_max=limits.elements,
            repeats_max=limits.repeats,
        )
    places = {parameter.name: parameter.position for parameter in node.parameters}
    for fault in checked:
        names = {"caveat_name": caveat.name}
        position = node.expression_position
        if fault.parameter:
            names["parameter_name"] = fault.parameter
            position = places[fault.parameter]
        elif fault.line:
            source = problems.source_of(position)
            start = source.offset(position.line, position.column)
            position = source.within(start, fault.line, fault.column)
        if fault.code == "unused-parameter":
            problems.type(fault.code, fault.message, position, names)
        else:
            problems.parse(fault.code, f"caveat {quote(caveat.name)}: {fault.message}", position, names)
    return caveat


def _without_idle_arguments(type_: CaveatType) -> CaveatType:
    """A type without the arguments of scalars, which mean nothing. Types are nested no deeper than parentheses."""
    if not CAVEAT_TYPES.get(type_.name):
        return CaveatType(type_.name)
    return CaveatType(type_.name, tuple(_without_idle_arguments(argument) for argument in type_.arguments))
