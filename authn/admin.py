"""Administration of clients and keys: each change told of in the audit log, durably, before it is answered."""

from collections.abc import Mapping, Sequence
from typing import Any

from authn.audit import AuditLog
from authn.clients.client import Client
from authn.clients.registry import ClientRegistry, Registered
from authn.errors import BadMetadata, ClientNotFound
from authn.events import Event, EventName
from authn.keys.keeper import KeyKeeper
from authn.keys.states import KeyRecord
from authn.stores.statements import Database, Work
from authn.tokens.revoke import Revoker

REGISTERED_AT_ONCE_MAX = 1_000


class Administration:
    """What an operator can do. ``by`` names them in the audit log."""

    def __init__(
        self,
        database: Database,
        clients: ClientRegistry,
        keys: KeyKeeper,
        revoker: Revoker,
        audit: AuditLog,
    ) -> None:
        self._database = database
        self._clients = clients
        self._keys = keys
        self._revoker = revoker
        self._audit = audit

    async def create_clients(self, many: Sequence[Mapping[str, Any]], by: str) -> Sequence[Registered]:
        """Register clients, all of them or none.

        Raises:
            BadMetadata: one is wrong. ClientExists: an id is taken.
        """
        if not 0 < len(many) <= REGISTERED_AT_ONCE_MAX:
            raise BadMetadata("clients", f"wants 1 to {REGISTERED_AT_ONCE_MAX} at once")
        prepared = [self._clients.prepare(metadata) for metadata in many]

        def insert_all() -> Work[None]:
            for _, work in prepared:
                yield from work

        await self._database.run(insert_all())
        for registered, _ in prepared:
            self._clients.forget(registered.client.client_id)
            await self._tell(EventName.CLIENT_CREATED, registered.client.client_id, by)
        return [registered for registered, _ in prepared]

    async def client(self, client_id: str) -> Client:
        """Raises `authn.errors.ClientNotFound`."""
        client = await self._clients.find(client_id)
        if client is None:
            raise ClientNotFound(client_id)
        return client

    async def clients(self, after: str = "", limit: int = 100) -> Sequence[Client]:
        """Clients in order of their ids, behind ``after``."""
        return await self._clients.page(after, limit)

    async def change_client(self, client_id: str, changes: Mapping[str, Any], by: str) -> Client:
        """Put other metadata in place; tokens that exist keep what they say.

        Raises:
            BadMetadata: they are wrong. ClientNotFound: there is no such client.
        """
        client = await self._clients.update(client_id, changes)
        await self._tell(EventName.CLIENT_CHANGED, client_id, by)
        return client

    async def disable_client(self, client_id: str, by: str) -> None:
        """Let a client do nothing any more, nor anybody with a token of its.

        Raises:
            ClientNotFound: there is no such client.
        """
        await self._clients.set_disabled(client_id, disabled=True)
        await self._revoker.revoke_client(client_id, "the client was disabled")
        await self._tell(EventName.CLIENT_DISABLED, client_id, by)

    async def enable_client(self, client_id: str, by: str) -> None:
        """Let a client work again; what it had stays revoked.

        Raises:
            ClientNotFound: there is no such client.
        """
        await self._clients.set_disabled(client_id, disabled=False)
        await self._tell(EventName.CLIENT_ENABLED, client_id, by)

    async def remove_client(self, client_id: str, by: str) -> None:
        """Forget a client, and take back everything it had.

        Raises:
            ClientNotFound: there is no such client.
        """
        await self._clients.remove(client_id)
        await self._revoker.revoke_client(client_id, "the client was removed")
        await self._tell(EventName.CLIENT_REMOVED, client_id, by)

    async def rotate_secret(self, client_id: str, by: str, *, overlap_s: int, secret: str | None = None) -> str:
        """Give a client another secret; see `ClientRegistry.rotate_secret`."""
        fresh = await self._clients.rotate_secret(client_id, overlap_s=overlap_s, secret=secret)
        await self._tell(EventName.SECRET_ROTATED, client_id, by)
        return fresh

    async def revoke_client_tokens(self, client_id: str, by: str) -> None:
        """Take back everything that a client has, and leave the client.

        Raises:
            ClientNotFound: there is no such client.
        """
        await self.client(client_id)
        await self._revoker.revoke_client(client_id, f"by {by}")

    def signing_keys(self) -> Sequence[KeyRecord]:
        """Every signing key there ever was."""
        return self._keys.ring.records

    async def rotate_keys(self, by: str) -> None:
        """Let the next keys sign now; see `KeyKeeper.rotate`."""
        await self._keys.rotate()
        await self._audit.record_durably(Event(EventName.KEY_MOVED, {"by": by, "why": "rotated by hand"}))

    async def compromise_key(self, kid: str, by: str) -> None:
        """Refuse everything that a key signed; see `KeyKeeper.compromise`."""
        await self._keys.compromise(kid)
        await self._audit.record_durably(Event(EventName.KEY_COMPROMISED, {"kid": kid, "by": by}))

    async def _tell(self, name: EventName, client_id: str, by: str) -> None:
        await self._audit.record_durably(Event(name, {"client_id": client_id, "by": by}))
