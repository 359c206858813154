"""A checked CEL expression as a tree, read from the bytes that the library serializes it to.

The library compiles and evaluates but does not show what it compiled. Its bytes are ``cel.expr.CheckedExpr`` of the
CEL specification (``checked.proto`` and ``syntax.proto``) inside a ``google.protobuf.Any``; what is needed of them is
read here by field number, as no Python package carries their classes. Every node keeps its own bytes, so that a part
of an expression can be made an expression again (`Checked.part`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """What a node is, by its field in ``Expr``."""

    CONSTANT = 3
    IDENTIFIER = 4
    SELECT = 5
    CALL = 6
    LIST = 7
    STRUCT = 8
    COMPREHENSION = 9


@dataclass(frozen=True, slots=True)
class Node:
    """One node. ``name`` is an identifier, a function or a field.

    ``children`` are, for a call, its target if there is one and its arguments; for a comprehension its range, initial
    accumulator, condition, step and result. ``bytes`` counts a constant's text. ``scalar`` says that every value of
    the node has a small fixed size.
    """

    kind: Kind
    name: str
    children: tuple["Node", ...]
    raw: bytes
    id: int = 0
    size: int = 0
    variables: tuple[str, ...] = ()
    accumulator: str = ""
    scalar: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked expression; ``_entries`` are, by node, the bytes that tell its type and what it refers to."""

    root: Node
    _url: bytes = field(repr=False)
    _entries: Mapping[int, bytes] = field(repr=False)

    def part(self, node: Node) -> bytes:
        """One node as an expression of its own, serialized as the library does it but without positions."""
        entries = b"".join(self._entries.get(one.id, b"") for one in walk(node))
        return _field(1, self._url) + _field(2, entries + _field(4, node.raw))


def read_checked(serialized: bytes) -> Checked:
    """Read what the library serialized. The library bounds how deeply an expression nests, and so the recursion."""
    outer = dict(_fields(serialized))
    entries, scalars, root = dict[int, bytes](), set[int](), b""
    for number, value in _fields(_bytes(outer[2])):
        if number == 4:
            root = _bytes(value)
        elif number in (2, 3):
            entry = dict(_fields(_bytes(value)))
            id_ = _int(entry.get(1, 0))
            entries[id_] = entries.get(id_, b"") + _field(number, _bytes(value))
            if number == 3 and _is_scalar(_bytes(entry.get(2, b""))):
                scalars.add(id_)
    return Checked(_node(root, scalars), _bytes(outer[1]), entries)


def walk(node: Node) -> Iterator[Node]:
    """Every node, each before those below it, in written order."""
    todo = [node]
    while todo:
        one = todo.pop()
        yield one
        todo.extend(reversed(one.children))


OPERATORS = frozenset({"_&&_", "_||_", "!_", "_?_:_"})
"""The functions at which an expression is taken apart."""


def leaves(root: Node) -> Iterator[Node]:
    """The largest parts of an expression that are no operator's."""
    todo = [root]
    while todo:
        one = todo.pop()
        if one.kind is Kind.CALL and one.name in OPERATORS:
            todo.extend(reversed(one.children))
        else:
            yield one


def free_names(node: Node, names: frozenset[str]) -> tuple[str, ...]:
    """Those of ``names`` that the expression reads and does not bind itself, by first appearance."""
    found: dict[str, None] = {}
    todo: list[tuple[Node, frozenset[str]]] = [(node, names)]
    while todo:
        one, visible = todo.pop()
        if one.kind is Kind.IDENTIFIER and one.name in visible:
            found[one.name] = None
        elif one.kind is Kind.COMPREHENSION:
            inner = visible.difference(one.variables, (one.accumulator,))
            range_, initial, *rest = one.children
            todo.extend((child, inner) for child in reversed(rest))
            todo.extend(((initial, visible), (range_, visible)))
        else:
            todo.extend((child, visible) for child in reversed(one.children))
    return tuple(found)


def _node(raw: bytes, scalars: set[int]) -> Node:
    fields = _fields(raw)
    number, content = fields[-1]
    id_ = _int(fields[0][1]) if fields[0][0] == 2 else 0
    scalar, value = id_ in scalars, _bytes(content)
    match _KINDS[number]:
        case Kind.CONSTANT:
            return Node(Kind.CONSTANT, "", (), raw, id_, len(value), scalar=scalar)
        case Kind.IDENTIFIER:
            return Node(Kind.IDENTIFIER, _bytes(_fields(value)[0][1]).decode(), (), raw, id_, scalar=scalar)
        case Kind.SELECT:
            parts = dict(_fields(value))
            operand = _node(_bytes(parts[1]), scalars)
            return Node(Kind.SELECT, _bytes(parts[2]).decode(), (operand,), raw, id_, scalar=scalar)
        case Kind.CALL:
            name, children = _call(value, scalars)
            return Node(Kind.CALL, name, children, raw, id_, scalar=scalar)
        case Kind.LIST:
            elements = tuple(_node(_bytes(one), scalars) for at, one in _fields(value) if at == 1)
            return Node(Kind.LIST, "", elements, raw, id_)
        case Kind.STRUCT:
            return Node(Kind.STRUCT, "", tuple(_entries(value, scalars)), raw, id_)
        case Kind.COMPREHENSION:
            comprehension = {number: _bytes(one) for number, one in _fields(value)}
            variables = tuple(comprehension[number].decode() for number in (1, 8) if number in comprehension)
            steps = tuple(_node(comprehension[number], scalars) for number in (2, 4, 5, 6, 7))
            return Node(Kind.COMPREHENSION, "", steps, raw, id_, 0, variables, comprehension[3].decode())


_KINDS = {kind.value: kind for kind in Kind}


def _call(value: bytes, scalars: set[int]) -> tuple[str, tuple[Node, ...]]:
    children, name = [], ""
    for number, one in _fields(value):
        if number == 2:
            name = _bytes(one).decode()
        else:
            children.append(_node(_bytes(one), scalars))
    return name, tuple(children)


def _entries(value: bytes, scalars: set[int]) -> Iterator[Node]:
    for number, entry in _fields(value):
        if number == 2:
            yield from (_node(_bytes(one), scalars) for at, one in _fields(_bytes(entry)) if at in (3, 4))


def _is_scalar(type_: bytes) -> bool:
    """Whether a ``Type`` is null, a boolean or a number, or a time."""
    for number, value in _fields(type_):
        return number in (2, 5) or (number == 3 and _int(value) <= 4)
    return False


# protobuf's wire format, as much as these messages use of it


def _fields(data: bytes) -> list[tuple[int, "bytes | int"]]:
    """A message's fields in order; written for speed, since a long expression has tens of thousands of messages."""
    found: list[tuple[int, bytes | int]] = []
    at, end = 0, len(data)
    while at < end:
        key = data[at]
        at += 1
        if key > 0x7F:
            key, at = _varint(data, at - 1)
        wire = key & 7
        if wire in (0, 2):
            value = data[at]
            at += 1
            if value > 0x7F:
                value, at = _varint(data, at - 1)
            if wire == 0:
                found.append((key >> 3, value))
                continue
        else:
            value = {1: 8, 5: 4}[wire]
        found.append((key >> 3, data[at : at + value]))
        at += value
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _field(number: int, value: bytes) -> bytes:
    return _varint_bytes(number << 3 | 2) + _varint_bytes(len(value)) + value


def _varint_bytes(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(value: "bytes | int") -> bytes:
    return value if isinstance(value, bytes) else b""


def _int(value: "bytes | int") -> int:
    return value if isinstance(value, int) else 0
