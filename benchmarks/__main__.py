"""The command line of the benchmarks: ``python -m benchmarks generate | load | company | all``.

Ends with 0 when every answer was right, 1 when one was wrong, 2 when the run could not be made.
"""

import argparse
import asyncio
import base64
import secrets
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.codehost import RELATIONSHIPS_MIN, write_files
from benchmarks.connection import ConnectionFailed
from benchmarks.load_and_check import LoadFailed, Target, load_and_check, read_workload
from benchmarks.service import ServiceFailed, running_service

_WRONG_SHOWN_MAX = 10


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"`{text}` is no whole number from {least} up")
        return int(text)

    return parse


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    company = argparse.ArgumentParser(add_help=False)
    company.add_argument("--relationships", type=_at_least(RELATIONSHIPS_MIN), default=100_000)
    company.add_argument("--checks", type=_at_least(1), default=10_000)
    company.add_argument("--seed", type=_at_least(0), default=1)

    generate = commands.add_parser("generate", parents=[company], help="write a company's files")
    generate.add_argument("folder", type=Path)

    load = commands.add_parser("load", parents=[company], help="load a company into a running service and ask")
    load.add_argument("--url", default="http://127.0.0.1:8080")
    load.add_argument("--token", default="", help="a bearer token, such as a pre-shared key")
    load.add_argument("--client-id", default="")
    load.add_argument("--client-secret", default="")
    load.add_argument("--in-flight", type=_at_least(1), default=8, help="requests at a time")
    load.add_argument("--folder", type=Path, help="files that `generate` wrote; else they are made for the run")

    helps = {"company": "the same against a service of its own", "all": "every benchmark that there is"}
    for name, text in helps.items():
        own = commands.add_parser(name, parents=[company], help=text)
        own.add_argument("--database-url", default="", help="an empty database; else an SQLite file of the run")
    return parser


def _run(target: Target, folder: Path) -> int:
    report = asyncio.run(load_and_check(target, read_workload(folder)))
    print("\n".join(report.lines()))
    for line in report.wrong[:_WRONG_SHOWN_MAX]:
        print(f"wrong: {line}", file=sys.stderr)
    return 1 if report.wrong else 0


def _load(given: argparse.Namespace, folder: Path) -> int:
    if not given.token and not (given.client_id and given.client_secret):
        raise LoadFailed("give --token, or --client-id and --client-secret")
    if given.folder is None:
        write_files(folder, given.relationships, given.checks, given.seed)
    target = Target(
        url=given.url,
        token=given.token,
        client_id=given.client_id,
        client_secret=given.client_secret,
        in_flight=given.in_flight,
    )
    return _run(target, given.folder or folder)


def _company(given: argparse.Namespace, folder: Path) -> int:
    write_files(folder, given.relationships, given.checks, given.seed)
    settings = {"TESSERA_DATABASE_URL": given.database_url or f"sqlite:///{folder}/tessera.db"}
    if given.database_url:
        settings["TESSERA_KEY_ENCRYPTION_KEYS"] = base64.b64encode(secrets.token_bytes(32)).decode()
    with running_service(folder, settings) as target:
        return _run(target, folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status."""
    given = _arguments().parse_args(arguments)
    try:
        if given.command == "generate":
            write_files(given.folder, given.relationships, given.checks, given.seed)
            return 0
        with tempfile.TemporaryDirectory(prefix="tessera-benchmark-") as folder:
            return (_load if given.command == "load" else _company)(given, Path(folder))
    except (LoadFailed, ConnectionFailed, ServiceFailed) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
