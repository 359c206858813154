"""From a schema's text, or its files, to its values; or to everything that is wrong with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from schema.check import check
from schema.errors import ProblemKind, Problems, SchemaError, SchemaProblem, Source
from schema.files import FileReader, read_text
from schema.model import Schema
from schema.resolve import resolve
from schema.syntax import Item


@dataclass(frozen=True, slots=True)
class Compiled:
    """A schema with the files that it was read from; positions count lines through all of them."""

    schema: Schema
    sources: tuple[Source, ...]


TEXT_BYTES_MAX = 4 * 1024 * 1024


def compile_schema(text: str, file: str = "") -> Schema:
    """Read, resolve and check a schema that imports nothing.

    Raises:
        SchemaError: the text is no valid schema; it carries every problem found.
    """
    return compile_text(text, file).schema


def compile_text(text: str, file: str = "") -> Compiled:
    """As `compile_schema`, with the text that positions refer to."""
    _check_size(text, file)
    source = Source(text, file)
    problems = Problems(source)
    return Compiled(_compile(read_text(source, problems), problems), (source,))


def read_schema(text: str) -> Schema:
    """Read and resolve a schema without checking what it means: good enough to be compared, not to be used.

    Raises:
        SchemaError: the text cannot be read.
    """
    _check_size(text, "")
    source = Source(text)
    problems = Problems(source)
    items = read_text(source, problems)
    problems.raise_any()
    schema = resolve(items, problems)
    problems.found = [problem for problem in problems.found if problem.kind is ProblemKind.PARSE]
    problems.raise_any()
    return schema


def compile_files(path: str, read: Callable[[str], str]) -> Compiled:
    """Read a file with all that it imports into one schema.

    Args:
        path: the file to begin with.
        read: gives the text at a path; paths of imports are relative to the file that names them.

    Raises:
        SchemaError: the files are no valid schema.
        OSError: the first file cannot be read.
    """
    reader = FileReader(read)
    items = reader.run(path)
    return Compiled(_compile(items, reader.problems), tuple(reader.sources))


def _check_size(text: str, file: str) -> None:
    if len(text) > TEXT_BYTES_MAX or len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        message = f"the schema is larger than {TEXT_BYTES_MAX} bytes"
        raise SchemaError([SchemaProblem(ProblemKind.PARSE, "too-large", message, file=file)])


def _compile(items: Sequence[Item], problems: Problems) -> Schema:
    problems.raise_any()
    schema = resolve(items, problems)
    if not any(problem.kind is ProblemKind.PARSE for problem in problems.found):
        check(schema, problems)
    problems.raise_any()
    return schema
