"""The README, taken at its word: its blocks are pasted into a shell, and what it says comes of them is compared."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.settings import DEFAULTS
from tests.end_to_end.conftest import MakeService
from tests.end_to_end.service import ServiceProcess, clean_environment

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ADDRESS = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class Step:
    """A block to paste, and what the README shows below it, where it does."""

    command: str
    shown: str | None


def _steps(section: str) -> list[Step]:
    start = README.index(f"\n## {section}\n")
    blocks = _BLOCK.findall(README[start : README.find("\n## ", start + 1)])
    return [
        Step(text, blocks[at + 1][1] if at + 1 < len(blocks) and blocks[at + 1][0] != "sh" else None)
        for at, (language, text) in enumerate(blocks)
        if language == "sh"
    ]


START = _steps("Start")


def _agrees(shown: str, printed: str) -> bool:
    """Whether a text is what is shown, an ellipsis standing for anything within a line."""
    pattern = ".+?".join(map(re.escape, shown.strip().split("…")))
    return re.fullmatch(pattern, printed.strip()) is not None


@pytest.fixture
def shell_environment(tmp_path: Path) -> dict[str, str]:
    """A shell with `curl`: the machine's, or where it has none one that knows as much as the README uses."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    if not shutil.which("curl"):
        script = folder / "curl"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.end_to_end.curl "$@"\n')
        script.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return clean_environment({"PATH": path, "PYTHONPATH": str(ROOT)})


def _paste(service: ServiceProcess, environment: dict[str, str], steps: list[Step]) -> list[str]:
    """What each block prints, all of them pasted one after the other into one shell."""
    mark = "end of a block"
    script = "".join(f"{step.command.replace(_ADDRESS, service.url)}\necho; echo '{mark}'\n" for step in steps)
    done = subprocess.run(
        ["sh", "-e"],
        input=script,
        cwd=service.folder,
        env=environment | {"CLIENT_SECRET": service.admin_credential()[1]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split(f"{mark}\n")[:-1]


def test_the_start_gives_what_it_shows(make_service: MakeService, shell_environment: dict[str, str]) -> None:
    """`make run` prints the admin client; the token, the schema, the write and the check come as shown."""
    first, *rest = START
    assert first.command == "make run\n"
    assert len(rest) == 3
    service = make_service()
    service.start()
    assert first.shown is not None
    assert _agrees(first.shown, service.stdout)
    for step, printed in zip(rest, _paste(service, shell_environment, rest), strict=True):
        assert step.shown is not None
        assert _agrees(step.shown, printed), printed


def test_somebody_else_may_not(make_service: MakeService, shell_environment: dict[str, str]) -> None:
    """The answer that the text gives for `user:bob`; and without the secret nothing is let in."""
    service = make_service()
    service.start()
    rest = START[1:]
    asked = Step(rest[-1].command.replace("anna", "bob"), None)
    assert "PERMISSIONSHIP_NO_PERMISSION" in _paste(service, shell_environment, [*rest, asked])[-1]
    unknown = Step("CLIENT_SECRET=wrong\n" + rest[0].command, None)
    assert '"code":16' in _paste(service, shell_environment, [unknown])[0].replace(" ", "")


def test_the_schema_is_the_one_that_is_pasted() -> None:
    """The one shown at the top, and not long."""
    shown = _BLOCK.findall(README)[0][1].splitlines()
    pasted = START[1].command
    assert [line for line in shown if line.strip() and line not in pasted.splitlines()] == []
    assert sum(bool(line.strip()) for line in shown) <= 10


def test_every_setting_is_listed_with_its_default() -> None:
    """In one table, in the order of the settings themselves."""
    rows = re.findall(r"^\| `(TESSERA_\w+)` \| (?:`([^`]*)`)? ?\| .+ \|$", README, re.MULTILINE)
    assert rows == list(DEFAULTS.items())


def test_every_link_leads_somewhere() -> None:
    """Files that the README names are there."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        pytest.param('{"a":"…"}', '{"a":""}', id="an ellipsis stands for something"),
        pytest.param('{"a":"…"}', '{"a":"x"}\n{"b":"y"}', id="nothing may follow"),
        pytest.param("admin client_secret=…", "", id="nothing was printed"),
    ],
)
def test_what_differs_is_noticed(shown: str, printed: str) -> None:
    """The comparison can fail."""
    assert not _agrees(shown, printed)
