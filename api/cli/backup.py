"""`tessera backup`: everything of an installation in one file, and an installation from such a file.

Both work on the database itself. A backup may be taken beside a running service; a restore tells one that runs
that its stores were replaced, as any change of stores does.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from api.cli.identity import DatabaseUrl, fail, print_json
from api.settings import BadSetting, read_settings

if TYPE_CHECKING:
    from authn.stores.connect import AuthnStore
    from pdp.stores.backup import Contents
    from pdp.stores.datastore import SqlDatastore

T = TypeVar("T")

_TOLD_EVERY_SECONDS = 0.2

app = typer.Typer(help="Back an installation up into a file, or restore it from one.", no_args_is_help=True)


class _Identities:
    """The identity part of a backup."""

    name = "authn"

    def __init__(self, store: "AuthnStore") -> None:
        self._store = store

    def dump(self) -> AsyncIterator[Mapping[str, Any]]:
        """See `pdp.stores.backup.Part`."""
        from authn.stores.backup import dump

        return dump(self._store.database)

    async def restore(self, records: Iterator[Mapping[str, Any]], *, replace: bool) -> None:
        """See `pdp.stores.backup.Part`."""
        from authn.stores.backup import restore

        await self._store.database.run(restore(records, replace=replace))


class _Progress:
    """Tells a terminal how far it is, in one line, and nobody else."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._told_at = 0.0
        self._done: dict[str, int] = {}
        self._begun = time.monotonic()

    def __call__(self, name: str, done: int) -> None:
        self._done[name] = done
        now = time.monotonic()
        if self._shown and now - self._told_at >= _TOLD_EVERY_SECONDS:
            self._told_at = now
            rate = sum(self._done.values()) / max(now - self._begun, 0.001)
            print(f"\r\033[K{name}: {done:,} ({rate:,.0f}/s)", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


@asynccontextmanager
async def _opened(database_url: str | None, *, migrate: bool) -> "AsyncIterator[tuple[SqlDatastore, AuthnStore]]":
    from authn.stores.connect import connect as connect_identities
    from pdp.stores.connect import connect

    url = read_settings(flags={"TESSERA_DATABASE_URL": database_url} if database_url else {}).database_url
    if url == "sqlite:///:memory:":
        raise BadSetting("TESSERA_DATABASE_URL", "a database in memory is nobody else's to open")
    if not migrate and not _is_there(url):
        raise BadSetting("TESSERA_DATABASE_URL", "there is no such file")
    datastore = await connect(url)
    try:
        identities = await connect_identities(url)
        try:
            if migrate and await datastore.is_empty():
                await datastore.migrate()
            if migrate and await identities.is_empty():
                await identities.migrate()
            await datastore.verify()
            await identities.require_current()
            yield datastore, identities
        finally:
            await identities.close()
    finally:
        await datastore.close()


def _is_there(url: str) -> bool:
    """Whether a database's file exists, if it has one: opening would make it."""
    return not url.startswith("sqlite:///") or Path(url.removeprefix("sqlite:///")).exists()


def _run(work: Callable[[], Awaitable[T]]) -> T:
    from authn.errors import AuthnError
    from pdp.errors import PdpError

    async def run() -> T:
        return await work()

    try:
        return asyncio.run(run())
    except (BadSetting, PdpError, AuthnError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"cannot use the file: {error.strerror}")


def _facts(contents: "Contents") -> dict[str, Any]:
    return {
        "stores": list(contents.stores),
        "relationships": contents.relationships,
        "parts": list(contents.parts),
        "records": contents.records,
        "redacted": contents.redacted,
    }


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")],
    store: Annotated[list[str] | None, typer.Option(help="Only this store, and nothing else; may repeat.")] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Pseudonyms for ids; no contexts, no accounts, no keys.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Write schemas, relationships, accounts, clients and keys into one file."""
    from pdp.stores.backup import write_backup

    progress = _Progress()
    if file.exists():
        fail(f"`{file}` exists already")
    part = file.with_name(f".{file.name}.part")

    async def work() -> "Contents":
        async with _opened(database_url, migrate=False) as (datastore, identities):
            with part.open("xb") as out:
                part.chmod(0o600)  # it holds what the database holds
                parts = [] if store else [_Identities(identities)]
                return await write_backup(
                    datastore, out, stores=store or (), parts=parts, redact=redact, progress=progress
                )

    try:
        contents = _run(work)
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
        progress.end()
    print_json(_facts(contents))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `create` wrote.", exists=True, dir_okay=False)],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of what is there; its stores can be recovered.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Restore all that a file holds, into an empty database or with --replace.

    Secrets in it are sealed: serve with the TESSERA_KEY_ENCRYPTION_KEYS of before.
    """
    from pdp.stores.backup import restore_backup

    progress = _Progress()

    async def work() -> "Contents":
        async with _opened(database_url, migrate=True) as (datastore, identities):
            return await restore_backup(
                datastore, file, parts=[_Identities(identities)], replace=replace, progress=progress
            )

    try:
        contents = _run(work)
    finally:
        progress.end()
    print_json(_facts(contents))


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A file that `create` wrote.", exists=True, dir_okay=False)],
) -> None:
    """Read a file to its end and say what it holds."""
    from pdp.errors import InvalidBackup
    from pdp.stores.backup import read_contents

    try:
        print_json(_facts(read_contents(file)))
    except InvalidBackup as error:
        fail(str(error))
