"""How long a caveat's expression can take at worst, for contexts of a given size.

The library stops after 10,000 iterations but not before a doubling such as ``.map(a, a + a)`` has filled the memory,
nor does it bound the work of one iteration. So every expression is estimated when its schema is written: sizes of
values are followed through it as linear forms over the items of comprehensions, and the time of each operation is
its size times a cost measured on one core. `limits` gives the largest contexts for which the estimate stays within
`TIME_NS_MAX`; an expression that has none is refused, and larger contexts are refused when they come.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schema.cel_tree import Kind, Node, walk
from schema.model import CaveatType

TIME_NS_MAX = 20_000_000
CONTEXT_BYTES_MAX = 65_536
"""The texts of a relationship's context and a request's together; more than any door lets in at once but one."""
ITERATIONS_MAX = 10_000
"""The library's own bound on the iterations of one evaluation."""

_NODE_NS = 60.0
_BYTE_NS = 0.2
_ELEMENT_NS = 60.0
_APPENDED_NS = 30.0
"""Adding to a list copies it: the cost a copied element."""
_OWN_FUNCTION_NS = 10_000.0
"""Functions of ours are Python."""
_MATCH_NS = 4.0
"""A regular expression at worst takes this for each of its bytes, repetitions written out, and each of the text's."""
_COMPILED_NS = 80.0
"""A regular expression is compiled whenever it is used, a constant one too."""
_REPEATS_MAX = 1_000
"""The library refuses patterns that repeat a part more often."""
_REPEATS_IN_CONTEXT = 10
_PATTERN_NS = 2_000.0
_CONTAINS_NS = 0.05

_CONSTANT_TIME = frozenset({"_&&_", "_||_", "!_", "_?_:_", "_[_]", "_?._", "_[?_]", "@not_strictly_false"})
_STOP_AT_THE_SHORTER = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "startsWith", "endsWith"})
_REPETITION = re.compile(r"\{(\d{1,4})(?:,(\d{0,4}))?\}", re.ASCII)
_ENOUGH = 1e18
_BYTES_TRIED = (CONTEXT_BYTES_MAX, 29_096, 12_288, 4_096, 2_048, 1_024, 512)
_ELEMENTS_TRIED = (32_768, 14_548, 4_096, 2_048, 1_024, 512, 256, 128, 32)


class Limits(NamedTuple):
    """The largest context that an expression takes: bytes of text, and elements of lists and maps.

    ``repeats`` bounds how often its texts, read as regular expressions, may repeat a part of themselves.
    """

    bytes: int
    elements: int
    repeats: int = _REPEATS_MAX


WIDEST = Limits(CONTEXT_BYTES_MAX, CONTEXT_BYTES_MAX // 2)
"""The contexts that a cheap expression takes."""


def repeats(pattern: str) -> int:
    """How often a regular expression repeats a part of itself at most: its largest ``{n,m}``, nested ones multiplied.

    Whether they are nested is not looked at where there are several.
    """
    product = 1
    for low, high in _REPETITION.findall(pattern):
        product = min(_REPEATS_MAX, product * max(1, int(low), int(high or 0)))
    return product


def limits(root: Node, parameters: Mapping[str, CaveatType]) -> Limits | None:
    """The largest contexts with which the expression stays within its time; ``None`` where even small ones do not."""

    patterns = _REPEATS_MAX if any(map(_builds_text, walk(root))) else _REPEATS_IN_CONTEXT

    def fits(bytes_: int, elements: int) -> bool:
        return _Estimator(parameters, bytes_, elements, patterns).nanoseconds(root) <= TIME_NS_MAX

    repeated = _REPEATS_MAX
    if patterns == _REPEATS_IN_CONTEXT and any(map(_takes_a_pattern, walk(root))):
        repeated = patterns
    if fits(_BYTES_TRIED[0], _ELEMENTS_TRIED[0]):
        return WIDEST._replace(repeats=repeated)
    bytes_ = next((bytes_ for bytes_ in _BYTES_TRIED if fits(bytes_, _ELEMENTS_TRIED[-1])), None)
    if bytes_ is None:
        return None
    return Limits(bytes_, next(elements for elements in _ELEMENTS_TRIED if fits(bytes_, elements)), repeated)


def _builds_text(node: Node) -> bool:
    """Whether texts are put together, so that a pattern may repeat what none in the context does."""
    return node.kind is Kind.CALL and node.name in ("_+_", "string") and not node.scalar


def _takes_a_pattern(node: Node) -> bool:
    """Whether a regular expression comes from the context as it is."""
    return node.kind is Kind.CALL and node.name == "matches" and _pattern_repeats(node.children[-1]) is None


def _pattern_repeats(node: Node) -> int | None:
    """How often a pattern repeats a part of itself at most; ``None`` where the context says it."""
    if node.kind is Kind.CONSTANT:
        return repeats(node.raw.decode("utf-8", "replace"))
    while node.kind is Kind.SELECT or (node.kind is Kind.CALL and node.name in ("_[_]", "_?._", "_[?_]")):
        node = node.children[0]
    return None if node.kind is Kind.IDENTIFIER else _REPEATS_MAX


@dataclass(frozen=True, slots=True)
class _Size:
    """A linear form: a constant, and a factor for the bytes and for the elements of each item in scope."""

    constant: float = 0.0
    factors: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: "_Size") -> "_Size":
        factors = dict(self.factors)
        for name, factor in other.factors.items():
            factors[name] = min(_ENOUGH, factors.get(name, 0.0) + factor)
        return _Size(min(_ENOUGH, self.constant + other.constant), factors)

    def times(self, factor: float) -> "_Size":
        return _Size(
            min(_ENOUGH, self.constant * factor),
            {name: min(_ENOUGH, one * factor) for name, one in self.factors.items()},
        )

    def over(self, whole: Mapping[str, "_Size"], count: float) -> "_Size":
        """The sum over the items of a range: what depends on an item adds up to what the ``whole`` has of it."""
        others = {name: factor for name, factor in self.factors.items() if name not in whole}
        summed = _Size(self.constant, others).times(count)
        for name, size in whole.items():
            summed += size.times(self.factors.get(name, 0.0))
        return summed


_NONE = _Size()


class _Value(NamedTuple):
    """The largest that a value can be."""

    elements: _Size = _NONE
    bytes: _Size = _NONE


def _largest(type_: CaveatType, bytes_: int, elements: int) -> _Value:
    """The largest value of a parameter."""
    holds = type_
    while holds.arguments:
        holds = holds.arguments[0]
    named = type_.name == "map" or (type_.arguments and type_.arguments[0].name == "map")
    return _Value(
        _Size(float(elements)) if type_.arguments or type_.name == "any" else _NONE,
        _Size(float(bytes_)) if holds.name in ("any", "string", "bytes", "ipaddress") or named else _NONE,
    )


class _Work(NamedTuple):
    """The largest work, bounded in two ways: neither is always the better one.

    ``all_ns`` adds up every iteration of every comprehension. The rest counts what is outside comprehensions, the
    iterations, and the dearest of them, for the library ends all after `ITERATIONS_MAX`.
    """

    value: _Value = _Value()
    all_ns: _Size = _NONE
    once_ns: float = 0.0
    iterations: float = 0.0
    iteration_ns: float = 0.0


class _Estimator:
    """One estimate, for one size of context."""

    def __init__(self, parameters: Mapping[str, CaveatType], bytes_: int, elements: int, patterns: int) -> None:
        self._patterns = patterns
        self._scope = {name: _largest(type_, bytes_, elements) for name, type_ in parameters.items()}
        self._bounds: dict[str, float] = {}
        self._fresh = 0

    def nanoseconds(self, root: Node) -> float:
        """The estimate."""
        work = self._work(root)
        return min(work.all_ns.constant, work.once_ns + min(work.iterations, ITERATIONS_MAX) * work.iteration_ns)

    def _bound(self, size: _Size) -> float:
        """The largest that a form can be."""
        if not size.factors:
            return size.constant
        return min(_ENOUGH, size.constant + sum(one * self._bounds[name] for name, one in size.factors.items()))

    def _work(self, node: Node) -> _Work:
        if node.kind is Kind.COMPREHENSION:
            return self._comprehension(node)
        parts = [self._work(child) for child in node.children]
        values = [part.value for part in parts]
        own = _Size(_NODE_NS)
        if node.kind is Kind.CALL:
            own += self._match_ns(node, values) if node.name == "matches" else self._call_ns(node.name, values)
        return _Work(
            self._value(node, values),
            sum((part.all_ns for part in parts), own),
            min(_ENOUGH, sum((part.once_ns for part in parts), self._bound(own))),
            min(_ENOUGH, sum(part.iterations for part in parts)),
            max((part.iteration_ns for part in parts), default=0.0),
        )

    def _value(self, node: Node, values: Sequence[_Value]) -> _Value:
        if node.scalar:
            return _Value()
        elements = sum((value.elements for value in values), _NONE)
        bytes_ = sum((value.bytes for value in values), _NONE)
        match node.kind:
            case Kind.IDENTIFIER:
                return self._scope.get(node.name, _Value())
            case Kind.CONSTANT:
                return _Value(_NONE, _Size(float(node.size)))
            case Kind.LIST | Kind.STRUCT:
                return _Value(elements + _Size(float(len(values))), bytes_)
            case _:
                return _Value(elements, bytes_ + _Size(32.0))

    def _call_ns(self, name: str, values: Sequence[_Value]) -> _Size:
        if name in _CONSTANT_TIME:
            return _NONE
        if name in _STOP_AT_THE_SHORTER:
            elements = min((value.elements for value in values), key=self._bound)
            bytes_ = min((value.bytes for value in values), key=self._bound)
        else:
            elements = sum((value.elements for value in values), _NONE)
            bytes_ = sum((value.bytes for value in values), _NONE)
        cost = elements.times(_ELEMENT_NS) + bytes_.times(_BYTE_NS)
        if name == "size":
            return bytes_.times(_BYTE_NS * 4)
        if name == "contains" and len(values) == 2:
            return cost + self._product(values[0].bytes, values[1].bytes).times(_CONTAINS_NS)
        if name in ("in_cidr", "ipaddress"):
            return _Size(_OWN_FUNCTION_NS)
        if name == "isSubtreeOf":
            return cost + _Size(_OWN_FUNCTION_NS) + elements.times(_OWN_FUNCTION_NS / 5)
        return cost

    def _match_ns(self, node: Node, values: Sequence[_Value]) -> _Size:
        text, pattern = values[0].bytes, values[1].bytes
        repeated = _pattern_repeats(node.children[-1])
        written_out = pattern.times(self._patterns if repeated is None else repeated)
        matched = self._product(text, written_out).times(_MATCH_NS)
        if repeated is None:
            # text and pattern share the context: their product is largest where each is half of it
            matched = matched.times(1 / 4)
        return _Size(_PATTERN_NS) + text.times(_BYTE_NS) + written_out.times(_COMPILED_NS) + matched

    def _product(self, one: _Size, other: _Size) -> _Size:
        """A bound on the product of two forms that is a form."""
        return one.times(self._bound(other)) if one.factors else other.times(self._bound(one))

    def _comprehension(self, node: Node) -> _Work:
        range_, initial, condition, step, result = node.children
        walked, started = self._work(range_), self._work(initial)
        self._fresh += 1
        bytes_, elements = f"bytes {self._fresh}", f"elements {self._fresh}"
        whole = {bytes_: walked.value.bytes, elements: walked.value.elements}
        self._bounds.update({name: self._bound(size) for name, size in whole.items()})
        count = min(self._bounds[elements], float(ITERATIONS_MAX))
        saved = dict(self._scope)
        for variable in node.variables:
            self._scope[variable] = _Value(_Size(0.0, {elements: 1.0}), _Size(0.0, {bytes_: 1.0}))
        self._scope[node.accumulator] = _Value()
        tested, stepped = self._work(condition), self._work(step)
        gathers = initial.kind in (Kind.LIST, Kind.STRUCT)
        if gathers:
            made = stepped.value
            self._scope[node.accumulator] = _Value(made.elements.over(whole, count), made.bytes.over(whole, count))
        finished = self._work(result)
        self._scope = saved
        appended = _NODE_NS + (count * _APPENDED_NS if gathers else 0.0)
        own = tested.once_ns + stepped.once_ns + appended
        inner = tested.iterations + stepped.iterations
        once = (walked, started, finished)
        return _Work(
            finished.value,
            sum(
                (part.all_ns for part in once), (tested.all_ns + stepped.all_ns + _Size(appended)).over(whole, count)
            ),
            sum(part.once_ns for part in once) + _NODE_NS,
            min(_ENOUGH, sum(part.iterations for part in once) + count * (1 + inner)),
            max(min(_ENOUGH, own) if count else 0.0, *(part.iteration_ns for part in (*once, tested, stepped))),
        )
