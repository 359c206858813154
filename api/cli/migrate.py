"""`tessera migrate`: the tables of both parts, brought up to date or to a version, and where they stand."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from api.settings import BadSetting, read_settings
from pdp.stores.values import MigrationStatus

T = TypeVar("T")

app = typer.Typer(help="Bring the database up to date, or say where it stands.", invoke_without_command=True)

Url = Annotated[str | None, typer.Option("--database-url", help="`sqlite:///…` or `postgresql://…`.")]


def _run(database_url: str | None, work: Callable[[str], Awaitable[T]]) -> T:
    from authn.errors import AuthnError
    from pdp.errors import PdpError

    async def run() -> T:
        flags = {} if database_url is None else {"TESSERA_DATABASE_URL": database_url}
        return await work(read_settings(flags=flags).database_url)

    try:
        return asyncio.run(run())
    except (BadSetting, PdpError, AuthnError) as error:
        print(f"tessera: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


@app.callback()
def migrate(context: typer.Context, database_url: Url = None) -> None:
    """Bring the tables of both parts to the newest version."""
    context.obj = database_url
    if context.invoked_subcommand is None:
        _run(database_url, lambda url: _migrate(url, "head"))
        print("the database is up to date")


@app.command()
def status(context: typer.Context, database_url: Url = None) -> None:
    """Say where the tables stand; exit status 1 where something is pending."""
    found = _run(database_url or context.obj, _status)
    print(f"version {found.current or 'none'}, newest {found.head}, pending {', '.join(found.pending) or 'nothing'}")
    if found.pending:
        raise typer.Exit(1)


@app.command()
def head(context: typer.Context, database_url: Url = None) -> None:
    """Print the newest version that this program knows."""
    print(_run(database_url or context.obj, _status).head)


@app.command()
def to(context: typer.Context, version: str, database_url: Url = None) -> None:
    """Bring the tables of relationships to a version."""
    _run(database_url or context.obj, lambda url: _migrate(url, version))
    print(f"the database is at version {version}")


async def _migrate(url: str, version: str) -> None:
    from authn.stores.connect import connect as connect_identities
    from pdp.stores.connect import connect

    datastore = await connect(url)
    try:
        await datastore.migrate(version)
    finally:
        await datastore.close()
    if version == "head":
        identities = await connect_identities(url)
        try:
            await identities.migrate()
        finally:
            await identities.close()


async def _status(url: str) -> MigrationStatus:
    from pdp.stores.connect import connect

    datastore = await connect(url)
    try:
        return await datastore.migration_status()
    finally:
        await datastore.close()
