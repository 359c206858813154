"""Throw texts at everything that reads a schema: nothing but a `SchemaError` may ever come out.

What is accepted must also keep its meaning when it is printed and laid out. Run by ``make fuzz``, or as
``python -m tests.fuzz.fuzz_schema -max_total_time=60``; arguments are libFuzzer's. The corpus begins with the suite's
cases; a finding is written to ``crash-…`` and belongs into a table as a row.
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["schema"]):
    from schema.compile import compile_schema, compile_text
    from schema.errors import SchemaError, SchemaProblem
    from schema.formatting import format_schema
    from schema.lint import lint
    from schema.openfga.compile import compile_dsl, compile_json
    from schema.openfga.translate import print_model
    from schema.printing import NotExpressible, print_schema
    from schema.tokens import TABLES

SECONDS = 600
CASES = Path(__file__).parents[1] / "schema" / "cases"
WORDS = [*TABLES.literals, "use self", "use expiration", "use partial", "definition doc {", "model\n  schema 1.1\n"]
WORDS += [
    "type ",
    "relations",
    "define ",
    " but not ",
    " or ",
    "condition ",
    "== 1",
    "in_cidr",
    ".all(x, ",
    "optional",
]


def read_schema(text: str) -> None:
    """Our language: compile, lint, print and lay out."""
    compiled = compile_text(text)
    schema = compiled.schema
    lint(compiled)
    printed = print_schema(schema, annotations=True)
    assert print_schema(compile_schema(printed), annotations=True) == printed, "printing changes the meaning"


def lay_out(text: str) -> None:
    """The formatter, which only parses."""
    laid_out = format_schema(text)
    assert format_schema(laid_out) == laid_out, "laying out is not idempotent"
    assert meaning(text) == meaning(laid_out), "laying out changes the meaning"


def meaning(text: str) -> str | None:
    """A schema as printed, blanks aside since comments are moved; ``None`` where it has none."""
    try:
        return re.sub(r"\s+", " ", print_schema(compile_schema(text), annotations=True))
    except SchemaError:
        return None


def read_dsl(text: str) -> None:
    """OpenFGA's DSL, and what of it can be printed."""
    schema = compile_dsl(text)
    try:
        compile_schema(print_model(schema, split=True))
    except NotExpressible as error:
        raise AssertionError("a split model can be said") from error


def read_json(text: str) -> None:
    """OpenFGA's JSON."""
    try:
        model = json.loads(text)
    except (ValueError, RecursionError):
        return
    compile_json(model)


TARGETS: tuple[Callable[[str], None], ...] = (read_schema, lay_out, read_dsl, read_json)


def one_input(data: bytes) -> None:
    """The first byte says who reads the rest."""
    if not data:
        return
    text = data[1:].decode("utf-8", "surrogateescape")
    problems = refusal(TARGETS[data[0] % len(TARGETS)], text)
    assert problems != (), "refused without a reason"
    assert all(problem.render() and problem.message for problem in problems or ())


def refusal(target: Callable[[str], None], text: str) -> tuple[SchemaProblem, ...] | None:
    """Why a text is refused; ``None`` if it is not."""
    try:
        target(text)
    except SchemaError as refused:
        return refused.errors
    return None


def main() -> None:
    """Fuzz until the time is over."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, words = Path(folder, "corpus"), Path(folder, "words")
        corpus.mkdir()
        for file in CASES.glob("*.txt"):
            for at, case in enumerate(re.split(r"(?m)^### .*\n", file.read_text("utf-8"))):
                for target in range(2):
                    Path(corpus, f"{file.stem}-{at}-{target}").write_bytes(bytes([target]) + case.encode())
        escaped = (
            word.encode("unicode_escape").decode().replace('"', '\\"').replace("\\n", "\\x0a") for word in WORDS
        )
        words.write_text("".join(f'"{word}"\n' for word in escaped), encoding="utf-8")
        timed = any(argument.startswith("-max_total_time") for argument in sys.argv)
        given = sys.argv[1:] if timed else [f"-max_total_time={SECONDS}", *sys.argv[1:]]
        atheris.Setup(
            [sys.argv[0], f"-dict={words}", "-timeout=10", "-rss_limit_mb=4096", *given, str(corpus)], one_input
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
