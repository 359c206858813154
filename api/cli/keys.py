"""`tessera keys …`: the keys that sign tokens."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from api.cli.identity import DatabaseUrl, fail, operator, print_json, with_identity

app = typer.Typer(name="keys", help="List, rotate and revoke the keys that sign tokens.", no_args_is_help=True)


@app.command("list")
def list_keys(database_url: DatabaseUrl = None) -> None:
    """Print every key and its state as JSON."""
    from api.oauth_admin import shown_key

    async def work(authn: Any) -> list[dict[str, Any]]:
        return [shown_key(key) for key in authn.admin.signing_keys()]

    print_json(with_identity(database_url, work))


@app.command()
def rotate(database_url: DatabaseUrl = None) -> None:
    """Let the next keys sign now, if every verifier can know them already."""
    from authn.keys.keeper import NotRipe

    async def work(authn: Any) -> int | None:
        try:
            await authn.admin.rotate_keys(operator())
        except NotRipe as error:
            return error.ripe_at_ms or 0
        return None

    ripe_at_ms = with_identity(database_url, work)
    if ripe_at_ms is not None:
        at = datetime.fromtimestamp(ripe_at_ms / 1000, UTC).isoformat(timespec="seconds")
        fail(f"the next keys are not known to every verifier yet; they can sign from {at}")
    print("the next keys sign now")


@app.command()
def revoke(
    kid: Annotated[str, typer.Argument(help="The key's id, as `tessera keys list` prints it.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Refuse everything that a key signed, at once, because it is compromised."""
    with_identity(database_url, lambda authn: authn.admin.compromise_key(kid, operator()))
    print(f"key `{kid}` is revoked; the next one signs")
