"""The command line: `tessera serve`, `tessera migrate`, and one sub-command for each part that has its own."""

import sys
from typing import Annotated, NoReturn

import typer

from api.cli import audit, backup, clients, keys, schema, stores
from api.cli import migrate as migrate_commands
from api.settings import BadSetting, Settings, read_settings

app = typer.Typer(
    name="tessera",
    help="Who is calling, and may they do this.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(migrate_commands.app, name="migrate")
app.add_typer(schema.app, name="schema")
app.add_typer(stores.app, name="store")
app.add_typer(backup.app, name="backup")
app.add_typer(clients.app, name="client")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")


def fail(message: str) -> NoReturn:
    """End with a message for the operator and exit status 2."""
    print(f"tessera: {message}", file=sys.stderr)
    raise typer.Exit(2)


def settings_from(flags: dict[str, str | None]) -> Settings:
    """Settings from the environment and these flags, by variable name."""
    try:
        return read_settings(flags={name: value for name, value in flags.items() if value is not None})
    except BadSetting as error:
        fail(str(error))


@app.command()
def serve(
    http_addr: Annotated[str | None, typer.Option(help="Where to listen for HTTP, `host:port`.")] = None,
    grpc_addr: Annotated[str | None, typer.Option(help="Where to listen for gRPC; empty: not at all.")] = None,
    tls_cert_file: Annotated[str | None, typer.Option(help="Certificate of both listeners, in PEM.")] = None,
    tls_key_file: Annotated[str | None, typer.Option(help="Its private key, in PEM.")] = None,
    database_url: Annotated[str | None, typer.Option(help="`sqlite:///…` or `postgresql://…`.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="`redis://…`.")] = None,
    preshared_key: Annotated[
        list[str] | None, typer.Option(help="A bearer token with every right; may repeat.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="The public URL that tokens name.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer.")] = None,
    replica_bytes_max: Annotated[int | None, typer.Option(help="Memory for a store's replica.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    migrate: Annotated[bool, typer.Option("--migrate", help="Bring an older database up to date first.")] = False,
) -> None:
    """Serve in the foreground until SIGTERM."""
    from api.serve import run_server
    from authn.errors import AuthnError
    from pdp.errors import PdpError

    settings = settings_from(
        {
            "TESSERA_HTTP_ADDR": http_addr,
            "TESSERA_GRPC_ADDR": grpc_addr,
            "TESSERA_TLS_CERT_FILE": tls_cert_file,
            "TESSERA_TLS_KEY_FILE": tls_key_file,
            "TESSERA_DATABASE_URL": database_url,
            "TESSERA_REDIS_URL": redis_url,
            "TESSERA_PRESHARED_KEYS": ",".join(preshared_key) if preshared_key else None,
            "TESSERA_ISSUER": issuer,
            "TESSERA_WORKERS": None if workers is None else str(workers),
            "TESSERA_REPLICA_BYTES_MAX": None if replica_bytes_max is None else str(replica_bytes_max),
            "TESSERA_LOG_LEVEL": log_level,
        }
    )
    try:
        run_server(settings, migrate=migrate)
    except (BadSetting, PdpError, AuthnError) as error:
        fail(str(error))


def run() -> None:
    """Entry point."""
    app()
