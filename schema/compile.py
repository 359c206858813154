"""From a schema's text to its values, or to everything that is wrong with it."""

from schema.check import check
from schema.errors import ProblemKind, SchemaError, SchemaProblem, Source
from schema.model import Schema
from schema.parse import parse
from schema.resolve import Problems, resolve
from schema.syntax import Use

TEXT_BYTES_MAX = 4 * 1024 * 1024


def compile_schema(text: str) -> Schema:
    """Read, resolve and check a schema.

    Raises:
        SchemaError: the text is no valid schema; it carries every problem found.
    """
    if len(text) > TEXT_BYTES_MAX or len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        message = f"the schema is larger than {TEXT_BYTES_MAX} bytes"
        raise SchemaError([SchemaProblem(ProblemKind.PARSE, "too-large", message)])
    source = Source(text)
    node, _, found = parse(source)
    if found:
        raise SchemaError(found)
    problems = Problems(source)
    schema = resolve(node, problems)
    if not problems.found:
        typechecking = any(isinstance(item, Use) and item.flag == "typechecking" for item in node.items)
        check(schema, problems, typechecking=typechecking)
    if problems.found:
        raise SchemaError(sorted(problems.found, key=lambda one: (one.position.line, one.position.column)))
    return schema
