"""From a database's URL to its stores."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from pdp.stores.database import Database
from pdp.stores.datastore import SqlDatastore

CONNECTIONS_MAX = 12


async def connect(
    database_url: str, *, replica_urls: Sequence[str] = (), connections_max: int = CONNECTIONS_MAX
) -> SqlDatastore:
    """Open the database that a URL names: ``sqlite:///./file.db``, ``sqlite:///:memory:`` or ``postgresql://…``.

    Args:
        database_url: behind a pooler in transaction mode, with ``?prepared_statements=false``.
        replica_urls: read replicas of a Postgres database; they answer for revisions that they have reached.
        connections_max: to each Postgres server.

    Raises:
        StoreUnavailable: it cannot be reached.
        ValueError: the URL is of no kind known here.
    """
    return SqlDatastore(await open_database(database_url, replica_urls, connections_max))


async def open_database(
    database_url: str, replica_urls: Sequence[str] = (), connections_max: int = CONNECTIONS_MAX
) -> Database:
    """The database alone. Raises as `connect`."""
    scheme = urlsplit(database_url).scheme
    if scheme == "sqlite":
        from pdp.stores.sqlite import SqliteDatabase

        if replica_urls:
            raise ValueError("an embedded database has no read replicas")
        if not database_url.startswith("sqlite:///") or database_url == "sqlite:///":
            raise ValueError(f"`{database_url}` names no file; write `sqlite:///./tessera.db`")
        database = SqliteDatabase(database_url.removeprefix("sqlite:///"))
        await database.open()
        return database
    if scheme in ("postgresql", "postgres"):
        from pdp.stores.postgres import PostgresDatabase
        from pdp.stores.postgres_server import Server

        primary = Server(database_url, connections_max)
        await primary.open()
        return PostgresDatabase(primary, [Server(url, connections_max) for url in replica_urls])
    raise ValueError(f"no store speaks `{scheme}`")
