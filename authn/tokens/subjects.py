"""Whether those that a token would speak for are still there: asked anew whenever one is made."""

from collections.abc import Mapping
from typing import Any

from authn.clients.registry import ClientRegistry
from authn.errors import InvalidGrant
from authn.rights import Rights

_CLIENT = "client:"


class Subjects:
    """Clients from the registry, accounts from whoever has them."""

    def __init__(self, clients: ClientRegistry, rights: Rights) -> None:
        self._clients = clients
        self.rights = rights

    async def require_active(self, subject: str, actor: Mapping[str, Any] | None) -> None:
        """Refuse for a subject, or anybody in its chain of actors, that is gone or disabled.

        Raises:
            InvalidGrant: one is.
        """
        if not await self._is_active(subject):
            raise InvalidGrant("the subject is gone or disabled")
        while actor is not None:
            if not await self._is_active(actor["sub"]):
                raise InvalidGrant("an actor is gone or disabled")
            actor = actor.get("act")

    async def _is_active(self, subject: str) -> bool:
        if not subject.startswith(_CLIENT):
            return await self.rights.is_active(subject)
        client = await self._clients.find(subject.removeprefix(_CLIENT))
        return client is not None and not client.disabled
