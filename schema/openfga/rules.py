"""What a model must satisfy: OpenFGA's rules, under the names that its own validator gives to breaking them.

A model in the DSL is held to a few rules more than one in JSON: nothing may be said twice, and every condition must
be used.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from schema.check import REWRITE_DEPTH_MAX, leaves, rewrite_depth
from schema.errors import Names, Problems, hint, quote
from schema.model import (
    AllowedSubject,
    ComputedUserset,
    Exclusion,
    Intersection,
    Nil,
    Position,
    Rewrite,
    SelfSubject,
    This,
    TupleToUserset,
    Union,
)
from schema.names import parameter_type_fault
from schema.openfga.document import ConditionNode, Document, RelationNode, TypeNode

VERSIONS = ("1.1", "1.2")
TYPE_CHARS_MAX = 254
NAME_CHARS_MAX = 50
_RESERVED = frozenset({"self", "this"})


class _Key(NamedTuple):
    type: str
    relation: str


def check(document: Document, problems: Problems, *, dsl: bool) -> None:
    """Note every rule that a whole model breaks; its modules are put together before."""
    _Rules(document, problems, dsl=dsl).run()


class _Rules:
    """The rules, over one model."""

    def __init__(self, document: Document, problems: Problems, *, dsl: bool) -> None:
        self._document = document
        self._problems = problems
        self._dsl = dsl
        self._types = {one.name: {relation.name: relation for relation in one.relations} for one in document.types}
        self._conditions = {one.name: one for one in document.conditions}

    def run(self) -> None:
        """All of them. Rules about reaching are only asked of a model whose names are right."""
        self._version()
        self._names()
        for type_ in self._document.types:
            for relation in type_.relations:
                self._relation(type_, relation)
        if self._dsl:
            self._unused_conditions()
        if not self._problems.found:
            self._aliases()
        if not self._problems.found:
            self._entry_points()

    def _refuse(self, code: str, message: str, position: Position, names: Names | None = None) -> None:
        self._problems.type(code, message, position, names)

    def _version(self) -> None:
        version = self._document.version
        if version == "1.0":
            message = "schema version `1.0` is no longer supported: use `1.1`"
            self._refuse("invalid-schema", message, self._document.version_position)
        elif version not in VERSIONS:
            message = f"schema version {quote(version)} is not supported: use `1.1` or `1.2`"
            self._refuse("schema-version-unsupported", message, self._document.version_position)

    def _names(self) -> None:
        seen: set[str] = set()
        for type_ in self._document.types:
            if type_.name in seen:
                self._refuse("duplicated-error", f"type {quote(type_.name)} is defined twice", type_.position)
            seen.add(type_.name)
            if type_.name in _RESERVED:
                message = f"a type cannot be named `{type_.name}`"
                self._refuse("reserved-type-keywords", message, type_.position)
            self._name("type", type_.name, TYPE_CHARS_MAX, type_.position)
            relations: set[str] = set()
            for relation in type_.relations:
                names = {"definition_name": type_.name, "relation_name": relation.name}
                if relation.name in _RESERVED:
                    message = f"a relation cannot be named `{relation.name}`"
                    self._refuse("reserved-relation-keywords", message, relation.position, names)
                if relation.name in relations:
                    message = f"relation {quote(relation.name)} is defined twice on `{type_.name}`"
                    self._refuse("invalid-syntax", message, relation.position, names)
                relations.add(relation.name)
                self._name("relation", relation.name, NAME_CHARS_MAX, relation.position)
        conditions: set[str] = set()
        for condition in self._document.conditions:
            if condition.name in conditions:
                message = f"condition {quote(condition.name)} is defined twice"
                self._refuse("duplicated-error", message, condition.position)
            conditions.add(condition.name)
            self._name("condition", condition.name, NAME_CHARS_MAX, condition.position)
            self._parameters(condition)

    def _parameters(self, condition: ConditionNode) -> None:
        seen: set[str] = set()
        for parameter in condition.parameters:
            names = {"caveat_name": condition.name, "parameter_name": parameter.name}
            if parameter.name in seen:
                message = f"{quote(parameter.name)} is already a parameter of condition `{condition.name}`"
                self._refuse("invalid-syntax", message, parameter.position, names)
            seen.add(parameter.name)
            fault = parameter_type_fault(parameter.type)
            if parameter.type.name == "bytes" or (self._dsl and parameter.type.name == "any"):
                fault = f"no parameter type `{parameter.type.name}`"
            if fault:
                self._refuse("invalid-syntax", fault, parameter.position, names)

    def _name(self, kind: str, name: str, chars_max: int, position: Position) -> None:
        barred = [char for char in name if char in ":#@" or char.isspace() or (self._dsl and char == "*")]
        if not name or barred or len(name) > chars_max:
            rule = f"1 to {chars_max} characters, none of them `:`, `#`, `@` or blank"
            message = f"{quote(name)} cannot name a {kind}: {rule}"
            self._refuse("invalid-name", message, position)

    def _relation(self, type_: TypeNode, relation: RelationNode) -> None:
        names = {"definition_name": type_.name, "relation_name": relation.name}
        at = relation.position
        if rewrite_depth(relation.rewrite) > REWRITE_DEPTH_MAX:
            message = f"relation `{relation.name}` nests more than {REWRITE_DEPTH_MAX} operators in one another"
            self._refuse("invalid-syntax", message, at, names)
            return
        found = list(leaves(relation.rewrite))
        direct = any(isinstance(leaf, This) for leaf in found)
        if direct and not relation.restrictions:
            message = f"relation `{relation.name}` of type `{type_.name}` can be assigned, but to no type"
            self._refuse("assignable-relation-must-have-type", message, at, names)
        if relation.restrictions and not direct:
            message = f"relation `{relation.name}` of type `{type_.name}` names types, but cannot be assigned"
            self._refuse("invalid-syntax", message, at, names)
        seen: set[AllowedSubject] = set()
        for restriction in relation.restrictions:
            self._restriction(restriction, names)
            if self._dsl and restriction in seen:
                message = f"type restriction {quote(_spell(restriction))} stands twice in `{relation.name}`"
                self._refuse("duplicated-error", message, restriction.position, names)
            seen.add(restriction)
        for leaf in found:
            self._leaf(type_, relation, leaf, names)
        if self._dsl:
            self._duplicate_operands(relation, names)

    def _restriction(self, restriction: AllowedSubject, names: Names) -> None:
        relations = self._types.get(restriction.type)
        at = restriction.position
        if relations is None:
            message = f"no type {quote(restriction.type)}{hint(restriction.type, self._types)}"
            self._refuse("invalid-type", message, at, names)
        elif restriction.relation and restriction.relation not in relations:
            message = f"no relation {quote(restriction.relation)} on `{restriction.type}`"
            self._refuse("invalid-relation-type", message + hint(restriction.relation, relations), at, names)
        if restriction.caveat and restriction.caveat not in self._conditions:
            message = f"no condition {quote(restriction.caveat)}{hint(restriction.caveat, self._conditions)}"
            self._refuse("condition-not-defined", message, at, names)

    def _leaf(self, type_: TypeNode, relation: RelationNode, leaf: Rewrite, names: Names) -> None:
        own = self._types[type_.name]
        match leaf:
            case ComputedUserset(name, position):
                at = position if position.line else relation.position
                if name not in own:
                    message = f"no relation {quote(name)} on `{type_.name}`{hint(name, own)}"
                    self._refuse("missing-definition", message, at, names)
                elif name == relation.name:
                    message = f"relation `{name}` of type `{type_.name}` is defined by itself"
                    self._refuse("relation-no-entry-point", message, at, names)
            case TupleToUserset(tupleset, computed, position=position):
                at = position if position.line else relation.position
                self._arrow(type_, tupleset, computed, at, names)
            case _:
                pass

    def _arrow(self, type_: TypeNode, tupleset: str, computed: str, at: Position, names: Names) -> None:
        own = self._types[type_.name]
        if tupleset not in own:
            message = f"no relation {quote(tupleset)} on `{type_.name}`{hint(tupleset, own)}"
            self._refuse("invalid-relation-type", message, at, names)
            return
        walked = own[tupleset]
        unfit = not isinstance(walked.rewrite, This) or any(
            one.relation or one.wildcard for one in walked.restrictions
        )
        if unfit:
            message = (
                f"relation `{tupleset}` cannot stand after `from`: it must be assigned directly, to objects alone"
            )
            self._refuse("tupleuserset-not-direct", message, at, names)
        elif not any(computed in self._types.get(one.type, {}) for one in walked.restrictions):
            message = f"no relation {quote(computed)} on any type of `{tupleset}`"
            self._refuse("invalid-relation-on-tupleset", message, at, names)

    def _duplicate_operands(self, relation: RelationNode, names: Names) -> None:
        todo = [relation.rewrite]
        while todo:
            one = todo.pop()
            children = _children(one)
            todo.extend(children)
            if len(children) != len(set(children)):
                message = f"relation `{relation.name}` names the same operand twice"
                self._refuse("duplicated-error", message, relation.position, names)

    def _unused_conditions(self) -> None:
        used = {
            restriction.caveat
            for type_ in self._document.types
            for relation in type_.relations
            for restriction in relation.restrictions
        }
        for condition in self._document.conditions:
            if condition.name not in used:
                message = f"condition `{condition.name}` is not used"
                self._refuse("condition-not-used", message, condition.position)

    def _aliases(self) -> None:
        """Refuse relations that are computed from each other, even where something can be assigned to them."""
        edges = {
            _Key(type_.name, relation.name): [
                _Key(type_.name, leaf.relation)
                for leaf in leaves(relation.rewrite)
                if isinstance(leaf, ComputedUserset)
            ]
            for type_ in self._document.types
            for relation in type_.relations
        }
        for key in _cyclic(edges):
            position = self._types[key.type][key.relation].position
            message = f"relation `{key.relation}` of type `{key.type}` is part of a loop of definitions"
            names = {"definition_name": key.type, "relation_name": key.relation}
            self._refuse("relation-no-entry-point", message, position, names)

    def _entry_points(self) -> None:
        """Refuse relations that nobody can ever have."""
        relations = {
            _Key(one.name, relation.name): relation for one in self._document.types for relation in one.relations
        }
        users: dict[_Key, list[_Key]] = {}
        for key, relation in relations.items():
            for source in self._sources(key, relation):
                users.setdefault(source, []).append(key)
        open_: set[_Key] = set()
        todo = list(relations)
        while todo:
            key = todo.pop()
            if key not in open_ and self._enters(key, relations[key], open_):
                open_.add(key)
                todo.extend(users.get(key, ()))
        for key, relation in relations.items():
            if key not in open_:
                message = (
                    f"nobody can ever have relation `{key.relation}` of type `{key.type}`: it has no entry point"
                )
                names = {"definition_name": key.type, "relation_name": key.relation}
                self._refuse("relation-no-entry-point", message, relation.position, names)

    def _sources(self, key: _Key, relation: RelationNode) -> Iterator[_Key]:
        """The relations that one may be entered through."""
        for leaf in leaves(relation.rewrite):
            match leaf:
                case ComputedUserset(name):
                    yield _Key(key.type, name)
                case TupleToUserset(tupleset, computed):
                    for one in self._types[key.type][tupleset].restrictions:
                        yield _Key(one.type, computed)
                case This():
                    for one in relation.restrictions:
                        yield _Key(one.type, one.relation)
                case _:
                    pass

    def _enters(self, key: _Key, relation: RelationNode, open_: set[_Key]) -> bool:
        """Whether somebody can have the relation, given those known to be open. Recurses on its bounded depth."""

        def enters(rewrite: Rewrite) -> bool:
            match rewrite:
                case This():
                    return any(
                        not one.relation or _Key(one.type, one.relation) in open_ for one in relation.restrictions
                    )
                case ComputedUserset(name):
                    return _Key(key.type, name) in open_
                case TupleToUserset(tupleset, computed):
                    walked = self._types[key.type][tupleset].restrictions
                    return any(_Key(one.type, computed) in open_ for one in walked)
                case Union(children):
                    return any(map(enters, children))
                case Intersection(children):
                    return all(map(enters, children))
                case Exclusion(base, subtract):
                    return enters(base) and enters(subtract)
                case Nil() | SelfSubject():
                    return False

        return enters(relation.rewrite)


def _cyclic(edges: Mapping[_Key, list[_Key]]) -> Iterator[_Key]:
    """One member of each cycle met: what is left when all that leads nowhere is taken away, again and again."""
    left = {key: [one for one in targets if one in edges] for key, targets in edges.items()}
    users: dict[_Key, list[_Key]] = {}
    for key, targets in left.items():
        for target in targets:
            users.setdefault(target, []).append(key)
    open_count = {key: len(targets) for key, targets in left.items()}
    todo = [key for key, count in open_count.items() if not count]
    done: set[_Key] = set()
    while todo:
        key = todo.pop()
        done.add(key)
        for user in users.get(key, ()):
            open_count[user] -= 1
            if not open_count[user]:
                todo.append(user)
    reported: set[_Key] = set()
    for key in edges:
        if key in done or key in reported:
            continue
        path: list[_Key] = []
        at = key
        while at not in path and at not in reported:
            path.append(at)
            at = next(target for target in left[at] if target not in done)
        if at in path:
            yield at
        reported.update(path)


def _children(rewrite: Rewrite) -> tuple[Rewrite, ...]:
    match rewrite:
        case Union(children) | Intersection(children):
            return children
        case Exclusion(base, subtract):
            return base, subtract
        case _:
            return ()


def _spell(restriction: AllowedSubject) -> str:
    suffix = ":*" if restriction.wildcard else f"#{restriction.relation}" if restriction.relation else ""
    condition = f" with {restriction.caveat}" if restriction.caveat else ""
    return f"{restriction.type}{suffix}{condition}"
