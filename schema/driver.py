"""The loop over a grammar's tables: shift, reduce, and go on after an error.

Values on the stack are token indices and what a builder made of them. On an error the caller decides how to go on
(`Recovery`), so that one pass finds several. Nothing recurses, whatever is nested.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from schema.tables import Action, Reduction, Tables

Maker = Callable[[list[Any]], Any]


class Stack:
    """Where the parser stands: states, and the values between them."""

    __slots__ = ("states", "values")

    def __init__(self, states: list[int], values: list[Any]) -> None:
        self.states = states
        self.values = values


class Recovery(Protocol):
    """What to do about an error."""

    def recover(self, stack: Stack, index: int) -> int:
        """Report the token that does not fit, mend the stack, and return the index to go on at; -1 gives up."""
        ...


def makers(tables: Tables, builder: object) -> Sequence[Maker]:
    """For each reduction the builder's method, by the rule's name."""
    return [
        getattr(builder, reduction.builds) if reduction.builds and not reduction.stands_for_itself else list
        for reduction in tables.reductions
    ]


def drive(tables: Tables, kinds: Sequence[str], make: Sequence[Maker], recovery: Recovery) -> Any:
    """Parse; returns what the start rule's method made, ``None`` where recovery gave up."""
    actions = tables.actions
    stack = Stack([tables.start], [])
    states, values = stack.states, stack.values
    index, count = 0, len(kinds)
    while index < count:
        kind = kinds[index]
        action = actions[states[-1]].get(kind)
        while isinstance(action, Reduction):
            reduce_(action, states, values, actions, make)
            if states[-1] == tables.finish:
                return values[-1]
            action = actions[states[-1]].get(kind)
        if action is None:
            index = recovery.recover(stack, index)
            if index < 0:
                return None
            states, values = stack.states, stack.values
            continue
        states.append(action)
        values.append(index)
        index += 1
    return values[-1]


def reduce_(
    reduction: Reduction,
    states: list[int],
    values: list[Any],
    actions: Sequence[Mapping[str, Action]],
    make: Sequence[Maker],
) -> None:
    """Put one value in place of the last few."""
    size = reduction.size
    if size == 1 and reduction.unit:
        states.pop()
        states.append(actions[states[-1]][reduction.origin])  # type: ignore[arg-type]
        return
    kept = reduction.kept
    if not size:
        value = make[reduction.index]([])
    else:
        part = values[-size:]
        del values[-size:]
        del states[-size:]
        splices = reduction.splices
        if not splices:
            part = part if len(kept) == size else [part[at] for at in kept]
        else:
            first = kept[0]
            if not reduction.builds and first in splices:
                taken = part[first]  # a list that grows: its own, so in place
            else:
                taken = list(part[first]) if first in splices else [part[first]]
            for at in kept[1:]:
                if at in splices:
                    taken.extend(part[at])
                else:
                    taken.append(part[at])
            part = taken
        if reduction.unit and len(part) == 1:
            value = part[0]
        elif not reduction.builds:
            value = part
        else:
            value = make[reduction.index](part)
    states.append(actions[states[-1]][reduction.origin])  # type: ignore[arg-type]
    values.append(value)


def accepts(tables: Tables, states: Sequence[int], kind: str) -> bool:
    """Whether a terminal could come next. Reduces on states alone."""
    walked = list(states)
    while True:
        action = tables.actions[walked[-1]].get(kind)
        if action is None:
            return False
        if isinstance(action, int):
            return True
        if action.size:
            del walked[-action.size :]
        following = tables.actions[walked[-1]][action.origin]
        if not isinstance(following, int):
            return False
        if following == tables.finish:
            return True
        walked.append(following)
