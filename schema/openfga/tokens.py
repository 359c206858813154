"""From a model's text to the terminals of ``dsl.lark``, in one pass of one regular expression."""

import re
from pathlib import Path

from schema.errors import Source, quote
from schema.tables import load_tables
from schema.tokens import FINISH, NESTING_MAX, UNREADABLE, Tokens

TABLES = load_tables(Path(__file__).with_name("dsl.lark"), "document")

NL, NAME, VERSION, CEL, BUT_NOT = "_NL", "NAME", "VERSION", "CEL", "BUT_NOT"
RESERVED = frozenset({"define", "relations", "condition", "with", "from", "or", "and"})
"""Words that cannot name anything."""

_LINE_WORDS = frozenset({"model", "schema", "module", "type", "extend", "relations", "define", "condition"})
_EVERYWHERE = frozenset({"with", "from", "or", "and"})
_SCANNER = re.compile(
    r"""[ \t\f]*(?:
      ([A-Za-z_][A-Za-z0-9_\-./]*)
    | ((?:(?<=\s)|\A)\#[^\r\n]*)
    | ([\[\](){}:,*\#<>])
    | ((?:\r\n?|\n)(?:[ \t\f]|\r\n?|\n)*)
    | (\d[0-9.]*)
    | (\Z)
    )""",
    re.VERBOSE,
)
_WORD, _COMMENT, _MARK, _NEWLINE, _NUMBER, _FINISH = range(1, 7)
_BUT_NOT = re.compile(r"but[ \t]+not(?![A-Za-z0-9_\-./])")
_CEL = re.compile(
    r"""(?:[^}"'/]+|"{3}(?s:.*?)"{3}|'{3}(?s:.*?)'{3}|"(?:\\.|[^"\\\r\n])*"|'(?:\\.|[^'\\\r\n])*'|//[^\r\n]*|/)*"""
)


def scan(source: Source) -> Tokens:
    """Read the tokens of a model."""
    return _Scan(source).run()


class _Scan:
    """One pass over one text."""

    def __init__(self, source: Source) -> None:
        self.text = source.text
        self.tokens = Tokens(source)
        self.brackets = 0
        self.parentheses = 0

    def run(self) -> Tokens:
        """All of the text."""
        tokens, kinds = self.tokens, self.tokens.kinds
        at = 0
        while True:
            found = _SCANNER.match(self.text, at)
            if found is None:
                at = self._unreadable(at)
                continue
            group = found.lastindex or _FINISH
            text, at = found[group], found.end()
            start = at - len(text)
            if group == _FINISH:
                tokens.add(FINISH, "", at)
                return tokens
            if group == _NEWLINE:
                if kinds and kinds[-1] != NL and not self.brackets:
                    tokens.add(NL, "\n", start)
            elif group == _WORD:
                at = self._word(text, start, at)
            elif group == _NUMBER:
                if kinds[-1:] != ["SCHEMA"]:
                    tokens.broken[len(kinds)] = f"{quote(text)} is no name: a name begins with a letter or `_`"
                tokens.add(UNREADABLE if len(kinds) in tokens.broken else VERSION, text, start)
            elif group == _MARK:
                at = self._mark(text, start, at)

    def _word(self, text: str, start: int, at: int) -> int:
        tokens, kinds = self.tokens, self.tokens.kinds
        if text == "but" and (found := _BUT_NOT.match(self.text, start)):
            tokens.add(BUT_NOT, found[0], start)
            return found.end()
        first = not self.brackets and (not kinds or kinds[-1] == NL)
        word = text in _EVERYWHERE or (first and text in _LINE_WORDS) or (text == "type" and kinds[-1:] == ["EXTEND"])
        kind = TABLES.literals[text] if word else NAME
        tokens.add(kind, text, start)
        return at

    def _mark(self, mark: str, start: int, at: int) -> int:
        """Returns where to go on."""
        tokens = self.tokens
        tokens.add(TABLES.literals.get(mark, UNREADABLE), mark, start)
        if mark in "[]":
            self.brackets = 1 if mark == "[" else 0
        elif mark == "(":
            self.parentheses += 1
            if self.parentheses > NESTING_MAX:
                index = len(tokens.kinds) - 1
                tokens.kinds[index] = UNREADABLE
                tokens.broken[index] = f"parentheses are nested more than {NESTING_MAX} deep"
                return len(self.text)
        elif mark == ")":
            self.parentheses -= 1
        elif mark == "{":
            found = _CEL.match(self.text, at)
            body = found[0] if found else ""
            if body.strip():
                tokens.add(CEL, body.strip(), at + len(body) - len(body.lstrip()))
            return at + len(body)
        return at

    def _unreadable(self, at: int) -> int:
        start = at
        while self.text[start] in " \t\f":
            start += 1
        char = self.text[start]
        tokens = self.tokens
        if char == "#":
            tokens.broken[len(tokens.kinds)] = "a comment begins after a blank: put one before `#`"
        else:
            tokens.broken[len(tokens.kinds)] = f"unexpected character {quote(char)}"
        tokens.add(UNREADABLE, char, start)
        return start + 1
