"""`tessera schema …`: what can be done with a schema's text without a server.

Exit status 0 is good, 1 says that the text is not, 2 that a file could not be read or written.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from schema.compile import Compiled, compile_files, compile_schema, compile_text
from schema.diff import diff_schemas
from schema.errors import SchemaError, SchemaProblem
from schema.formatting import format_schema
from schema.lint import LintWarning, lint
from schema.model import Position, Schema
from schema.openfga.compile import compile_dsl, compile_json, compile_modules
from schema.openfga.translate import print_model
from schema.plan import changed_meanings
from schema.printing import NotExpressible, print_schema

app = typer.Typer(name="schema", help="Check, format, compile, compare and import schemas.", no_args_is_help=True)

_STDIN = "-"
Files = Annotated[list[str], typer.Argument(help="Schema files; `-` is standard input.")]
OneFile = Annotated[str, typer.Argument(help="A schema file; `-` is standard input.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write here instead of to standard output.")]


@app.command("fmt")
def format_files(
    files: Files,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail where something would.")] = False,
) -> None:
    """Lay files out evenly, in place; standard input goes to standard output."""
    untidy = False
    for file in files:
        text = _read(file)
        with _refusing(file):
            formatted = format_schema(text, Path(file).name)
        if check:
            if formatted != text:
                untidy = True
                print(f"{file} is not laid out")
        elif file == _STDIN:
            sys.stdout.write(formatted)
        elif formatted != text:
            _write(Path(file), formatted)
    if untidy:
        raise typer.Exit(1)


@app.command("check")
def check_files(
    files: Files,
    as_json: Annotated[bool, typer.Option("--json", help="Print diagnostics for an editor, as JSON.")] = False,
) -> None:
    """Report what is wrong or doubtful in schemas, imports included."""
    diagnostics: list[dict[str, Any]] = []
    refused = False
    for file in files:
        try:
            warnings = lint(_compile(file))
        except SchemaError as error:
            refused = True
            diagnostics.extend(_diagnostic(_located(problem, file)) for problem in error.errors)
            if not as_json:
                _print_problems(error, file)
            continue
        diagnostics.extend(_warning(one, file) for one in warnings)
        if not as_json:
            _print_warnings(warnings, file)
    if as_json:
        print(json.dumps(diagnostics, indent=2, ensure_ascii=False))
    if refused:
        raise typer.Exit(1)


@app.command("lint")
def lint_files(
    files: Files,
    fail_on_warning: Annotated[bool, typer.Option("--fail-on-warning", help="Exit with 1 on any warning.")] = False,
) -> None:
    """Report what is doubtful in valid schemas."""
    found = False
    for file in files:
        with _refusing(file):
            warnings = lint(_compile(file))
        found = found or bool(warnings)
        _print_warnings(warnings, file)
    if found and fail_on_warning:
        raise typer.Exit(1)


@app.command("compile")
def compile_file(file: OneFile, out: Out = None) -> None:
    """Print one schema, imports and partials resolved, in canonical form."""
    with _refusing(file):
        _output(print_schema(_compile(file).schema, annotations=True), out)


@app.command("diff")
def diff_files(
    old: Annotated[str, typer.Argument(help="The schema as it is.")],
    new: Annotated[str, typer.Argument(help="The schema as it shall be.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print how two schemas differ, and which permissions change their meaning."""
    schemas = []
    for file in (old, new):
        with _refusing(file):
            schemas.append(_compile(file).schema)
    before, after = schemas
    differences = [str(one) for one in diff_schemas(before, after)]
    meanings = [
        {"name": str(one.name), "effect": one.effect, "causes": [str(cause) for cause in one.causes]}
        for one in changed_meanings(before, after)
    ]
    if as_json:
        print(json.dumps({"differences": differences, "meanings": meanings}, indent=2))
        return
    for line in differences:
        print(line)
    for meaning in meanings:
        because = f" because of {', '.join(meaning['causes'])}" if meaning["causes"] else ""
        print(f"meaning of {meaning['name']} {meaning['effect']}{because}")


@app.command("import")
def import_model(
    file: Annotated[str, typer.Argument(help="An OpenFGA model: `.fga`, `.json` or `fga.mod`.")],
    out: Out = None,
    split: Annotated[
        bool, typer.Option("--split", help="Move what is assigned to computed relations to `direct_…`.")
    ] = False,
) -> None:
    """Print an OpenFGA model in this language, where it can be said."""
    with _refusing(file):
        schema = _import(file)
    try:
        text = print_model(schema, split=split)
    except NotExpressible as error:
        _fail(
            f"{error}: pass --split to move what is assigned to a relation of its own, and stored tuples with it", 1
        )
    try:
        compile_schema(text)
    except SchemaError as error:
        print("this model means something, but not in this language:", file=sys.stderr)
        _print_problems(error, file)
        raise typer.Exit(1) from error
    _output(text, out)


def _import(file: str) -> Schema:
    text = _read(file)
    if file.endswith(".mod"):
        return compile_modules(text, _reader(Path(file).parent), Path(file).name)
    if file.endswith(".json"):
        try:
            model = json.loads(text)
        except (ValueError, RecursionError) as error:
            _fail(f"{file}: this is no JSON: {error}", 1)
        return compile_json(model)
    return compile_dsl(text, Path(file).name)


def _compile(file: str) -> Compiled:
    if file == _STDIN:
        return compile_text(_read(file))
    path = Path(file)
    _read(file)
    return compile_files(path.name, _reader(path.parent))


def _reader(folder: Path) -> Callable[[str], str]:
    return lambda path: (folder / path).read_text(encoding="utf-8")


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == _STDIN else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        _fail(f"{file}: it is no UTF-8 text", 2)
    except OSError as error:
        _fail(f"{file}: {(error.strerror or 'it cannot be read').lower()}", 2)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        _fail(f"{path}: {(error.strerror or 'it cannot be written').lower()}", 2)


def _output(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
    else:
        _write(out, text)


def _fail(message: str, status: int) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(status)


@contextmanager
def _refusing(file: str) -> Iterator[None]:
    """Print what is wrong with a file and end, where something is."""
    try:
        yield
    except SchemaError as error:
        _print_problems(error, file)
        raise typer.Exit(1) from error


def _print_problems(error: SchemaError, file: str) -> None:
    for problem in error.errors:
        print(_located(problem, file).render(), file=sys.stderr)


def _print_warnings(warnings: Iterable[LintWarning], file: str) -> None:
    for one in warnings:
        at = one.position
        print(f"{_path(one.file, file)}:{at.line}:{at.column}: warning: {one.message} [{one.name}]", file=sys.stderr)


def _located(problem: SchemaProblem, file: str) -> SchemaProblem:
    """A problem whose file is told from where the command was called."""
    return replace(problem, file=_path(problem.file, file))


def _path(found: str, file: str) -> str:
    if file == _STDIN or not found:
        return file
    return str(Path(file).parent / found)


def _diagnostic(problem: SchemaProblem) -> dict[str, Any]:
    """A problem for an editor: lines and UTF-16 columns from 0, as the Language Server Protocol counts."""
    lines = {problem.position.line: problem.source_line}
    return {
        "file": problem.file,
        "range": _range(problem.position, lines),
        "severity": "error",
        "code": problem.code,
        "message": problem.message,
        "fix": problem.fix
        and {
            "message": problem.fix.message,
            "range": _range(problem.fix.position, lines),
            "text": problem.fix.text,
        },
    }


def _warning(warning: LintWarning, file: str) -> dict[str, Any]:
    return {
        "file": _path(warning.file, file),
        "range": _range(warning.position, {warning.position.line: warning.source_line}),
        "severity": "warning",
        "code": warning.name,
        "message": warning.message,
        "fix": None,
    }


def _range(position: Position, lines: Mapping[int, str]) -> dict[str, dict[str, int]]:
    def place(line: int, column: int) -> dict[str, int]:
        before = lines.get(line, "")[: max(0, column - 1)]
        wide = sum(ord(char) > 0xFFFF for char in before)
        return {"line": max(0, line - 1), "character": max(0, column - 1) + wide}

    return {
        "start": place(position.line, position.column),
        "end": place(position.end_line, position.end_column),
    }
