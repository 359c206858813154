"""The parameters of a form request, with RFC 6749's rules on them (section 3.2): none twice, empty is absent."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from authn.errors import InvalidRequest

_REPEATABLE = frozenset({"resource"})
"""RFC 8707, section 2."""
Parameters: TypeAlias = Mapping[str, str]


class Form:
    """Parameters by name.

    Raises:
        InvalidRequest: one that may stand once stands twice.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, str] = {}
        self._resources: list[str] = []
        seen: set[str] = set()
        for name, value in pairs:
            if name in _REPEATABLE:
                if value:
                    self._resources.append(value)
            elif name in seen:
                raise InvalidRequest("a parameter is repeated")
            else:
                seen.add(name)
                if value:
                    self._values[name] = value

    def get(self, name: str) -> str | None:
        """The parameter's value; ``None`` where it is absent or empty."""
        return self._values.get(name)

    def need(self, name: str) -> str:
        """The parameter's value.

        Raises:
            InvalidRequest: it is absent.
        """
        value = self._values.get(name)
        if value is None:
            raise InvalidRequest(f"the parameter `{name}` is missing")
        return value

    @property
    def resources(self) -> Sequence[str]:
        """Every ``resource``, in order."""
        return self._resources
