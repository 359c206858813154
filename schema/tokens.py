"""From text to the terminals of ``grammar.lark``, in one pass of one regular expression.

Three rules that no grammar says live here: which newline ends a statement, which words are keywords (a ``use`` flag
turns its words into keywords from there on), and that a caveat's body is CEL's text, read only as far as finding the
brace that closes it. Tokens are kept in parallel lists, since a schema of four megabytes has most of a million.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from schema.errors import Source, quote
from schema.model import Position
from schema.tables import load_tables

NESTING_MAX = 100
"""Parentheses, or a type's `<`, within one another: nobody could read more. Bounds every walk over expressions."""

FLAGS: Mapping[str, tuple[str, ...]] = {
    "expiration": ("expiration", "and"),
    "import": ("import",),
    "partial": ("partial",),
    "self": ("self",),
    "typechecking": ("typechecking",),
}
"""What may follow ``use``, with the words that each turns into keywords."""

TABLES = load_tables(Path(__file__).with_name("grammar.lark"), "schema")

END, NAME, STRING, CEL, FLAG, FINISH = "_END", "NAME", "STRING", "CEL", "FLAG", "$END"
UNREADABLE = "UNREADABLE"
"""No terminal of the grammar: what cannot be read at all, or a mark that has no meaning outside CEL."""

RESERVED = frozenset({"definition", "caveat", "relation", "permission", "nil", "with"})
_KEYWORDS = {**TABLES.literals, "typechecking": "TYPECHECKING"}
_MARK_KINDS: Mapping[str, str] = {
    ";": END,
    **{mark: kind for mark, kind in TABLES.literals.items() if not mark.isalpha()},
}
ENDED_BY_NEWLINE = frozenset(
    {NAME, FLAG, "RBRACE", "RPAR", "STAR", "TYPECHECKING"}
    | {_KEYWORDS[word] for word in (*RESERVED, "use", "any", "all", *(w for words in FLAGS.values() for w in words))}
)
_BRACKETS = frozenset("{}()<>")
_HANDLED_APART = frozenset({"USE", "ANY", "ALL", "CAVEAT", UNREADABLE, *(_KEYWORDS[mark] for mark in _BRACKETS)})
_BEFORE_AN_ITEM = frozenset({"", END, "RBRACE", FLAG, STRING})

_SCANNER = re.compile(
    r"""[ \t]*(?:
      (\w+)
    | (//[^\r\n]*|/\*(?s:.*?)\*/)
    | (->|\.\.\.|[=!<>]=|\|\||&&|[{}()\[\]+&|:;=#,*%?!<>.\-]|/(?![/*]))
    | ([\r\n])
    | ("{3}(?s:.*?)"{3}|'{3}(?s:.*?)"{3}|"(?!"")[^"\r\n]*"|'(?!'')[^'\r\n]*')
    | (\Z)
    )""",
    re.VERBOSE,
)
_WORD, _COMMENT, _MARK, _NEWLINE, _STRING, _FINISH = range(1, 7)
_BLANKS = re.compile(r"[ \t]*")


@dataclass(slots=True)
class Tokens:
    """The terminals of a text, by index: kind, text and offset, ending with `FINISH`.

    ``comments`` holds, by the index of the token that it stands before, each comment with its offset. ``broken``
    says why a token is `UNREADABLE`. ``unused_keywords`` are the terminals that no flag has made keywords.
    """

    source: Source
    kinds: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    comments: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    unused_keywords: frozenset[str] = frozenset()

    def position(self, first: int, last: int | None = None) -> Position:
        """The range from one token to another."""
        end = first if last is None else last
        return self.source.position(self.starts[first], self.starts[end] + len(self.texts[end]))

    def comment(self, index: int) -> str:
        """The comments that stand before a token, one after the other."""
        return "\n".join(text for _, text in self.comments.get(index, ()))

    def add(self, kind: str, text: str, start: int) -> None:
        """Append a token."""
        self.kinds.append(kind)
        self.texts.append(text)
        self.starts.append(start)


def scan(source: Source) -> Tokens:
    """Read the tokens of a text. What cannot be read becomes an `UNREADABLE` token, and reading goes on behind it."""
    return _Scan(source).run()


class _Scan:
    """One pass over one text."""

    def __init__(self, source: Source) -> None:
        self.text = source.text
        self.tokens = Tokens(source)
        self.keywords = {word: _KEYWORDS[word] for word in (*RESERVED, "use", "any", "all")}
        self.braces = 0
        self.parentheses = 0
        self.in_caveat = False

    def run(self) -> Tokens:
        """All of the text."""
        tokens, text, keywords, match = self.tokens, self.text, self.keywords, _SCANNER.match
        kinds, texts, starts = tokens.kinds, tokens.texts, tokens.starts
        at, previous = 0, ""
        while True:
            found = match(text, at)
            if found is None:
                at, previous = self._unreadable(at), UNREADABLE
                continue
            group = found.lastindex or _FINISH
            at = found.end()
            token = found[group]
            if group == _WORD:
                kind = keywords.get(token, NAME)
            elif group == _NEWLINE:
                if previous not in ENDED_BY_NEWLINE:
                    continue
                kind = END
            elif group == _COMMENT:
                tokens.comments.setdefault(len(kinds), []).append((at - len(token), token))
                continue
            elif group == _FINISH:
                return self._finish(at)
            else:
                kind = _MARK_KINDS.get(token, UNREADABLE) if group == _MARK else STRING
            if kind in _HANDLED_APART or not token.isascii():
                at = self._apart(kind, token, at, previous)
                previous = kinds[-1]
                continue
            kinds.append(kind)
            texts.append(token)
            starts.append(at - len(token))
            previous = kind

    def _finish(self, at: int) -> Tokens:
        self.tokens.add(FINISH, "", at)
        flagged = {_KEYWORDS[word] for words in FLAGS.values() for word in words}
        self.tokens.unused_keywords = frozenset(flagged.difference(self.keywords.values()))
        return self.tokens

    def _apart(self, kind: str, token: str, at: int, previous: str) -> int:
        """A token that means more than itself; returns where to go on."""
        start = at - len(token)
        if kind == "USE":
            if not self.braces and previous in _BEFORE_AN_ITEM:
                return self._use(start, at)
            kind = NAME
        elif kind in ("ANY", "ALL"):
            kind = kind if previous == "DOT" else NAME
        elif kind == UNREADABLE:
            self.tokens.broken[len(self.tokens.kinds)] = (
                f"{quote(token)} has no meaning outside a caveat's expression"
            )
        elif kind == NAME and not _is_identifier(token):
            return self._unreadable(start)
        self.tokens.add(kind, token, start)
        if kind == "CAVEAT":
            self.in_caveat = True
        return self._bracket(token, at) if token in _BRACKETS else at

    def _use(self, start: int, at: int) -> int:
        """A ``use`` that begins an item: the word behind it is a flag, whatever else it may be."""
        self.tokens.add("USE", "use", start)
        found = _SCANNER.match(self.text, at)
        while found is not None and found.lastindex == _COMMENT:
            found = _SCANNER.match(self.text, found.end())
        if found is None or found.lastindex != _WORD:
            return at
        flag = found[_WORD]
        self.tokens.add(FLAG, flag, found.start(_WORD))
        for word in FLAGS.get(flag, ()):
            self.keywords[word] = _KEYWORDS[word]
        return found.end()

    def _bracket(self, mark: str, at: int) -> int:
        """Keep count of braces and parentheses. Where these are nested too deeply the text is not read further."""
        if mark in "(<":
            self.parentheses += 1
            if self.parentheses > NESTING_MAX:
                index = len(self.tokens.kinds) - 1
                self.tokens.kinds[index] = UNREADABLE
                self.tokens.broken[index] = f"brackets are nested more than {NESTING_MAX} deep"
                return len(self.text)
        elif mark in ")>":
            self.parentheses -= 1
        else:
            self.parentheses = 0
            if mark == "{" and self.in_caveat:
                self.in_caveat = False
                return self._expression(at)
            self.braces = self.braces + 1 if mark == "{" else max(0, self.braces - 1)
        return at

    def _expression(self, start: int) -> int:
        """A caveat's body: everything up to the brace that closes it, without the blanks and comments around it."""
        comments = self.tokens.comments
        depth, at = 1, start
        first = last = -1
        behind: list[tuple[int, str]] = []
        while True:
            found = _SCANNER.match(self.text, at)
            if found is None:
                break
            group, at = found.lastindex or _FINISH, found.end()
            if group == _MARK:
                depth += (found[group] == "{") - (found[group] == "}")
            if group == _FINISH or not depth:
                break
            if group == _COMMENT:
                behind.append((found.start(group), found[group]))
            elif group != _NEWLINE:
                if first < 0:
                    first = found.start(group)
                    comments[len(self.tokens.kinds)] = behind
                behind, last = [], at
        if first >= 0:
            self.tokens.add(CEL, self.text[first:last], first)
        if behind:
            comments[len(self.tokens.kinds)] = behind
        if found is None:
            return self._unreadable(at)
        return at if depth else at - 1

    def _unreadable(self, at: int) -> int:
        """Something that is no token, or a string or comment without an end; returns where to go on."""
        found = _BLANKS.match(self.text, at)
        start = found.end() if found else at
        rest = self.text[start : start + 3]
        end = start + 1
        if rest.startswith("/*"):
            why, end = "this comment is not closed: `*/` is missing", len(self.text)
        elif rest in ('"""', "'''"):
            why, end = 'this string is not closed: a second `"""` is missing', len(self.text)
        elif rest[:1] in ('"', "'"):
            why = f"this string is not closed: a second `{rest[0]}` is missing on its line"
            newline = re.compile(r"[\r\n]|\Z").search(self.text, start)
            end = newline.start() if newline else len(self.text)
        else:
            while end < len(self.text) and not rest[0].isascii() and self.text[end].isalnum():
                end += 1
            why = f"unexpected character {quote(self.text[start:end])}"
        self.tokens.broken[len(self.tokens.kinds)] = why
        self.tokens.add(UNREADABLE, self.text[start:end], start)
        return end


def _is_identifier(word: str) -> bool:
    """Whether a run of what Python calls word characters has letters, decimal digits and underscores alone."""
    return all(char == "_" or char.isalpha() or unicodedata.category(char) == "Nd" for char in word)
