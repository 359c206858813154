"""Bringing a database to this program's tables.

Alembic holds the history and renders it as SQL; the SQL runs on our own drivers, in one transaction, so that neither
a second driver nor an event loop inside Alembic is needed. Alembic is imported only when there is something to do.
"""

import io
from functools import cache
from pathlib import Path

from sqlalchemy import BigInteger, Text, column, literal_column, select, table

from authn.errors import NotMigrated
from authn.stores.sqlite import SqliteDatabase
from authn.stores.statements import Database, Statement

HEAD = "0001"
"""The newest revision in `authn/migrations/versions`; a test holds it to that."""

_sqlite_master = table("sqlite_master", column("name", Text()))
_pg_class = table("pg_class", column("relname", Text()), column("oid", BigInteger()))
_version = table("authn_version", column("version_num", Text()))
_HAS_VERSION_SQLITE = Statement(
    lambda _: select(_sqlite_master.c.name).where(_sqlite_master.c.name == "authn_version")
)
_HAS_VERSION_POSTGRES = Statement(lambda _: select(literal_column("to_regclass('authn_version')::text")))
_VERSION = Statement(lambda _: select(_version.c.version_num))


async def version(database: Database) -> str | None:
    """The revision that the database is at; ``None`` where there is nothing of ours."""
    probe = _HAS_VERSION_SQLITE if isinstance(database, SqliteDatabase) else _HAS_VERSION_POSTGRES
    found = await database.fetch(probe, {})
    if not found or found[0][0] is None:
        return None
    rows = await database.fetch(_VERSION, {})
    return str(rows[0][0]) if rows else None


async def migrate(database: Database) -> None:
    """Apply every step that the database has not had. Harmless when there is none, or when two do it at once."""
    current = await version(database)
    if current == HEAD:
        return
    try:
        await database.script(_render(current, "sqlite" if isinstance(database, SqliteDatabase) else "postgresql"))
    except Exception:
        if await version(database) != HEAD:  # else another process was faster
            raise


async def require_current(database: Database) -> None:
    """Refuse tables of another version.

    Raises:
        NotMigrated: they are.
    """
    current = await version(database)
    if current != HEAD:
        raise NotMigrated(
            f"the tables of authn are at {current or 'none'}, this program wants {HEAD}; run `tessera migrate`"
        )


@cache
def _render(current: str | None, dialect: str) -> str:
    from alembic import command
    from alembic.config import Config

    output = io.StringIO()
    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("dialect_name", dialect)
    command.upgrade(config, f"{current or 'base'}:head", sql=True)
    return output.getvalue()
