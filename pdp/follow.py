"""A process's view of one store's revisions: what it has applied, and how it learns of more.

Revisions are applied strictly in order. A write is acknowledged only after its own process has applied it and all
before it, so a process that answers from what it has applied always reads its own writes. A short poll of the
changelog brings what other processes wrote; a wake-up only shortens the wait.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import structlog

from pdp.errors import PdpError, RevisionExpired
from pdp.program import Program, compile_program
from pdp.relationships import Revision
from pdp.stores.protocol import RelationshipStore, StoredSchema, Transaction
from schema.compile import compile_schema
from schema.model import Schema

_CHANGES_MAX = 1_000
_SCHEMAS_MAX = 16
_POLL_SECONDS = 0.02
_POLL_SECONDS_AFTER_FAILURE = 0.5


class Listener(NamedTuple):
    """Who must know what was applied before anything is answered from it.

    ``applied`` is given every batch of transactions in order. ``lost`` is told that the changelog no longer reaches
    back to what was applied: everything kept is of no use, and the next batch follows on the revision given.
    """

    applied: Callable[[Sequence[Transaction]], None]
    lost: Callable[[Revision], None]


class SchemaVersion(NamedTuple):
    """A compiled schema and the revision that wrote it; before the first one, an empty schema at revision 0."""

    written_at: Revision
    program: Program


NO_SCHEMA = SchemaVersion(Revision(0), compile_program(Schema({})))


def _compiled(stored: StoredSchema | None) -> SchemaVersion:
    if stored is None:
        return NO_SCHEMA
    return SchemaVersion(stored.written_at, compile_program(compile_schema(stored.text)))


class Follower:
    """Applies a store's changelog; ``applied`` is the newest revision applied."""

    def __init__(self, store: RelationshipStore) -> None:
        self._store = store
        self.applied = Revision(0)
        self.failing = False
        self._schemas: list[SchemaVersion] = []
        self._catching_up: asyncio.Task[None] | None = None
        self._head_query: asyncio.Task[Revision] | None = None
        self._head_begun = False
        self._poller: asyncio.Task[None] | None = None
        self._listeners: list[Listener] = []
        self._log = structlog.get_logger(component="follow", store=store.name)

    async def start(self) -> None:
        """Learn the newest revision and its schema, then keep following."""
        head = await self._store.head()
        await self._load_schema(head)
        self.applied = head
        self._poller = asyncio.create_task(self._poll(), name=f"follow {self._store.name}")

    async def stop(self) -> None:
        """Stop following."""
        for task in (self._poller, self._catching_up, self._head_query):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, PdpError):
                    await task

    def listen(self, listener: Listener) -> None:
        """Have every batch of transactions, before ``applied`` moves past it."""
        self._listeners.append(listener)

    async def head(self) -> Revision:
        """The newest committed revision, by a query that begins after this call.

        Callers that come while a query is already under way share the next one.
        """
        if self._head_query is not None and self._head_begun:
            with suppress(PdpError):
                await asyncio.shield(self._head_query)
        if self._head_query is None or self._head_query.done():
            self._head_begun = False
            self._head_query = asyncio.create_task(self._query_head())
        return await asyncio.shield(self._head_query)

    async def _query_head(self) -> Revision:
        self._head_begun = True
        return await self._store.head()

    async def catch_up(self, revision: Revision) -> None:
        """Return once ``revision`` and all before it are applied."""
        while self.applied < revision:
            if self._catching_up is None or self._catching_up.done():
                self._catching_up = asyncio.create_task(self._apply_changes())
            await asyncio.shield(self._catching_up)

    async def _apply_changes(self) -> None:
        try:
            transactions = await self._store.changes(self.applied, _CHANGES_MAX)
        except RevisionExpired:
            await self._begin_anew()
            return
        for transaction in transactions:
            if transaction.schema_changed:
                await self._load_schema(transaction.revision)
        if transactions:
            for listener in self._listeners:
                listener.applied(transactions)
            self.applied = transactions[-1].revision

    async def _begin_anew(self) -> None:
        """Go on from the newest revision: this process slept for longer than the changelog is kept."""
        head = await self._store.head()
        self._log.warning("the changelog no longer reaches back", applied=self.applied, head=head)
        self._schemas.clear()
        await self._load_schema(head)
        for listener in self._listeners:
            listener.lost(head)
        self.applied = head

    async def _poll(self) -> None:
        while True:
            try:
                if self._catching_up is None or self._catching_up.done():
                    self._catching_up = asyncio.create_task(self._apply_changes())
                await asyncio.shield(self._catching_up)
                if self.failing:
                    self._log.info("the changelog is followed again", applied=self.applied)
                self.failing = False
            except Exception as error:  # a follower that stopped would serve ever older answers
                if not self.failing:
                    self._log.warning("the changelog cannot be read", error=f"{type(error).__name__}: {error}")
                self.failing = True
            await asyncio.sleep(_POLL_SECONDS_AFTER_FAILURE if self.failing else _POLL_SECONDS)

    async def schema(self, at: Revision) -> SchemaVersion:
        """The schema current at a revision."""
        return self.schema_at_once(at) or _compiled(await self._store.schema(at))

    def schema_at_once(self, at: Revision) -> SchemaVersion | None:
        """The schema current at a revision, where it is at hand."""
        position = bisect_right(self._schemas, at, key=lambda version: version.written_at)
        return self._schemas[position - 1] if position else None

    async def _load_schema(self, at: Revision) -> None:
        """Note the schema that is current from ``at`` on. Versions come in ascending order."""
        self._schemas.append(_compiled(await self._store.schema(at)))
        del self._schemas[:-_SCHEMAS_MAX]
