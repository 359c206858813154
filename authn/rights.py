"""What ``authn`` asks of the graph without knowing it: `api` hands in an object that does.

Where there is no graph (`serve --only authn`) `NoRights` answers: nobody may act for somebody else beyond what a
token itself allows, and no authorization detail that would need a check is granted.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

Detail: TypeAlias = Mapping[str, Any]
RELATION_CHECK = "relation_check"
"""The type of authorization details that are granted as far as a check says yes."""


class Rights(Protocol):
    """Answers about subjects, which are ``client:ID`` or the id of an account."""

    @property
    def details_types(self) -> Sequence[str]:
        """Types of authorization details that can be judged here."""
        ...

    def zookie(self) -> str | None:
        """The zookie that an access token made now should carry."""
        ...

    async def is_active(self, subject: str) -> bool:
        """Whether an account is there and not disabled. Clients are not asked about."""
        ...

    async def may_act_as(self, actor: str, subject: str, audience: str) -> bool:
        """Whether ``actor`` may have a token that speaks for ``subject`` at ``audience``."""
        ...

    async def granted(self, subject: str, details: Sequence[Detail]) -> Sequence[Detail]:
        """Those of the details, all of a type in ``details_types``, that the subject may have now."""
        ...


class NoRights:
    """See the module.

    Args:
        zookie: gives the zookie that tokens carry, where one is known all the same.
    """

    details_types: Sequence[str] = ()

    def __init__(self, zookie: Callable[[], str | None] = lambda: None) -> None:
        self._zookie = zookie

    def zookie(self) -> str | None:
        """See `Rights`."""
        return self._zookie()

    async def is_active(self, subject: str) -> bool:
        """There are no accounts."""
        del subject
        return False

    async def may_act_as(self, actor: str, subject: str, audience: str) -> bool:
        """Nobody may."""
        del actor, subject, audience
        return False

    async def granted(self, subject: str, details: Sequence[Detail]) -> Sequence[Detail]:
        """Nothing is."""
        del subject, details
        return ()
