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
        getattr(builder, reduction.builds)
        if reduction.builds and not (reduction.unit and len(reduction.kept) == 1)
        else list
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
            if action.stands_for_itself:
                states[-1] = actions[states[-2]][action.origin]  # type: ignore[assignment]  # rules lead to states
            else:
                _reduce(action, states, values, actions, make)
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


def _reduce(
    reduction: Reduction,
    states: list[int],
    values: list[Any],
    actions: Sequence[Mapping[str, Action]],
    make: Sequence[Maker],
) -> None:
    """Put one value in place of the last few."""
    part: list[Any] = []
    if reduction.size:
        size = -reduction.size
        part = values[size:]
        del values[size:], states[size:]
        if reduction.splices:
            part = _spliced(reduction, part)
        elif reduction.drops:
            part = [part[at] for at in reduction.kept]
    states.append(actions[states[-1]][reduction.origin])  # type: ignore[arg-type]  # rules lead to states
    if reduction.unit and len(part) == 1:
        values.append(part[0])
    else:
        values.append(make[reduction.index](part) if reduction.builds else part)


def _spliced(reduction: Reduction, part: list[Any]) -> list[Any]:
    """The values kept, lists among them taken apart. A list that grows by one grows in place."""
    first, *rest = reduction.kept
    splices = reduction.splices
    taken = part[first] if first in splices else [part[first]]
    gathered = taken[:] if reduction.builds else taken
    for at in rest:
        if at in splices:
            gathered.extend(part[at])
        else:
            gathered.append(part[at])
    return gathered


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
