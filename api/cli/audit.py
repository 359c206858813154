"""`tessera audit …`: the audit log's chains."""

import sys
from typing import Any

import typer

from api.cli.identity import DatabaseUrl, with_identity

app = typer.Typer(name="audit", help="Look after the audit log.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """The audit log."""


@app.command()
def verify(database_url: DatabaseUrl = None) -> None:
    """Read every chain again and tell whether anything was changed, taken out or cut off; status 1 if so."""
    from authn.audit import Verification, verify_audit

    async def work(authn: Any) -> Verification:
        return await verify_audit(authn.store.database, authn.keys.secret("audit-chain"))

    found = with_identity(database_url, work)
    for fault in found.faults:
        print(fault, file=sys.stderr)
    if found.faults:
        raise typer.Exit(1)
    print(f"{found.events} events in {found.chains} chains are as they were written")
