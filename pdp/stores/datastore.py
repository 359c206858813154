"""A database's stores: making, opening, deleting and recovering them; migrations and garbage collection."""

import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pdp.errors import StoreExists, StoreNotFound
from pdp.relationships import Instant, Revision
from pdp.stores import migrate, statements
from pdp.stores.batch import full_allowance
from pdp.stores.collect import WINDOW, Collector
from pdp.stores.database import Database
from pdp.stores.store import SqlStore
from pdp.stores.values import Collected, MigrationStatus, Quotas, StoreInfo

_PAGE = 500
_NO_QUOTAS = Quotas()


class SqlDatastore:
    """See `pdp.stores.protocol.Datastore`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._stores: dict[int, SqlStore] = {}
        self._collector = Collector(database)
        self._verified = False

    async def migrate(self, to: str = "head") -> None:
        """See `pdp.stores.protocol.Datastore`."""
        await migrate.migrate(self.database, to)

    async def migration_status(self) -> MigrationStatus:
        """See `pdp.stores.protocol.Datastore`."""
        return await migrate.status(self.database)

    async def verify(self) -> None:
        """See `pdp.stores.protocol.Datastore`."""
        if not self._verified:
            await migrate.verify(self.database)
            self._verified = True

    async def is_empty(self) -> bool:
        """See `pdp.stores.protocol.Datastore`."""
        return await migrate.is_empty(self.database)

    async def ping(self) -> None:
        """See `pdp.stores.protocol.Datastore`."""
        await self.database.now()
        await self.database.has_table("pdp_stores")

    async def open(self, name: str) -> SqlStore:
        """See `pdp.stores.protocol.Datastore`."""
        await self.verify()
        rows = await self.database.execute(statements.STORE_BY_NAME, store_name=name)
        if not rows:
            raise StoreNotFound(name)
        store_id, timeline, zookie_key, hash_key = rows[0]
        store = self._stores.get(store_id)
        if store is None:
            store = self._stores[store_id] = SqlStore(
                self.database, store_id, name, timeline, bytes(zookie_key), bytes(hash_key)
            )
        return store

    async def create(self, name: str, quotas: Quotas | None = None) -> SqlStore:
        """See `pdp.stores.protocol.Datastore`."""
        await self.verify()
        await self.make(name, quotas or _NO_QUOTAS, zookie_key=secrets.token_bytes(32))
        return await self.open(name)

    async def make(self, name: str, quotas: Quotas, *, zookie_key: bytes) -> int:
        """Make a store on a timeline of its own, unless there is one of that name. Its id, if it was made."""
        store_id = secrets.randbits(62) + 1
        await self.database.execute(
            statements.CREATE_STORE,
            store_id=store_id,
            store_name=name,
            timeline=secrets.token_hex(8),
            zookie_key=zookie_key,
            hash_key=secrets.token_bytes(32),
            created_at=await self.database.now(),
            relationships_max=quotas.relationships_max,
            writes_per_second_max=quotas.writes_per_second_max,
            allowance=full_allowance(quotas.writes_per_second_max),
        )
        return store_id

    async def names(self) -> AsyncIterator[str]:
        """See `pdp.stores.protocol.Datastore`."""
        async for info in self.infos():
            yield info.name

    async def info(self, name: str) -> StoreInfo:
        """See `pdp.stores.protocol.Datastore`."""
        rows = await self.database.execute(statements.FACTS_BY_NAME, store_name=name)
        if not rows:
            raise StoreNotFound(name)
        return _info(rows[0])

    async def infos(self, *, deleted: bool = False) -> AsyncIterator[StoreInfo]:
        """See `pdp.stores.protocol.Datastore`."""
        if deleted:
            for row in await self.database.execute(statements.DELETED_FACTS):
                yield _info(row)
            return
        after = ""
        while rows := await self.database.execute(statements.FACTS, after=after, n=_PAGE):
            for row in rows:
                yield _info(row)
            after = rows[-1][1]

    async def set_quotas(self, name: str, quotas: Quotas) -> None:
        """See `pdp.stores.protocol.Datastore`."""
        info = await self.info(name)
        await self.database.execute(
            statements.SET_QUOTAS,
            store=info.store_id,
            most=quotas.relationships_max,
            rate=quotas.writes_per_second_max,
            full=full_allowance(quotas.writes_per_second_max),
        )

    async def delete(self, name: str) -> StoreInfo:
        """See `pdp.stores.protocol.Datastore`."""
        info = await self.info(name)
        now = await self.database.now()
        rows = await self.database.execute(statements.SET_DELETED, store=info.store_id, instant=now)
        if not rows:
            raise StoreNotFound(name)
        store = self._stores.pop(info.store_id, None)
        if store is not None:
            await store.retire()
        return _info(rows[0])

    async def recover(self, store_id: int) -> SqlStore:
        """See `pdp.stores.protocol.Datastore`."""
        async with self.database.begin() as tx:
            rows = await tx.execute(statements.DELETED_BY_ID, store=store_id)
            if not rows:
                raise StoreNotFound(str(store_id))
            name = str(rows[0][0])
            if await tx.execute(statements.STORE_BY_NAME, store_name=name):
                raise StoreExists(name)
            await tx.execute(statements.UNSET_DELETED, store=store_id)
        return await self.open(name)

    async def take_name(self, name: str, new_name: str) -> None:
        """Give a store another name; the store that has it, if one has, is deleted and can be recovered.

        Raises:
            StoreNotFound: there is no store of the first name.
        """
        now = await self.database.now()
        async with self.database.begin() as tx:
            rows = await tx.execute(statements.STORE_BY_NAME, store_name=name)
            if not rows:
                raise StoreNotFound(name)
            replaced = await tx.execute(statements.STORE_BY_NAME, store_name=new_name)
            for row in replaced:
                await tx.execute(statements.SET_DELETED, store=row[0], instant=now)
            await tx.execute(statements.RENAME, store=rows[0][0], new_name=new_name)
        for store_id in (rows[0][0], *(row[0] for row in replaced)):
            store = self._stores.pop(store_id, None)
            if store is not None:
                await store.retire()

    async def collect(self, window: Instant | None = None) -> Collected:
        """See `pdp.stores.protocol.Datastore`."""
        return await self._collector.collect(WINDOW if window is None else window)

    async def close(self) -> None:
        """See `pdp.stores.protocol.Datastore`."""
        for store in self._stores.values():
            await store.close()
        await self.database.close()


def _info(row: Sequence[Any]) -> StoreInfo:
    store_id, name, timeline, created_at, deleted_at, revision, oldest, count, most, rate = row
    return StoreInfo(
        store_id,
        name,
        timeline,
        Instant(created_at),
        None if deleted_at is None else Instant(deleted_at),
        Revision(revision),
        Revision(oldest),
        count,
        Quotas(most, rate),
    )
