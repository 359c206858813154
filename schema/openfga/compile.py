"""From an OpenFGA model, in one of its three forms, to a `Schema`; or to everything that is wrong with it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import yaml

from schema.errors import ProblemKind, Problems, SchemaError, SchemaProblem, Source, quote
from schema.model import NOWHERE, Schema
from schema.openfga import dsl, model_json, rules
from schema.openfga.document import ConditionNode, Document, RelationNode, TypeNode
from schema.openfga.tokens import scan
from schema.openfga.translate import to_schema

TEXT_BYTES_MAX = 256 * 1024
FILES_MAX = 1_000


def compile_dsl(text: str, file: str = "") -> Schema:
    """A model in the DSL, in one text.

    Raises:
        SchemaError: it is no valid model.
    """
    _check_size(text, file)
    problems = Problems(Source(text, file))
    document = dsl.parse(scan(problems.source_of(NOWHERE)), problems)
    if not problems.found and not document.version:
        message = "this is a module: import the `fga.mod` file that lists it"
        problems.type("schema-version-required", message, document.version_position)
    for type_ in document.types:
        if type_.extends:
            problems.type("invalid-syntax", "only a module can extend a type", type_.position)
    return _finish(document, problems, dsl_rules=True)


def compile_json(model: Any) -> Schema:
    """A model in JSON, already parsed, as OpenFGA's API takes it.

    Raises:
        SchemaError: it is no valid model.
    """
    problems = Problems(Source(""))
    return _finish(model_json.read(model, problems), problems, dsl_rules=False)


def compile_modules(manifest: str, read: Callable[[str], str], file: str = "fga.mod") -> Schema:
    """A model in modules.

    Args:
        manifest: the text of ``fga.mod``.
        read: gives the text of a module; its path is relative to the manifest.
        file: the manifest's name.

    Raises:
        SchemaError: they are no valid model.
    """
    sources: list[Source] = []
    documents: list[Document] = []
    found: list[SchemaProblem] = []
    for path in _contents(manifest, file):
        try:
            text = read(path)
        except (OSError, UnicodeDecodeError) as error:
            raise _refused(file, "invalid-schema", f"cannot read {quote(path)}: {_reason(error)}") from error
        _check_size(text, path)
        before = sources[-1].lines_before + len(sources[-1].line_starts) if sources else 0
        sources.append(Source(text, path, before))
        problems = Problems(sources[-1])
        document = dsl.parse(scan(sources[-1]), problems)
        if not problems.found and document.version:
            message = "a module begins with `module` and its name, not with a schema version"
            problems.type("invalid-syntax", message, document.version_position)
        documents.append(document)
        found.extend(problems.found)
    problems = Problems(*sources)
    problems.found.extend(found)
    problems.raise_any()
    return _finish(_merged(documents, problems), problems, dsl_rules=True)


def _finish(document: Document, problems: Problems, *, dsl_rules: bool) -> Schema:
    problems.raise_any()
    rules.check(document, problems, dsl=dsl_rules)
    problems.raise_any()
    schema = to_schema(document, problems)
    problems.raise_any()
    return schema


def _contents(manifest: str, file: str) -> list[str]:
    """The module files that a manifest lists."""
    _check_size(manifest, file)
    try:
        listed = yaml.safe_load(manifest)
    except (yaml.YAMLError, RecursionError) as error:
        raise _refused(file, "invalid-syntax", f"this is no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(listed, Mapping):
        raise _refused(file, "invalid-schema", "a manifest has `schema` and `contents`")
    if listed.get("schema") != "1.2":
        raise _refused(file, "schema-version-unsupported", "`schema` must be '1.2', in quotes")
    contents = listed.get("contents")
    if not isinstance(contents, list) or not contents or not all(isinstance(one, str) for one in contents):
        raise _refused(file, "invalid-schema", "`contents` lists at least one module file")
    if len(contents) > FILES_MAX:
        raise _refused(file, "invalid-schema", f"`contents` lists more than {FILES_MAX} files")
    for path in contents:
        if not path.endswith(".fga") or ".." in path or path.startswith("/") or "\\" in path:
            message = f"cannot take {quote(path)}: a path ends in `.fga`, has no `..` and is relative to the manifest"
            raise _refused(file, "invalid-schema", message)
    if len(set(contents)) != len(contents):
        raise _refused(file, "duplicated-error", "`contents` lists a file twice")
    return contents


def _merged(documents: list[Document], problems: Problems) -> Document:
    """The modules as one model: types first, then what extends them."""
    types: dict[str, TypeNode] = {}
    conditions: list[ConditionNode] = []
    for document in documents:
        conditions.extend(document.conditions)
        for type_ in document.types:
            if not type_.extends:
                if type_.name in types:
                    message = f"type {quote(type_.name)} is defined twice"
                    problems.type("duplicated-error", message, type_.position)
                types.setdefault(type_.name, type_)
    for document in documents:
        extended: set[str] = set()
        for type_ in document.types:
            if not type_.extends:
                continue
            if type_.name not in types:
                problems.type("invalid-type", f"no type {quote(type_.name)} to extend", type_.position)
                continue
            if type_.name in extended:
                message = f"type {quote(type_.name)} is extended twice in one file"
                problems.type("duplicated-error", message, type_.position)
            extended.add(type_.name)
            types[type_.name] = _extended(types[type_.name], type_.relations, problems)
    return Document("1.2", tuple(types.values()), tuple(conditions))


def _extended(type_: TypeNode, relations: tuple[RelationNode, ...], problems: Problems) -> TypeNode:
    known = {relation.name for relation in type_.relations}
    for relation in relations:
        if relation.name in known:
            message = f"relation {quote(relation.name)} is already defined on `{type_.name}`"
            problems.type("duplicated-error", message, relation.position)
    return replace(type_, relations=(*type_.relations, *relations))


def _check_size(text: str, file: str) -> None:
    if len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        names = {"openfga_code": model_json.TOO_MANY}
        message = f"a model is not larger than {TEXT_BYTES_MAX} bytes"
        raise SchemaError([SchemaProblem(ProblemKind.PARSE, "too-large", message, names=names, file=file)])


def _refused(file: str, code: str, message: str) -> SchemaError:
    return SchemaError([SchemaProblem(ProblemKind.TYPE, code, message, file=file)])


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "it cannot be read").lower() if isinstance(error, OSError) else "it is no UTF-8 text"
