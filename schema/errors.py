"""What ``schema`` raises on purpose: one `SchemaError` with a `SchemaProblem` for each thing that is wrong.

A problem knows where it is, both in characters (editors, terminals) and in bytes (the wire), and shows the source
line with a caret. Text of the caller is never quoted whole: names and lines are cut, so that a hostile schema cannot
make a large message.
"""

import difflib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from re import compile as regex
from typing import TypeAlias

from schema.model import NOWHERE, Position

PROBLEMS_MAX = 50
_QUOTED_CHARS_MAX = 64
_LINE_CHARS_MAX = 120
_NEAR_CANDIDATES_MAX = 2_000

Names: TypeAlias = Mapping[str, str]

_LINE_END = regex(r"\r\n|\n|\r")


class ProblemKind(Enum):
    """Whether the text cannot be read, or can be read and means nothing."""

    PARSE = "parse"
    TYPE = "type"


@dataclass(frozen=True, slots=True)
class Fix:
    """A change that would mend the text: replace the range with ``text``."""

    message: str
    position: Position
    text: str


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """One thing that is wrong with a schema.

    ``position`` counts characters and ``byte_position`` UTF-8 bytes, both from 1 with an exclusive end. ``names``
    tells which definition, relation, permission, caveat or parameter is meant, by the wire's metadata keys
    (``definition_name``, ``relation_name``, ``permission_name``, ``caveat_name``, ``parameter_name`` …).
    ``code`` is a stable word for programs.
    """

    kind: ProblemKind
    code: str
    message: str
    position: Position = NOWHERE
    byte_position: Position = NOWHERE
    source_line: str = ""
    source_code: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    fix: Fix | None = None
    file: str = ""

    @property
    def wire_message(self) -> str:
        """The message as the wire words it: with the position, its column in bytes."""
        if self.kind is ProblemKind.PARSE and self.byte_position.line:
            at = self.byte_position
            return f"parse error in `schema`, line {at.line}, column {at.column}: {self.message}"
        return self.message

    @property
    def wire_metadata(self) -> Mapping[str, str]:
        """The wire's metadata: a parse error's range, counted from 0, or the names that a type error concerns."""
        if self.kind is ProblemKind.TYPE or not self.byte_position.line:
            return dict(self.names)
        at = self.byte_position
        return {
            "start_line_number": str(at.line - 1),
            "start_column_position": str(at.column - 1),
            "end_line_number": str(at.end_line - 1),
            "end_column_position": str(at.end_column - 1),
            "source_code": self.source_code,
        }

    def render(self) -> str:
        """The message with its place, the source line and a caret under the range."""
        at = self.position
        head = self.message
        if at.line:
            head = f"{self.file or 'schema'}:{at.line}:{at.column}: {self.message}"
        if not self.source_line:
            return head
        start = at.column - 1
        shift = max(0, start - _LINE_CHARS_MAX // 2)
        line = self.source_line[shift : shift + _LINE_CHARS_MAX].replace("\t", " ")
        end = at.end_column - 1 if at.end_line == at.line else len(self.source_line)
        width = max(1, min(end, shift + len(line)) - start)
        rendered = f"{head}\n  {line}\n  {' ' * (start - shift)}{'^' * width}"
        return f"{rendered}\n  fix: {self.fix.message}" if self.fix else rendered


class SchemaError(Exception):
    """A schema was refused; ``errors`` holds every problem found, in source order, at least one."""

    def __init__(self, errors: Sequence[SchemaProblem]) -> None:
        self.errors: tuple[SchemaProblem, ...] = tuple(errors[:PROBLEMS_MAX])
        super().__init__("\n".join(problem.render() for problem in self.errors))


class Source:
    """A schema's text, able to tell lines, columns and bytes for offsets into it.

    ``lines_before`` are those of the files read before it, where there are several: `Position` counts through all.
    """

    def __init__(self, text: str, file: str = "", lines_before: int = 0) -> None:
        self.text = text
        self.file = file
        self.lines_before = lines_before

    @cached_property
    def line_starts(self) -> Sequence[int]:
        """Offset of each line's first character; CR, LF and CRLF each end one line."""
        return [0, *(found.end() for found in _LINE_END.finditer(self.text))]

    def position(self, start: int, end: int) -> Position:
        """The range between two offsets."""
        starts = self.line_starts
        line = bisect_right(starts, start)
        end_line = line
        if line < len(starts) and end > starts[line]:
            end_line = bisect_right(starts, end)
        before = self.lines_before
        return Position(
            line + before, start - starts[line - 1] + 1, end_line + before, end - starts[end_line - 1] + 1
        )

    def offset(self, line: int, column: int) -> int:
        """The offset of a line and column."""
        return self.line_starts[line - 1 - self.lines_before] + column - 1

    def within(self, start: int, line: int, column: int) -> Position:
        """One character of a part that begins at ``start``; line and column count from 1 within the part."""
        at = start
        for _ in range(line - 1):
            found = self.text.find("\n", at)
            if found < 0:
                break
            at = found + 1
        at = min(at + column - 1, len(self.text))
        return self.position(at, at + 1)

    def problem(
        self,
        kind: ProblemKind,
        code: str,
        message: str,
        position: Position,
        names: Mapping[str, str] | None = None,
        fix: Fix | None = None,
    ) -> SchemaProblem:
        """A problem at a range of this text."""
        if not position.line:
            return SchemaProblem(kind, code, message, names=names or {}, fix=fix, file=self.file)
        start = self.offset(position.line, position.column)
        end = self.offset(position.end_line, position.end_column)
        here = self.own(position)
        at = Position(
            here.line,
            self._bytes(here.line, here.column),
            here.end_line,
            self._bytes(here.end_line, here.end_column),
        )
        return SchemaProblem(
            kind,
            code,
            message,
            here,
            at,
            self.line(here.line),
            _cut(self.text[start:end], _QUOTED_CHARS_MAX * 4),
            names or {},
            fix and replace(fix, position=self.own(fix.position)),
            self.file,
        )

    def own(self, position: Position) -> Position:
        """A position counted from this file's first line."""
        before = self.lines_before
        return Position(position.line - before, position.column, position.end_line - before, position.end_column)

    def line(self, line: int) -> str:
        """A line of this file, without its end."""
        starts = self.line_starts
        end = starts[line] if line < len(starts) else len(self.text)
        return self.text[starts[line - 1] : end].rstrip("\r\n")

    def _bytes(self, line: int, column: int) -> int:
        start = self.line_starts[line - 1]
        return len(self.text[start : start + column - 1].encode("utf-8", "surrogatepass")) + 1


class Problems:
    """Problems found in the files of one schema, with the names that each concerns."""

    def __init__(self, *sources: Source) -> None:
        self._sources = sources
        self.found: list[SchemaProblem] = []

    @property
    def full(self) -> bool:
        """Whether no more will be kept, so that looking for them is idle."""
        return len(self.found) >= PROBLEMS_MAX

    def parse(
        self, code: str, message: str, position: Position, names: Names | None = None, fix: Fix | None = None
    ) -> None:
        """Something the text cannot say."""
        if not self.full:
            source = self.source_of(position)
            self.found.append(source.problem(ProblemKind.PARSE, code, message, position, names, fix))

    def type(
        self, code: str, message: str, position: Position, names: Names | None = None, fix: Fix | None = None
    ) -> None:
        """Something that means nothing."""
        if not self.full:
            source = self.source_of(position)
            self.found.append(source.problem(ProblemKind.TYPE, code, message, position, names, fix))

    def source_of(self, position: Position) -> Source:
        """The file that a position is in."""
        at = bisect_right([source.lines_before for source in self._sources], position.line - 1)
        return self._sources[max(0, at - 1)]

    def raise_any(self) -> None:
        """Refuse the schema if anything was found."""
        if self.found:
            raise SchemaError(sorted(self.found, key=lambda one: (one.file, one.position.line, one.position.column)))


def quote(text: str) -> str:
    """The caller's text in backticks, cut to a readable length, line ends made visible."""
    shown = _cut(text, _QUOTED_CHARS_MAX).replace("\r", "\\r").replace("\n", "\\n")
    return f"`{shown}`"


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, if one is like it at all."""
    if len(name) > _QUOTED_CHARS_MAX * 2:
        return None
    candidates = [candidate for _, candidate in zip(range(_NEAR_CANDIDATES_MAX), known, strict=False)]
    found = difflib.get_close_matches(name, candidates, 1, 0.6)
    return found[0] if found else None


def hint(name: str, known: Iterable[str]) -> str:
    """``; did you mean …?`` where a known name is near, else nothing."""
    found = near(name, known)
    return f"; did you mean `{found}`?" if found else ""


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"
