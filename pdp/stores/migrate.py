"""Bringing a database to this program's tables, and refusing to run on tables that it does not know.

Alembic holds the versions and renders them as SQL; the SQL runs on our own drivers, in one transaction. An empty
database gets the newest tables at once, without Alembic (which takes longer to load than the tables to make).
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from pdp.errors import DatabaseNotMigrated, PdpError, UnknownMigration
from pdp.stores.database import Database, Dialect, Statement, sqlalchemy_dialect
from pdp.stores.tables import metadata, programs, stores
from pdp.stores.values import MigrationStatus

VERSIONS = ("0001",)
"""Every version in `pdp/migrations/versions`, oldest first; a test holds this to that."""
HEAD = VERSIONS[-1]
OLDEST = "0001"
"""The oldest version of the tables on which this program runs."""

_VERSION_TABLE = "pdp_version"
_version = sa.table(_VERSION_TABLE, sa.column("version_num", sa.Text()))
_VERSION = Statement(sa.select(_version.c.version_num))
_OLDEST_PROGRAM = Statement(sa.select(programs.c.oldest))


async def version(database: Database) -> str | None:
    """The version of the database's tables; ``None`` where there is nothing of ours."""
    if not await database.has_table(_VERSION_TABLE):
        return None
    rows = await database.execute(_VERSION)
    return str(rows[0][0]) if rows else None


async def status(database: Database) -> MigrationStatus:
    """Where the database's tables stand."""
    current = await version(database)
    return MigrationStatus(current, HEAD, tuple(_after(current)))


def _after(current: str | None) -> Iterator[str]:
    start = 0 if current is None else VERSIONS.index(current) + 1 if current in VERSIONS else len(VERSIONS)
    yield from VERSIONS[start:]


async def verify(database: Database) -> None:
    """Refuse tables on which this program cannot run.

    Raises:
        DatabaseNotMigrated: they are older than it needs, or too new for it.
    """
    current = await version(database)
    if current in VERSIONS and VERSIONS.index(current) >= VERSIONS.index(OLDEST):
        return
    if current is None or current in VERSIONS:
        found = "are not there" if current is None else f"are at version {current}"
        raise DatabaseNotMigrated(f"the tables {found}, and this program needs {HEAD}; run `tessera migrate`")
    if int((await database.execute(_OLDEST_PROGRAM))[0][0]) > int(HEAD):
        raise DatabaseNotMigrated(
            f"the tables are at version {current}, too new for this program, which knows {HEAD}; run a newer one"
        )


async def migrate(database: Database, to: str = "head") -> None:
    """Apply every version up to ``to`` that the database lacks. Harmless when there is none.

    Raises:
        UnknownMigration: there is no version ``to``, it is older than the tables, or theirs is not known here.
    """
    target = HEAD if to == "head" else to
    current = await version(database)
    if target not in VERSIONS:
        raise UnknownMigration(target)
    if current is not None and current not in VERSIONS:
        raise UnknownMigration(current)
    if current == target:
        return
    if current is not None and VERSIONS.index(current) > VERSIONS.index(target):
        raise UnknownMigration(f"{current} to {target}")
    statements = (
        list(_whole(database.dialect))
        if current is None and target == HEAD
        else render(database.dialect, current, target)
    )
    try:
        await database.script(statements)
    except Exception as error:
        if await version(database) != target:  # else another process was faster
            if isinstance(error, PdpError):
                raise
            raise DatabaseNotMigrated(f"the tables could not be brought to version {target}") from error


def _whole(dialect: Dialect) -> Iterator[str]:
    """The newest tables, made at once."""
    compiler = sqlalchemy_dialect(dialect)

    def indexes(table: sa.Table) -> Iterable[sa.Index]:
        return sorted(table.indexes, key=lambda index: str(index.name))

    for table in metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=compiler))
        for index in indexes(table):
            yield str(CreateIndex(index).compile(dialect=compiler))
    yield f"INSERT INTO {programs.name} (oldest) VALUES ({int(OLDEST)})"
    yield (
        f"CREATE TABLE {_VERSION_TABLE} (version_num VARCHAR(32) NOT NULL,"
        f" CONSTRAINT {_VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
    )
    yield f"INSERT INTO {_VERSION_TABLE} (version_num) VALUES ('{HEAD}')"


def render(dialect: Dialect, current: str | None, target: str) -> Sequence[str]:
    """The statements that lead from one version to another."""
    from alembic import command
    from alembic.config import Config

    output = io.StringIO()
    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("dialect_name", dialect)
    command.upgrade(config, f"{current or 'base'}:{target}", sql=True)
    return [statement for statement in output.getvalue().split(";\n") if statement.strip()]


async def is_empty(database: Database) -> bool:
    """Whether nothing of ours was ever made in it."""
    return not await database.has_table(_VERSION_TABLE) and not await database.has_table(stores.name)
