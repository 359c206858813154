"""Garbage collection: what no snapshot, cursor or watcher within the window can ask for goes, a little at a time.

First the store's ``oldest`` revision is raised, in one small statement: from then on older ones get a clear error.
Only then rows go, in steps of `STEP_ROWS` that are transactions of their own, with a pause after each as long as the
step took, so that writers never wait for more than one step. One process at a time holds the lease.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass

from pdp.errors import StoreUnavailable
from pdp.relationships import Instant, Revision
from pdp.stores import statements
from pdp.stores.database import Database
from pdp.stores.filters import Where, of_store
from pdp.stores.protocol import IDEMPOTENCY_WINDOW
from pdp.stores.tables import LIVING, relationships, stores, transaction_parts, transactions
from pdp.stores.values import Collected

WINDOW = Instant(24 * 3600 * 1_000_000)
"""Microseconds for which what was is kept."""
STEP_ROWS = 1_000
_LEASE = "collect"
_LEASE_MICROS = 60 * 1_000_000


@dataclass(slots=True)
class _Removed:
    relationships: int = 0
    transactions: int = 0
    idempotency_keys: int = 0
    stores: int = 0


class Collector:
    """Collects all stores of a database, if no other process does."""

    def __init__(self, database: Database, step_rows: int = STEP_ROWS) -> None:
        self._database = database
        self._step_rows = step_rows
        self._holder = secrets.token_hex(8)
        self._removed = _Removed()

    async def collect(self, window: Instant = WINDOW) -> Collected:
        """Remove what the window has passed; nothing where another process is at it."""
        self._removed = removed = _Removed()
        if await self._lease():
            try:
                await self._collect(window)
            finally:
                await self._database.execute(statements.DROP_LEASE, lease=_LEASE, holder=self._holder)
        return Collected(removed.relationships, removed.transactions, removed.idempotency_keys, removed.stores)

    async def _lease(self) -> bool:
        now = await self._database.now()
        rows = await self._database.execute(
            statements.TAKE_LEASE,
            lease=_LEASE,
            holder=self._holder,
            until_instant=now + _LEASE_MICROS,
            instant=now,
        )
        return bool(rows)

    async def _collect(self, window: Instant) -> None:
        horizon = Instant(await self._database.now() - window)
        for store_id, _, deleted_at in await self._database.execute(statements.ALL_STORES):
            if deleted_at is None:
                await self._collect_store(store_id, horizon)
            elif deleted_at < horizon:
                await self._purge(store_id)

    async def _collect_store(self, store_id: int, horizon: Instant) -> None:
        forgotten = await self._database.execute(
            statements.FORGET_KEYS, store=store_id, instant=min(horizon, await self._keys_horizon())
        )
        self._removed.idempotency_keys += len(forgotten)
        rows = await self._database.execute(statements.REVISION_AT, store=store_id, instant=horizon)
        if not rows:
            return
        oldest = Revision(rows[0][0])
        await self._database.execute(statements.RAISE_OLDEST, store=store_id, at=oldest, new_oldest=oldest)
        dead = of_store(store_id)
        dead.add(f"deleted < {LIVING} AND deleted <= {{}}", oldest)
        self._removed.relationships += await self._remove(relationships.name, dead)
        for table in (transaction_parts, transactions):
            # the entry of the oldest revision itself stays: it says when that revision began
            past = of_store(store_id)
            past.add("revision < {}", oldest)
            count = await self._remove(table.name, past)
            self._removed.transactions += count if table is transactions else 0
        await self._database.execute(statements.FORGET_SCHEMAS, store=store_id, at=oldest)
        await self._database.execute(statements.FORGET_KINDS, store=store_id)

    async def _keys_horizon(self) -> Instant:
        return Instant(await self._database.now() - IDEMPOTENCY_WINDOW)

    async def _purge(self, store_id: int) -> None:
        for table in statements.STORE_TABLES:
            count = await self._remove(table.name, of_store(store_id))
            self._removed.relationships += count if table is relationships else 0
            self._removed.transactions += count if table is transactions else 0
        await self._remove(stores.name, of_store(store_id))
        self._removed.stores += 1

    async def _remove(self, table: str, where: Where) -> int:
        """Remove all rows that meet the conditions, step by step."""
        total = 0
        while True:
            begun = time.monotonic()
            count = await self._database.remove(table, where, self._step_rows)
            total += count
            if count < self._step_rows:
                return total
            await asyncio.sleep(time.monotonic() - begun)
            if not await self._lease():
                raise StoreUnavailable("another process took over the garbage collection")
