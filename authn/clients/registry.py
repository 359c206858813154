"""The clients of an installation: registered, changed, and found again from memory.

What memory holds is dropped when the feed says that a client changed, so no process goes on with an old one for more
than a second. An id that no client has is remembered too, since the feed tells of new clients as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from authn.cache import BoundedCache
from authn.clients.client import Client, ClientSecret, secret_digest
from authn.clients.metadata import EITHER_SECRET_METHOD, SECRET_METHODS, normalise, shown, to_client, valid_secret
from authn.clock import World, uuid7
from authn.errors import BadMetadata, ClientNotFound
from authn.jose import b64url
from authn.stores import clients as client_rows
from authn.stores.statements import Database, Work

CLIENTS_CACHED_MAX = 10_000
SECRETS_LIVING_MAX = 2
_SECRET_BYTES = 32
_ADMIN_MARK = "admin client"
ADMIN_CLIENT_ID = "admin"


class Registered(NamedTuple):
    """A client just registered, with its secret while it can still be shown."""

    client: Client
    secret: str | None

    def to_json(self) -> dict[str, Any]:
        """The answer to a registration (RFC 7591, section 3.2.1)."""
        result = shown(self.client)
        if self.secret is not None:
            result |= {"client_secret": self.secret, "client_secret_expires_at": 0}
        return result


class ClientRegistry:
    """See the module."""

    def __init__(self, database: Database, issuer: str, world: World) -> None:
        self._database = database
        self._issuer = issuer
        self._world = world
        self._cache: BoundedCache[str, Client | None] = BoundedCache(CLIENTS_CACHED_MAX)
        self._epoch = 0

    def cached(self, client_id: str) -> Client | None:
        """The client of that id, if memory has it."""
        return self._cache.get(client_id)

    async def find(self, client_id: str) -> Client | None:
        """The client of that id, disabled or not."""
        found = self._cache.get(client_id)
        if found is not None or client_id in self._cache:
            return found
        epoch = self._epoch
        row = await self._database.run(client_rows.get(client_id))
        client = None if row is None else self._client(row)
        if epoch == self._epoch:  # else it may have changed while it was read
            self._cache.put(client_id, client)
        return client

    def forget(self, client_id: str | None = None) -> None:
        """Drop one client from memory, or all."""
        self._epoch += 1
        if client_id is None:
            self._cache.clear()
        else:
            self._cache.drop(client_id)

    async def create(self, metadata: Mapping[str, Any]) -> Registered:
        """Register a client from RFC 7591 metadata; a ``client_id`` or ``client_secret`` in it is kept.

        Raises:
            BadMetadata: the metadata is wrong.
            ClientExists: the id is taken.
        """
        prepared, work = self.prepare(metadata)
        await self._database.run(work)
        self.forget(prepared.client.client_id)
        return prepared

    def prepare(self, metadata: Mapping[str, Any]) -> tuple[Registered, Work[None]]:
        """The client that metadata make, and the work that stores it; for several in one transaction.

        Raises:
            BadMetadata: the metadata is wrong.
        """
        now_ms = self._world.now_ms()
        document = normalise(metadata)
        client_id = metadata.get("client_id") or uuid7(now_ms, self._world.random_bytes(10))
        draft = to_client(client_id, document, (), issuer=self._issuer, created_at_ms=now_ms)
        secret: str | None = None
        secrets: tuple[ClientSecret, ...] = ()
        if draft.auth_methods <= SECRET_METHODS:
            given = metadata.get("client_secret")
            secret = self.new_secret() if given is None else valid_secret(given)
            secrets = (ClientSecret(secret_digest(secret), None, now_ms),)
        elif "client_secret" in metadata:
            raise BadMetadata("client_secret", "goes with `client_secret_basic` and `client_secret_post` only")
        client = to_client(client_id, document, secrets, issuer=self._issuer, created_at_ms=now_ms)
        return Registered(client, secret), client_rows.insert(client_id, document, secrets, now_ms)

    async def create_admin(self, scopes: Sequence[str]) -> Registered | None:
        """On the very first start of an installation, the client that may do everything; later ``None``."""
        now_ms = self._world.now_ms()
        grants = ["client_credentials"]
        prepared, insert = self.prepare(
            {"client_id": ADMIN_CLIENT_ID, "client_name": "admin", "scope": " ".join(scopes), "grant_types": grants}
        )

        def once() -> Work[bool]:
            if not (yield from client_rows.mark(_ADMIN_MARK, now_ms)):
                return False
            yield from insert
            return True

        return prepared if await self._database.run(once()) else None

    async def page(self, after: str = "", limit: int = 100) -> Sequence[Client]:
        """Clients in order of their ids, behind ``after``, at most ``limit``."""
        return [self._client(row) for row in await self._database.run(client_rows.page(after, limit))]

    async def update(self, client_id: str, changes: Mapping[str, Any]) -> Client:
        """Put other values for the members given; ``None`` takes a member away. Id and secrets are not among them.

        Raises:
            BadMetadata: the metadata would be wrong.
            ClientNotFound: there is no such client.
        """
        client = await self._get(client_id)
        for name in ("client_id", "client_secret"):
            if name in changes:
                raise BadMetadata(name, "cannot be changed like this")
        merged = {name: value for name, value in {**client.metadata, **changes}.items() if value is not None}
        if merged["token_endpoint_auth_method"] == EITHER_SECRET_METHOD:
            del merged["token_endpoint_auth_method"]
        document = normalise(merged)
        await self._database.run(client_rows.update_metadata(client_id, document, self._world.now_ms()))
        self.forget(client_id)
        return await self._get(client_id)

    async def set_disabled(self, client_id: str, *, disabled: bool) -> None:
        """Disable a client or let it work again.

        Raises:
            ClientNotFound: there is no such client.
        """
        await self._database.run(client_rows.set_disabled(client_id, self._world.now_ms(), disabled=disabled))
        self.forget(client_id)

    async def remove(self, client_id: str) -> None:
        """Forget a client for good.

        Raises:
            ClientNotFound: there is no such client.
        """
        await self._database.run(client_rows.remove(client_id, self._world.now_ms()))
        self.forget(client_id)

    async def rotate_secret(self, client_id: str, *, overlap_s: int, secret: str | None = None) -> str:
        """A new secret; the ones before it end after ``overlap_s``. A client has at most two that are good.

        Raises:
            BadMetadata: the client has no secrets, the one given is not usable, or two are good already and
                ``overlap_s`` would keep them.
            ClientNotFound: there is no such client.
        """
        client = await self._get(client_id)
        if not client.auth_methods <= SECRET_METHODS:
            raise BadMetadata("token_endpoint_auth_method", "is not one with a secret")
        now_ms = self._world.now_ms()
        fresh = self.new_secret() if secret is None else valid_secret(secret)
        row = ClientSecret(secret_digest(fresh), None, now_ms)
        added = await self._database.run(
            client_rows.add_secret(
                client_id,
                row,
                others_until_ms=now_ms + overlap_s * 1000,
                living_max=SECRETS_LIVING_MAX,
                now_ms=now_ms,
            )
        )
        if not added:
            raise BadMetadata("client_secret", "two are good already; end them first with an overlap of 0")
        self.forget(client_id)
        return fresh

    def new_secret(self) -> str:
        """A random secret."""
        return b64url(self._world.random_bytes(_SECRET_BYTES))

    async def _get(self, client_id: str) -> Client:
        row = await self._database.run(client_rows.get(client_id))
        if row is None:
            raise ClientNotFound(client_id)
        return self._client(row)

    def _client(self, row: client_rows.ClientRow) -> Client:
        return to_client(
            row.client_id,
            row.metadata,
            row.secrets,
            issuer=self._issuer,
            created_at_ms=row.created_at_ms,
            disabled=row.disabled,
        )
