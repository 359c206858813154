"""A grammar file as the tables that a parser is driven by.

Lark reads the grammar and computes the LALR(1) tables; `schema.driver` runs over them. Lark's own loop is not used:
it makes an object of every token and cannot go on after an error, and a schema of four megabytes took it 7.0 s where
ours takes 2.4 s to the finished values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from lark import Lark
from lark.grammar import Rule, Terminal
from lark.lexer import Lexer, PatternStr
from lark.parsers.lalr_analysis import Shift


@dataclass(frozen=True, slots=True)
class Reduction:
    """Replace the last ``size`` values by one.

    ``builds`` names the method that makes it from the values at ``kept``; ``""`` collects them into a list, which
    the rule that uses it takes apart (``splices``: positions of such lists). With ``unit`` a single value stands for
    itself; ``stands_for_itself`` is the plainest such: one value in, the same out. ``drops`` says that not all values
    are kept. ``index`` numbers the reductions of a grammar.
    """

    index: int
    origin: str
    size: int
    builds: str
    kept: tuple[int, ...]
    splices: frozenset[int]
    unit: bool
    drops: bool
    stands_for_itself: bool


Action: TypeAlias = "int | Reduction"
"""A state to go to, or a reduction."""


@dataclass(frozen=True, slots=True)
class Tables:
    """A grammar, ready to drive a parser.

    ``actions`` is one mapping a state, from terminal or rule to what to do. ``literals`` maps the texts that the
    grammar spells out to their terminals, ``spellings`` is the reverse.
    """

    start: int
    finish: int
    actions: Sequence[Mapping[str, Action]]
    reductions: Sequence[Reduction]
    literals: Mapping[str, str]
    spellings: Mapping[str, str]


class _NoLexer(Lexer):
    """Lark asks for a lexer; the tables alone are wanted."""

    def __init__(self, lexer_conf: object) -> None:
        pass

    def lex(self, lexer_state: object, parser_state: object) -> None:  # type: ignore[override]
        raise NotImplementedError


def load_tables(path: Path, start: str) -> Tables:
    """Compute the tables of a grammar file. Takes some tens of milliseconds: done once, at import."""
    grammar = path.read_text(encoding="utf-8")
    lark = Lark(grammar, parser="lalr", lexer=_NoLexer, start=start, maybe_placeholders=False)
    table = lark.parser.parser.parser.parse_table
    reductions: dict[Rule, Reduction] = {}
    actions: list[Mapping[str, Action]] = []
    for state in range(len(table.states)):
        row: dict[str, Action] = {}
        for symbol, (action, argument) in table.states[state].items():
            if action is Shift:
                row[symbol] = argument
            else:
                if argument not in reductions:
                    reductions[argument] = _reduction(len(reductions), argument)
                row[symbol] = reductions[argument]
        actions.append(row)
    literals = {t.pattern.value: t.name for t in lark.terminals if isinstance(t.pattern, PatternStr)}
    return Tables(
        table.start_states[start],
        table.end_states[start],
        actions,
        list(reductions.values()),
        literals,
        {name: text for text, name in literals.items()},
    )


def _reduction(index: int, rule: Rule) -> Reduction:
    origin = str(rule.origin.name)
    kept = tuple(
        at for at, symbol in enumerate(rule.expansion) if not (isinstance(symbol, Terminal) and symbol.filter_out)
    )
    size, unit = len(rule.expansion), bool(rule.options.expand1) and not rule.alias
    splices = frozenset(
        at for at in kept if not rule.expansion[at].is_term and rule.expansion[at].name.startswith("_")
    )
    return Reduction(
        index,
        origin,
        size,
        "" if origin.startswith("_") else str(rule.alias or origin),
        kept,
        splices,
        unit,
        len(kept) != size,
        unit and size == len(kept) == 1 and not splices,
    )
