"""How long a caveat's expression can take at worst, for contexts of a given size.

The library stops after 10,000 iterations but not before a doubling such as ``.map(a, a + a)`` has filled the memory,
nor does it bound the work of one iteration. So every expression is estimated when its schema is written: sizes of
values are followed through it as linear forms over the items of comprehensions, and the time of each operation is
its size times a cost measured on one core. `limits` gives the largest contexts for which the estimate stays within
`TIME_NS_MAX`; an expression that has none is refused, and larger contexts are refused when they come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schema.cel_tree import Kind, Node
from schema.model import CaveatType

TIME_NS_MAX = 20_000_000
CONTEXT_BYTES_MAX = 25_000 + 4_096
"""A relationship's context and a request's together."""
ITERATIONS_MAX = 10_000
"""The library's own bound on the iterations of one evaluation."""

_NODE_NS = 60.0
_BYTE_NS = 0.2
_ELEMENT_NS = 60.0
_APPENDED_NS = 30.0
"""Adding to a list copies it: the cost a copied element."""
_OWN_FUNCTION_NS = 10_000.0
"""Functions of ours are Python."""
_MATCH_NS = 1.5
"""A regular expression at worst takes this for each of its bytes and each of the text's."""
_CONTAINS_NS = 0.05

_CONSTANT_TIME = frozenset({"_&&_", "_||_", "!_", "_?_:_", "_[_]", "_?._", "_[?_]", "@not_strictly_false"})
_STOP_AT_THE_SHORTER = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "startsWith", "endsWith"})
_ENOUGH = 1e18
_BYTES_TRIED = (CONTEXT_BYTES_MAX, 12_288, 4_096, 2_048, 1_024)
_ELEMENTS_TRIED = (14_548, 4_096, 2_048, 1_024, 512, 256, 128, 32)


class Limits(NamedTuple):
    """The largest context that an expression takes: bytes of text, and elements of lists and maps."""

    bytes: int
    elements: int


UNLIMITED = Limits(CONTEXT_BYTES_MAX, CONTEXT_BYTES_MAX)


def limits(root: Node, parameters: Mapping[str, CaveatType]) -> Limits | None:
    """The largest contexts with which the expression stays within its time; ``None`` where even small ones do not."""

    def fits(bytes_: int, elements: int) -> bool:
        return _Estimator(parameters, bytes_, min(elements, bytes_ // 2)).nanoseconds(root) <= TIME_NS_MAX

    if fits(_BYTES_TRIED[0], _ELEMENTS_TRIED[0]):
        return UNLIMITED
    bytes_ = next((bytes_ for bytes_ in _BYTES_TRIED if fits(bytes_, _ELEMENTS_TRIED[-1])), None)
    if bytes_ is None:
        return None
    return Limits(bytes_, next(elements for elements in _ELEMENTS_TRIED if fits(bytes_, elements)))


@dataclass(frozen=True, slots=True)
class _Size:
    """A linear form: a constant, and a factor for each comprehension variable in scope."""

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

    def over(self, variable: str, items: "_Size", count: float) -> "_Size":
        """The sum over the items of a range: what depends on the item adds up to the range itself."""
        others = {name: factor for name, factor in self.factors.items() if name != variable}
        return _Size(self.constant, others).times(count) + items.times(self.factors.get(variable, 0.0))


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
    """The largest work: once through, all iterations, and one iteration of whatever comprehension costs most."""

    value: _Value
    once_ns: float = 0.0
    iterations: float = 0.0
    iteration_ns: float = 0.0


class _Estimator:
    """One estimate, for one size of context."""

    def __init__(self, parameters: Mapping[str, CaveatType], bytes_: int, elements: int) -> None:
        self._scope = {name: _largest(type_, bytes_, elements) for name, type_ in parameters.items()}
        self._bounds: dict[str, tuple[float, float]] = {}
        self._fresh = 0

    def nanoseconds(self, root: Node) -> float:
        """The estimate."""
        work = self._work(root)
        return work.once_ns + min(work.iterations, ITERATIONS_MAX) * work.iteration_ns

    def _elements(self, value: _Value) -> float:
        size = value.elements
        return min(_ENOUGH, size.constant + sum(one * self._bounds[name][0] for name, one in size.factors.items()))

    def _bytes(self, value: _Value) -> float:
        size = value.bytes
        return min(_ENOUGH, size.constant + sum(one * self._bounds[name][1] for name, one in size.factors.items()))

    def _work(self, node: Node) -> _Work:
        if node.kind is Kind.COMPREHENSION:
            return self._comprehension(node)
        parts = [self._work(child) for child in node.children]
        once = sum(part.once_ns for part in parts) + _NODE_NS
        iterations = min(_ENOUGH, sum(part.iterations for part in parts))
        iteration = max((part.iteration_ns for part in parts), default=0.0)
        values = [part.value for part in parts]
        if node.kind is Kind.CALL:
            once += self._call_ns(node.name, values)
        value = self._value(node, values)
        return _Work(value, min(_ENOUGH, once), iterations, iteration)

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

    def _call_ns(self, name: str, values: Sequence[_Value]) -> float:
        if name in _CONSTANT_TIME:
            return 0.0
        together = min if name in _STOP_AT_THE_SHORTER else sum
        elements = together([self._elements(value) for value in values])
        bytes_ = together([self._bytes(value) for value in values])
        cost = elements * _ELEMENT_NS + bytes_ * _BYTE_NS
        if name == "size":
            return bytes_ * _BYTE_NS * 4
        if name in ("matches", "contains") and len(values) == 2:
            each = _MATCH_NS if name == "matches" else _CONTAINS_NS
            return min(_ENOUGH, cost + each * self._bytes(values[0]) * self._bytes(values[1]))
        if name == "in_cidr":
            return _OWN_FUNCTION_NS
        if name == "isSubtreeOf":
            return _OWN_FUNCTION_NS * (1 + elements / 5) + bytes_ * _BYTE_NS
        return min(_ENOUGH, cost)

    def _comprehension(self, node: Node) -> _Work:
        range_, initial, condition, step, result = node.children
        walked, started = self._work(range_), self._work(initial)
        count = min(self._elements(walked.value), float(ITERATIONS_MAX))
        self._fresh += 1
        item = f"{node.variables[0]} {self._fresh}"
        self._bounds[item] = (self._elements(walked.value), self._bytes(walked.value))
        saved = dict(self._scope)
        for variable in node.variables:
            self._scope[variable] = _Value(_Size(0.0, {item: 1.0}), _Size(0.0, {item: 1.0}))
        self._scope[node.accumulator] = _Value()
        tested, stepped = self._work(condition), self._work(step)
        gathers = initial.kind in (Kind.LIST, Kind.STRUCT)
        if gathers:
            made = stepped.value
            self._scope[node.accumulator] = _Value(
                made.elements.over(item, walked.value.elements, count),
                made.bytes.over(item, walked.value.bytes, count),
            )
        finished = self._work(result)
        self._scope = saved
        own = tested.once_ns + stepped.once_ns + _NODE_NS + (count * _APPENDED_NS if gathers else 0.0)
        parts = (walked, started, tested, stepped, finished)
        inner = tested.iterations + stepped.iterations
        return _Work(
            finished.value,
            walked.once_ns + started.once_ns + finished.once_ns + _NODE_NS,
            min(_ENOUGH, walked.iterations + started.iterations + finished.iterations + count * (1 + inner)),
            max(min(_ENOUGH, own) if count else 0.0, *(part.iteration_ns for part in parts)),
        )
