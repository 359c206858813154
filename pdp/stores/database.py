"""What a database must do for the stores in it; `pdp.stores.sqlite` and `pdp.stores.postgres` do it.

The rules of writing (`pdp.stores.batch`) and the shape of every answer (`pdp.stores.store`) are the same for both; a
driver only runs statements. Ordinary ones are SQLAlchemy Core, compiled once a dialect; those on the relationships'
table are text with ``$1``-numbered parameters.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import sqlalchemy as sa

from pdp.relationships import Instant, Relationship, Revision
from pdp.stores.batch import Ended, Part, Place, Saving, StoreRow
from pdp.stores.filters import Where
from pdp.stores.keys import Keyed, KeyMaker
from pdp.stores.protocol import Found, Read

Dialect: TypeAlias = Literal["sqlite", "postgresql"]
Values: TypeAlias = Sequence[Any]


class Statement:
    """A Core statement whose parameters are `sqlalchemy.bindparam`, ready for a driver."""

    def __init__(self, core: sa.ClauseElement) -> None:
        self._core = core
        self._compiled: dict[Dialect, tuple[str, Values, Mapping[str, Any]]] = {}

    def bound(self, dialect: Dialect, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """Its text, and the values of its parameters in order; constants in it have theirs already."""
        found = self._compiled.get(dialect)
        if found is None:
            found = self._compiled[dialect] = self._compile(dialect)
        text, names, constants = found
        return text, [values[name] if name in values else constants[name] for name in names]

    def _compile(self, dialect: Dialect) -> tuple[str, Values, Mapping[str, Any]]:
        compiled = self._core.compile(dialect=sqlalchemy_dialect(dialect))
        if not isinstance(compiled, sa.sql.compiler.SQLCompiler):
            raise TypeError("not a statement with parameters")
        constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        return str(compiled), tuple(compiled.positiontup or ()), constants


def sqlalchemy_dialect(dialect: Dialect) -> sa.Dialect:
    """The compiler of statements for a database."""
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

        return SQLiteDialect_pysqlite()
    from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

    return PGDialect_asyncpg()  # type: ignore[no-untyped-call]


class Query(NamedTuple):
    """A selection in text, with ``$1``-numbered parameters of which the first is the store."""

    text: str
    parameters: Values


class Mark(NamedTuple):
    """Where a store stands in the snapshot that a read was answered from."""

    revision: int
    oldest: int
    deleted_at: int | None


class DuplicateRow(Exception):
    """A bulk insertion met a living row, stored or of its own, at this place."""

    def __init__(self, place: Place | None) -> None:
        super().__init__(place)
        self.place = place


class WriteTransaction(Protocol):
    """A transaction on the primary. It commits when its block ends and rolls back when the block raises."""

    async def lock(self, store_id: int) -> StoreRow | None:
        """Take the store's lock. Everything read afterwards is as of after it was had."""
        ...

    async def execute(self, statement: Statement, /, **values: Any) -> Sequence[Values]:
        """Run an ordinary statement."""
        ...

    async def select(self, queries: Sequence[Query]) -> Sequence[Sequence[Values]]:
        """Run selections, in order."""
        ...

    async def at_places(self, store_id: int, places: Sequence[Place]) -> Sequence[Relationship]:
        """The living relationships at these places."""
        ...

    async def fetch(
        self, store_id: int, at: Revision, reads: Sequence[Read], keys: KeyMaker
    ) -> Sequence[Sequence[Found]]:
        """Answer reads at the newest revision."""
        ...

    async def save(self, store_id: int, saving: Saving) -> None:
        """Write what was decided."""
        ...

    async def end(self, store_id: int, ended: Sequence[Ended]) -> None:
        """Let living rows end."""
        ...

    async def save_parts(self, store_id: int, parts: Sequence[Part]) -> None:
        """Write parts of changelog entries."""
        ...

    async def insert(self, store_id: int, keyed: Keyed, created: Revision) -> None:
        """Insert very many living rows. Raises `DuplicateRow`, after which only a roll-back is possible."""
        ...


class Database(Protocol):
    """A database with our tables in it."""

    dialect: Dialect

    def begin(self) -> AbstractAsyncContextManager[WriteTransaction]:
        """Begin to write."""
        ...

    async def execute(self, statement: Statement, /, **values: Any) -> Sequence[Values]:
        """Run one ordinary statement on the primary, as a transaction of its own."""
        ...

    async def read(
        self, query: Query, at: Revision | None, *, patient: bool = False
    ) -> tuple[Mark | None, Sequence[Values]]:
        """Run a selection and see where its store stands, both in one snapshot; ``None``: there is no such store.

        With ``at`` a read replica that has reached that revision may answer. ``patient``: it may take minutes.
        """
        ...

    async def relationships(self, query: Query, at: Revision | None) -> tuple[Mark | None, Sequence[Relationship]]:
        """As `read`, for a selection of the columns of relationships."""
        ...

    async def fetch(
        self, store_id: int, at: Revision, reads: Sequence[Read], keys: KeyMaker
    ) -> tuple[Mark | None, Sequence[Sequence[Found]]]:
        """Answer reads at a revision, in one round trip; as `read` otherwise."""
        ...

    async def script(self, statements: Sequence[str]) -> None:
        """Run statements without parameters in one transaction: migrations."""
        ...

    async def has_table(self, name: str) -> bool:
        """Whether there is such a table."""
        ...

    async def now(self) -> Instant:
        """The database's clock."""
        ...

    async def remove(self, table: str, where: Where, rows_max: int) -> int:
        """Delete at most so many rows of a table that meet the conditions, as a transaction. How many it were."""
        ...

    async def after_bulk(self) -> None:
        """Let the database learn that very many rows came."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...
