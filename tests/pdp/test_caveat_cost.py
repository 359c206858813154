"""The bound on an evaluation's time, against expressions made to break it and contexts as large as they may be.

Expressions are drawn from a grammar of what can cost time: macros within macros, lists that grow, texts that double,
searches and patterns. Whatever the schema's check lets through must answer, or refuse to, in tens of milliseconds.
"""

import re
import time
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from pdp.caveats import CompiledCaveat, Failed, Missing
from schema.cel import CheckedCaveat, check_caveat
from schema.cel_cost import Limits
from schema.model import Caveat, CaveatType

SECONDS_MAX = 0.25
TYPES = {
    "texts": CaveatType("list", (CaveatType("string"),)),
    "numbers": CaveatType("list", (CaveatType("int"),)),
    "text": CaveatType("string"),
    "tree": CaveatType("map", (CaveatType("any"),)),
}


class Maker:
    """Draws expressions; ``scope`` holds the variables of macros, with ``s`` for a text and ``i`` for a number."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._variables = 0

    def boolean(self, depth: int, scope: Mapping[str, str] | None = None) -> str:
        """A condition."""
        scope = scope or {}
        kind = self._random.randrange(11) if depth > 0 else 0
        kinds = self._random.choice("si")
        below = depth - 1
        match kind:
            case 1 | 2 | 3:
                macro = self._random.choice(["all", "exists", "exists_one"])
                variable = self._variable()
                inner = self.boolean(below, {**scope, variable: kinds})
                return f"{self.list_(below, kinds, scope)}.{macro}({variable}, {inner})"
            case 4:
                return f"{self.scalar(below, kinds, scope)} in {self.list_(below, kinds, scope)}"
            case 5:
                return f"{self.list_(below, kinds, scope)} == {self.list_(below, kinds, scope)}"
            case 6:
                return f"{self.scalar(below, 's', scope)}.contains({self.scalar(below, 's', scope)})"
            case 7:
                pattern = self._random.choice([self.scalar(below, "s", scope), "'(a|b)*a(a|b){60}'"])
                return f"{self.scalar(below, 's', scope)}.matches({pattern})"
            case 8:
                return f"({self.boolean(below, scope)} || {self.boolean(below, scope)})"
            case 9:
                return f"({self.boolean(below, scope)} && !({self.boolean(below, scope)}))"
            case 10:
                return "tree.isSubtreeOf(tree)"
            case _:
                return f"{self.scalar(0, 's', scope)} == 'x'"

    def list_(self, depth: int, kind: str, scope: Mapping[str, str]) -> str:
        """A list of texts or numbers."""
        drawn = self._random.randrange(6) if depth > 0 else 0
        below, variable, source = depth - 1, self._variable(), self._random.choice("si")
        match drawn:
            case 2:
                return f"({self.list_(below, kind, scope)} + {self.list_(below, kind, scope)})"
            case 3:
                made = self.scalar(below, kind, {**scope, variable: source})
                return f"{self.list_(below, source, scope)}.map({variable}, {made})"
            case 4:
                kept = self.boolean(below, {**scope, variable: kind})
                return f"{self.list_(below, kind, scope)}.filter({variable}, {kept})"
            case 5:
                return f"[{self.scalar(below, kind, scope)}, {self.scalar(below, kind, scope)}]"
            case _:
                return "texts" if kind == "s" else "numbers"

    def scalar(self, depth: int, kind: str, scope: Mapping[str, str]) -> str:
        """A text or a number."""
        names = [name for name, of in scope.items() if of == kind] + (["text"] if kind == "s" else ["1"])
        drawn = self._random.randrange(5) if depth > 0 else 0
        match drawn:
            case 3:
                return f"({self.scalar(depth - 1, kind, scope)} + {self.scalar(depth - 1, kind, scope)})"
            case 4 if kind == "s":
                return f"string({self.scalar(depth - 1, 'i', scope)})"
            case 4:
                return f"size({self.list_(depth - 1, self._random.choice('si'), scope)})"
            case _:
                return self._random.choice(names)

    def _variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"


def largest(limits: Limits, used: Mapping[str, CaveatType], letters: str) -> dict[str, Any]:
    """A context of these parameters that is as large as the limits let it be."""
    elements = limits.elements // max(1, len(used.keys() - {"text"}))
    bytes_ = limits.bytes // max(1, len(used.keys() - {"numbers"}))
    values = {
        "texts": [letters * (bytes_ // len(letters) // max(1, elements))] * elements,
        "numbers": list(range(elements)),
        "text": letters * (bytes_ // len(letters)),
        "tree": {str(number): number for number in range(min(elements, bytes_ // 8))},
    }
    return {name: values[name] for name in used}


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_accepted_is_judged_in_time(seed: int) -> None:
    """Thirty expressions a seed; some must be accepted, or nothing is shown."""
    maker, judged = Maker(seed), 0
    for _ in range(30):
        expression = maker.boolean(5)
        used = {name: type_ for name, type_ in TYPES.items() if re.search(rf"\b{name}\b", expression)}
        checked = check_caveat(Caveat("drawn", used, expression))
        if not isinstance(checked, CheckedCaveat):
            assert checked[0].code in ("expression-too-costly", "expression-too-deep"), (expression, checked)
            continue
        caveat = CompiledCaveat(Caveat("drawn", used, expression))
        caveat.evaluate("", caveat.bind_request({}))
        for letters in ("a", "ab"):
            context = caveat.bind_request(largest(checked.limits, used, letters))
            started = time.process_time()
            verdict = caveat.evaluate("", context)
            taken = time.process_time() - started
            assert taken < SECONDS_MAX, (expression, checked.limits, letters, taken)
            assert isinstance(verdict, bool | Failed)
            judged += 1
    assert judged > 15


def test_the_number_of_parts_is_bounded() -> None:
    """Each may have to be evaluated apart; as many as are allowed take no longer than anything else."""
    caveat = CompiledCaveat(Caveat("parts", {"a": CaveatType("bool")}, " && ".join(["a"] * 4_000)))
    nothing = caveat.bind_request({})
    assert caveat.evaluate("", nothing) == Missing(("a",))
    started = time.process_time()
    assert caveat.evaluate("", nothing) == Missing(("a",))
    assert time.process_time() - started < SECONDS_MAX
    refused = check_caveat(Caveat("parts", {"a": CaveatType("bool")}, " && ".join(["a"] * 4_001)))
    assert not isinstance(refused, CheckedCaveat)
    assert refused[0].code == "expression-too-costly"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        pytest.param("text == 'x'", (65_536, 32_768, 1_000), id="cheap"),
        pytest.param("text in texts", (65_536, 32_768, 1_000), id="a search"),
        pytest.param("numbers.all(a, a > 0)", (65_536, 32_768, 1_000), id="a loop"),
        pytest.param("numbers.all(a, numbers.exists(b, a == b))", (65_536, 32_768, 1_000), id="a loop in a loop"),
        pytest.param("numbers.all(a, a in numbers)", (65_536, 512, 1_000), id="a search in a loop"),
        pytest.param("texts.map(a, a) == texts", (65_536, 512, 1_000), id="a list made anew"),
        pytest.param("text.matches('^[a-z]+$')", (65_536, 32_768, 1_000), id="a pattern of the schema's"),
        pytest.param("texts.exists(a, text.matches(a))", (1_024, 2_048, 10), id="patterns of the context's"),
    ],
)
def test_limits(expression: str, expected: tuple[int, int, int]) -> None:
    """What an expression takes: bytes, elements and repetitions in patterns."""
    used = {name: type_ for name, type_ in TYPES.items() if re.search(rf"\b{name}\b", expression)}
    checked = check_caveat(Caveat("limited", used, expression))
    assert isinstance(checked, CheckedCaveat)
    assert checked.limits == expected
