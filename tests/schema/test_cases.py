"""The language's table of cases: texts that are schemas, and texts that are not, with what is said and where.

``cases/*.txt`` hold one case after another, each under a line that says what becomes of it: ``### accepted: why`` or
``### refused parse 1:12 code: why``, where the kind is ``parse`` or ``type`` and line and column are of the first
problem, counted in characters from 1.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from schema.compile import compile_schema
from schema.errors import SchemaError
from schema.formatting import format_schema
from schema.printing import print_schema

CASES = Path(__file__).with_name("cases")
_HEADER = re.compile(r"### (?:accepted|refused (parse|type) (\d+):(\d+) ([a-z-]+)): (.+)")


class Case(NamedTuple):
    """One text, and how it is refused (``kind line:column code``); ``""`` if it is not."""

    why: str
    text: str
    refused: str


def _read(file: Path) -> Iterator[Case]:
    header, lines = None, list[str]()
    for line in [*file.read_text(encoding="utf-8").split("\n"), "###"]:
        if not line.startswith("###"):
            lines.append(line)
            continue
        if header is not None:
            kind, *place, code, why = header.groups()
            refused = f"{kind} {':'.join(place)} {code}" if kind else ""
            yield Case(f"{file.stem}: {why}", "\n".join(lines), refused)
        header, lines = _HEADER.fullmatch(line), []


ODD = [
    Case("carriage returns end lines", "definition user {}\rdefinition doc {\r\trelation viewer: user\r}\r", ""),
    Case("both ends of a line count as one line break", "definition doc {\r\n\trelation aaa: doc\r\n}\r\n", ""),
    Case("a line break of two ends no member twice", "definition doc {\r\n\r\n\trelation aaa: doc\r\n\r\n}", ""),
    Case(
        "a carriage return ends a statement",
        "definition doc {\r relation aaa\r: doc\r}",
        "parse 2:14 unexpected-token",
    ),
    Case(
        "positions count lines of two", "definition doc {\r\n\trelation aaa: usr\r\n}", "type 2:16 unknown-definition"
    ),
    Case("a no-break space", "definition user {}\u00a0", "parse 1:19 unreadable"),
    Case("a form feed", "definition user {}\f", "parse 1:19 unreadable"),
    Case("a vertical tab", "definition user {}\v", "parse 1:19 unreadable"),
    Case("a zero byte", "definition user {}\0", "parse 1:19 unreadable"),
    Case("a zero byte in a comment", "definition user {} // \0", ""),
    Case("half of a surrogate pair", "definition user {} \ud800", "parse 1:20 unreadable"),
    Case("half of a surrogate pair in a comment", "definition user {} // \ud800", ""),
    Case("a byte order mark", "\ufeffdefinition user {}", "parse 1:1 unreadable"),
    Case("a line separator is no line break", "definition user {}\u2028", "parse 1:19 unreadable"),
    Case("columns count characters", "caveat ccc(a string) { a == '😀' && b }", "parse 1:36 invalid-expression"),
]

ALL = [*(case for file in sorted(CASES.glob("*.txt")) for case in _read(file)), *ODD]
ACCEPTED = [pytest.param(case.text, id=case.why) for case in ALL if not case.refused]
REFUSED = [pytest.param(case.text, case.refused, id=case.why) for case in ALL if case.refused]


def test_there_are_cases() -> None:
    """Enough of them, more that are refused than not, and none twice."""
    assert len(ALL) >= 450
    assert len(REFUSED) >= len(ACCEPTED)
    assert len({case.why for case in ALL}) == len(ALL)


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: str) -> None:
    """The text is a schema; what it is printed as, and laid out as, is the same one."""
    schema = compile_schema(text)
    assert compile_schema(print_schema(schema, annotations=True)) == schema
    laid_out = format_schema(text)
    assert compile_schema(laid_out) == schema
    assert format_schema(laid_out) == laid_out


@pytest.mark.parametrize(("text", "refused"), REFUSED)
def test_refused(text: str, refused: str) -> None:
    """The first problem has this kind, place and code; its message begins small and does not end in a full stop."""
    with pytest.raises(SchemaError) as error:
        compile_schema(text)
    problem = error.value.errors[0]
    at = problem.position
    assert f"{problem.kind.value} {at.line}:{at.column} {problem.code}" == refused
    assert problem.message[0] == problem.message[0].lower()
    assert not problem.message.endswith(".")
    assert (at.end_line, at.end_column) >= (at.line, at.column)
    assert "^" in problem.render()
