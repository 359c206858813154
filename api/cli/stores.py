"""`tessera store`: stores (tenants) on the database itself; a running service hears of it within a second."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import typer

from api.cli.identity import DatabaseUrl, fail, print_json
from api.settings import BadSetting, read_settings
from pdp.errors import PdpError
from pdp.stores.values import Quotas, StoreInfo

T = TypeVar("T")

app = typer.Typer(help="Make, list, bound, delete and recover stores.", no_args_is_help=True)

RelationshipsMax = Annotated[int | None, typer.Option(min=0, help="Relationships that it may hold.")]
WritesMax = Annotated[int | None, typer.Option(min=1, help="Writes that it takes a second.")]


def _with_datastore(database_url: str | None, work: Callable[[Any], Awaitable[T]]) -> T:
    from pdp.stores.connect import connect

    async def run() -> T:
        flags = {} if database_url is None else {"TESSERA_DATABASE_URL": database_url}
        datastore = await connect(read_settings(flags=flags).database_url)
        try:
            await datastore.verify()
            return await work(datastore)
        finally:
            await datastore.close()

    try:
        return asyncio.run(run())
    except (BadSetting, PdpError) as error:
        fail(str(error))


@app.command("list")
def list_(
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that can be recovered.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Print the stores."""

    async def work(datastore: Any) -> list[StoreInfo]:
        return [info async for info in datastore.infos(deleted=deleted)]

    print_json([asdict(info) for info in _with_datastore(database_url, work)])


@app.command()
def create(
    name: str,
    relationships_max: RelationshipsMax = None,
    writes_per_second_max: WritesMax = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a store."""
    bounds = Quotas(relationships_max, writes_per_second_max)
    _show_after(database_url, lambda datastore: datastore.create(name, bounds), name)


@app.command()
def quotas(
    name: str,
    relationships_max: RelationshipsMax = None,
    writes_per_second_max: WritesMax = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Replace what a store may hold and take; what is not given has no bound."""
    bounds = Quotas(relationships_max, writes_per_second_max)
    _show_after(database_url, lambda datastore: datastore.set_quotas(name, bounds), name)


@app.command()
def delete(name: str, database_url: DatabaseUrl = None) -> None:
    """Delete a store; it can be recovered until the garbage-collection window has passed."""
    print_json(asdict(_with_datastore(database_url, lambda datastore: datastore.delete(name))))


@app.command()
def recover(store_id: int, database_url: DatabaseUrl = None) -> None:
    """Bring a deleted store back, by the id that `list --deleted` prints."""
    _show_after(database_url, lambda datastore: datastore.recover(store_id))


def _show_after(database_url: str | None, act: Callable[[Any], Awaitable[Any]], name: str | None = None) -> None:
    """Do something with a store, and print what became of it; its name where it is not known is the outcome's."""

    async def work(datastore: Any) -> StoreInfo:
        outcome = await act(datastore)
        info: StoreInfo = await datastore.info(name or outcome.name)
        return info

    print_json(asdict(_with_datastore(database_url, work)))
