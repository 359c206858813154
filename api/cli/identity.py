"""What the commands on clients, keys and the audit log share: the identity part, opened on the database itself.

They need no running service, and a running one hears of what they change within a second.
"""

import asyncio
import getpass
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, NoReturn, TypeVar

import orjson
import typer

Result = TypeVar("Result")
DatabaseUrl = Annotated[str | None, typer.Option(help="`sqlite:///…` or `postgresql://…`.")]


def fail(message: str) -> NoReturn:
    """End with a message for the operator and exit status 2."""
    print(f"tessera: {message}", file=sys.stderr)
    raise typer.Exit(2)


def print_json(value: Any) -> None:
    """Print a value as JSON, to be read by people too."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())


def operator() -> str:
    """Who gives the command, for the audit log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return "cli"


def with_identity(database_url: str | None, work: "Callable[[Any], Awaitable[Result]]") -> Result:
    """Run work on the identity part; errors end the command with a message."""
    from api.settings import BadSetting
    from authn.errors import AuthnError

    async def run() -> Result:
        async with _opened(database_url) as authn:
            return await work(authn)

    try:
        return asyncio.run(run())
    except (BadSetting, AuthnError) as error:
        fail(str(error))


@asynccontextmanager
async def _opened(database_url: str | None) -> AsyncIterator[Any]:
    from api.settings import BadSetting, key_encryption_keys, read_settings
    from authn.service import Authn
    from authn.settings import AuthnSettings
    from authn.stores.connect import connect

    settings = read_settings(flags={"TESSERA_DATABASE_URL": database_url} if database_url else {})
    if settings.database_url == "sqlite:///:memory:":
        raise BadSetting("TESSERA_DATABASE_URL", "a database in memory is nobody else's to open")
    keys = key_encryption_keys(settings)
    store = await connect(settings.database_url)
    try:
        if await store.is_empty():
            await store.migrate()
        authn = Authn(AuthnSettings(issuer=settings.issuer, key_encryption_keys=keys), store, log=lambda lines: None)
        try:
            await authn.start(first_admin=False)
            yield authn
        finally:
            await authn.stop()
    finally:
        await store.close()
