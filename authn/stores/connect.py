"""From a database URL to the store of ``authn``."""

from sqlalchemy import literal, select

from authn.errors import BadConfiguration
from authn.stores import migrate as migrations
from authn.stores.postgres import PostgresDatabase
from authn.stores.sqlite import SqliteDatabase
from authn.stores.statements import Database, Statement

_PING = Statement(lambda _: select(literal(1).label("one")))


class AuthnStore:
    """A database with the tables of ``authn`` in it, or about to have them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def migrate(self) -> None:
        """Bring the tables to the newest version. Harmless when they are there."""
        await migrations.migrate(self.database)

    async def is_empty(self) -> bool:
        """Whether nothing of ours was ever made in it."""
        return await migrations.version(self.database) is None

    async def require_current(self) -> None:
        """Raise `authn.errors.NotMigrated` unless the tables are at this program's version."""
        await migrations.require_current(self.database)

    async def ping(self) -> None:
        """Raise `authn.errors.StoreUnavailable` unless the database answers."""
        await self.database.fetch(_PING, {})

    async def close(self) -> None:
        """Finish what was accepted, then let go of every connection."""
        await self.database.close()


async def connect(database_url: str) -> AuthnStore:
    """Open ``sqlite:///PATH``, ``sqlite:///:memory:`` or ``postgresql://…``.

    Raises:
        BadConfiguration: it is another kind of URL.
        StoreUnavailable: a SQLite file cannot be opened. PostgreSQL is reached when it is first asked.
    """
    if database_url.startswith("sqlite:///"):
        return AuthnStore(SqliteDatabase(database_url.removeprefix("sqlite:///")))
    if database_url.startswith(("postgresql://", "postgres://")):
        return AuthnStore(PostgresDatabase(database_url))
    raise BadConfiguration("the database URL starts with neither `sqlite:///` nor `postgresql://`")
