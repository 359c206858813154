"""`tessera client …`: OAuth clients, registered and looked after on the database itself."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.identity import DatabaseUrl, fail, operator, print_json, with_identity

app = typer.Typer(name="client", help="Register OAuth clients and look after them.", no_args_is_help=True)

ClientId = Annotated[str, typer.Argument(help="The client's id.")]
_STDIN = "-"
_PAGE = 1_000


@app.command()
def create(
    file: Annotated[
        str | None, typer.Option("--file", help="RFC 7591 metadata: a JSON object or a list; `-` is standard input.")
    ] = None,
    client_id: Annotated[str | None, typer.Option("--id", help="The id; one is made up otherwise.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A scope that it may have; may repeat.")] = None,
    grant_type: Annotated[list[str] | None, typer.Option(help="A grant that it may use; may repeat.")] = None,
    resource: Annotated[list[str] | None, typer.Option(help="A resource that it may call; may repeat.")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Register a client, or several from a file, and print them with their secrets, once."""
    given: dict[str, Any] = {
        "client_id": client_id,
        "client_name": name,
        "scope": " ".join(scope) if scope else None,
        "grant_types": grant_type or None,
        "resources": resource or None,
    }
    given = {member: value for member, value in given.items() if value is not None}
    if file is not None and given:
        fail("`--file` goes without the other options")
    metadata = _read(file) if file is not None else given
    many = metadata if isinstance(metadata, list) else [metadata]
    if not all(isinstance(each, dict) for each in many):
        fail("the file is neither a JSON object nor a list of them")

    async def work(authn: Any) -> list[dict[str, Any]]:
        return [made.to_json() for made in await authn.admin.create_clients(many, operator())]

    made = with_identity(database_url, work)
    print_json(made if isinstance(metadata, list) else made[0])


@app.command("list")
def list_clients(database_url: DatabaseUrl = None) -> None:
    """Print every client as JSON, without secrets."""
    from authn.clients.metadata import shown

    async def work(authn: Any) -> list[dict[str, Any]]:
        found, after = [], ""
        while page := await authn.admin.clients(after, _PAGE):
            found += [shown(client) for client in page]
            after = page[-1].client_id
        return found

    print_json(with_identity(database_url, work))


@app.command()
def show(client_id: ClientId, database_url: DatabaseUrl = None) -> None:
    """Print a client as JSON, without secrets."""
    from authn.clients.metadata import shown

    async def work(authn: Any) -> dict[str, Any]:
        return shown(await authn.admin.client(client_id))

    print_json(with_identity(database_url, work))


@app.command()
def update(
    client_id: ClientId,
    file: Annotated[str, typer.Option("--file", help="The members to change, a JSON object; `-`: standard input.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Change a client's metadata; a member that is null is taken away."""
    from authn.clients.metadata import shown

    changes = _read(file)
    if not isinstance(changes, dict):
        fail("the file is no JSON object")

    async def work(authn: Any) -> dict[str, Any]:
        return shown(await authn.admin.change_client(client_id, changes, operator()))

    print_json(with_identity(database_url, work))


@app.command("rotate-secret")
def rotate_secret(
    client_id: ClientId,
    overlap_seconds: Annotated[int, typer.Option(min=0, help="How long the present secret stays good.")] = 0,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a new secret and print it, once."""

    async def work(authn: Any) -> str:
        secret: str = await authn.admin.rotate_secret(client_id, operator(), overlap_s=overlap_seconds)
        return secret

    secret = with_identity(database_url, work)
    print_json({"client_id": client_id, "client_secret": secret, "client_secret_expires_at": 0})


@app.command()
def disable(client_id: ClientId, database_url: DatabaseUrl = None) -> None:
    """Let a client do nothing any more, and end its tokens."""
    with_identity(database_url, lambda authn: authn.admin.disable_client(client_id, operator()))
    print(f"client `{client_id}` is disabled")


@app.command()
def enable(client_id: ClientId, database_url: DatabaseUrl = None) -> None:
    """Let a client work again."""
    with_identity(database_url, lambda authn: authn.admin.enable_client(client_id, operator()))
    print(f"client `{client_id}` is enabled")


@app.command()
def revoke(client_id: ClientId, database_url: DatabaseUrl = None) -> None:
    """End every token that a client has, and leave the client."""
    with_identity(database_url, lambda authn: authn.admin.revoke_client_tokens(client_id, operator()))
    print(f"the tokens of client `{client_id}` are revoked")


@app.command()
def delete(client_id: ClientId, database_url: DatabaseUrl = None) -> None:
    """Forget a client, and end its tokens."""
    with_identity(database_url, lambda authn: authn.admin.remove_client(client_id, operator()))
    print(f"client `{client_id}` is gone")


def _read(file: str) -> Any:
    from authn.errors import MalformedJose
    from authn.jose import loads_object

    try:
        data = sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
    except OSError as error:
        fail(f"{file}: {(error.strerror or 'it cannot be read').lower()}")
    try:
        return loads_object(b'{"file":' + data + b"}")["file"]
    except MalformedJose:
        fail(f"{file}: it is not JSON with distinct member names")
