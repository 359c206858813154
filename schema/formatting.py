"""A schema's text laid out evenly: the same tokens and comments in the same order, and nothing else of its own.

Members stand one to a line behind a tab, items a blank line apart; one blank line between members is kept, and so are
line breaks within a statement, since the writer chose them. A caveat's expression is CEL's and left as it is. What
comes out reads as the same schema, every comment where it was attached, and formatting it again changes nothing.
"""

import re

from schema.errors import Problems, Source
from schema.parse import parse
from schema.tokens import END, ENDED_BY_NEWLINE, FINISH, Tokens, scan

_BREAK = re.compile(r"\r\n|\n|\r")
_TIGHT_BEFORE = frozenset({"COLON", "COMMA", "RPAR", "SLASH", "HASH", "DOT", "LESSTHAN", "MORETHAN", "ARROW"})
_TIGHT_AFTER = frozenset({"LBRACE", "LPAR", "SLASH", "HASH", "DOT", "LESSTHAN", "ARROW"})


def format_schema(text: str, file: str = "") -> str:
    """The text laid out.

    Raises:
        SchemaError: it cannot be parsed. What it means is not looked at.
    """
    source = Source(text, file)
    tokens = scan(source)
    problems = Problems(source)
    parse(tokens, problems)
    problems.raise_any()
    return _Layout(tokens).run()


class _Layout:
    """One pass over the tokens, a line at a time."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._text = tokens.source.text
        self._lines: list[str] = []
        self._words: list[str] = []
        self._body = False
        self._opened = 0
        """How many lines there were when the body was opened."""

    def run(self) -> str:
        """Lay out everything."""
        kinds = self._tokens.kinds
        at = 0
        while kinds[at] != FINISH:
            if kinds[at] == END:
                self._end_of_nothing(at)
                at += 1
            elif kinds[at] == "RBRACE":
                at = self._close(at)
            else:
                at = self._member(at) if self._body else self._item(at)
        if at in self._tokens.comments:
            self._item_gap(at)
            self._own_lines(at, "")
        text = "\n".join(self._lines)
        return f"{text}\n" if text else ""

    def _end_of_nothing(self, at: int) -> None:
        """An end that no member needs: it goes, unless a comment would then belong to what follows."""
        ended = not self._body and at > 0 and self._tokens.kinds[at - 1] in ENDED_BY_NEWLINE
        if ended:
            self._trailing(at)
        elif at in self._tokens.comments:
            indent = "\t" if self._body else ""
            self._own_lines(at, indent)
            self._lines.append(f"{indent};")

    def _item(self, at: int) -> int:
        kinds = self._tokens.kinds
        self._item_gap(at)
        self._own_lines(at, "")
        if kinds[at] in ("USE", "IMPORT"):
            return self._statement(at, at + 2, "")
        end = at
        while kinds[end] != "LBRACE":
            end += 1
        self._body = True
        self._statement(at, end + 1, "")
        self._opened = len(self._lines)
        if kinds[at] != "CAVEAT":
            return end + 1
        self._own_lines(end + 1, "\t")
        self._lines.append(f"\t{self._tokens.texts[end + 1]}")
        return self._close(end + 2)

    def _item_gap(self, at: int) -> None:
        """A blank line between items, but none among flags and imports that had none."""
        if not self._lines:
            return
        together = self._tokens.kinds[at] in ("USE", "IMPORT") and self._lines[-1].startswith(("use ", "import "))
        if not together or self._blank_before(at):
            self._lines.append("")

    def _member(self, at: int) -> int:
        kinds = self._tokens.kinds
        self._member_gap(at)
        self._own_lines(at, "\t")
        end = at
        while kinds[end] != END:
            end += 1
        if kinds[end - 1] in ENDED_BY_NEWLINE:
            self._statement(at, end, "\t")
            self._trailing(end)
        else:
            self._statement(at, end + 1, "\t", last=";")
        return end + 1

    def _member_gap(self, at: int) -> None:
        if self._blank_before(at) and len(self._lines) > self._opened:
            self._lines.append("")

    def _close(self, at: int) -> int:
        if at in self._tokens.comments:
            self._member_gap(at)
            self._own_lines(at, "\t")
        if len(self._lines) == self._opened:
            self._lines[-1] += "}"
        else:
            self._lines.append("}")
        self._body = False
        return at + 1

    def _statement(self, at: int, end: int, indent: str, *, last: str | None = None) -> int:
        """Tokens on one line, or on as many as they had; ``last`` is written for the last of them."""
        tokens = self._tokens
        line = indent
        for index in range(at, end):
            text = tokens.texts[index] if last is None or index < end - 1 else last
            comments = tokens.comments.get(index, ()) if index > at else ()
            gap = " " if comments or (index > at and text != ";" and self._spaced(index)) else ""
            for _, comment in comments:
                line += f"{'' if line.isspace() else ' '}{_trimmed(comment)}"
                if comment.startswith("//"):
                    self._lines.append(line.rstrip())
                    line, gap = f"{indent}\t", ""
            if index > at and not comments and text != ";" and self._breaks_before(index):
                self._lines.append(line.rstrip())
                line, gap = f"{indent}\t", ""
            line += f"{gap}{text}"
        self._lines.append(line)
        return end

    def _spaced(self, at: int) -> bool:
        """Whether a blank stands before a token of a statement."""
        kinds = self._tokens.kinds
        kind, before = kinds[at], kinds[at - 1]
        if kind in _TIGHT_BEFORE or before in _TIGHT_AFTER:
            return False
        if before == "COLON":
            return kind != "STAR"
        if kind == "LPAR":
            return before not in ("NAME", "ANY", "ALL")
        return not (before == "ELLIPSIS" and kind == "NAME")

    def _breaks_before(self, at: int) -> bool:
        before = self._tokens.starts[at - 1] + len(self._tokens.texts[at - 1])
        return _BREAK.search(self._text, before, self._tokens.starts[at]) is not None

    def _blank_before(self, at: int) -> bool:
        """Whether a blank line stands before a token and the comments that belong to it."""
        tokens = self._tokens
        comments = tokens.comments.get(at, ())
        start = comments[0][0] if comments else tokens.starts[at]
        before, end = at - 1, 0
        while before >= 0:
            spans = tokens.comments.get(before, [])
            if tokens.kinds[before] != END or tokens.texts[before] == ";":
                spans = [*spans, (tokens.starts[before], tokens.texts[before])]
            if spans:
                end = spans[-1][0] + len(spans[-1][1])
                break
            before -= 1
        return len(_BREAK.findall(self._text, end, start)) > 1

    def _own_lines(self, at: int, indent: str) -> None:
        """The comments that belong to a token, each on lines of its own."""
        for _, comment in self._tokens.comments.get(at, ()):
            self._lines.extend(f"{indent}{line}".rstrip() for line in _trimmed(comment).split("\n"))

    def _trailing(self, at: int) -> None:
        """The comments before a statement's end, behind it."""
        for _, comment in self._tokens.comments.get(at, ()):
            self._lines[-1] += f" {_trimmed(comment)}"


def _trimmed(comment: str) -> str:
    """A comment with its lines trimmed; those of a block that begin with a star stand one to the right."""
    lines = [line.strip() for line in comment.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return "\n".join([lines[0], *(f" {line}" if line.startswith("*") else line for line in lines[1:])])
