"""From a database's URL to its stores."""

from urllib.parse import urlsplit

from pdp.stores.protocol import Datastore


async def connect(database_url: str) -> Datastore:
    """Open the database that a URL names: ``sqlite:///./file.db``, ``sqlite:///:memory:`` or ``postgresql://…``.

    Raises:
        StoreUnavailable: it cannot be reached.
        ValueError: the URL is of no kind known here.
    """
    scheme = urlsplit(database_url).scheme
    if scheme == "sqlite":
        from pdp.stores.sqlite import SqliteDatastore

        return SqliteDatastore(database_url.removeprefix("sqlite:///"))
    if scheme == "postgresql":
        from pdp.stores.postgres import PostgresDatastore

        return await PostgresDatastore.connect(database_url)
    raise ValueError(f"no store speaks `{scheme}`")
