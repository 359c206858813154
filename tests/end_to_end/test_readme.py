"""The README does what it says: its blocks are pasted into a shell, and what they print is compared."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from api.settings import DEFAULTS
from schema.compile import compile_schema
from tests.end_to_end.service import READY_SECONDS, STOP_SECONDS, clean_environment
from tests.servers import free_port

_ROOT = Path(__file__).resolve().parents[2]
_README = (_ROOT / "README.md").read_text()
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "=== next block ==="
_SHELL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Pasted:
    """A block for the shell, and the block behind it with what it prints, if there is one."""

    command: str
    printed: str | None


def _pasted() -> list[_Pasted]:
    blocks = [(match[1], match[2]) for match in _BLOCK.finditer(_README)]
    following = [*blocks[1:], ("", "")]
    return [
        _Pasted(text, then_text if then in {"text", "json"} else None)
        for (kind, text), (then, then_text) in zip(blocks, following, strict=True)
        if kind == "sh"
    ]


_SERVER, *_SESSION, _COMPANY, _MAKE = _pasted()


def _matches(printed: str, expected: str) -> bool:
    """Whether it was printed, with something on the same line wherever the README has an ellipsis."""
    pattern = "[^\n]+?".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, printed.strip()) is not None


@dataclass(frozen=True, slots=True)
class _Checkout:
    """A folder that looks like a checkout in which `make install` was run."""

    folder: Path
    address: str

    def shell(self, command: str, seconds: float = _SHELL_SECONDS) -> "subprocess.CompletedProcess[str]":
        """Paste a command here; the address in it is that of this test."""
        return subprocess.run(
            ["bash", "-c", command.replace("127.0.0.1:8080", self.address)],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        """What the shell's programs find set."""
        own = {
            "TESSERA_HTTP_ADDR": self.address,
            "TESSERA_GRPC_ADDR": "",
            "PYTHON": sys.executable,
            "PATH": f"{os.environ['PATH']}{os.pathsep}{self.folder / 'bin'}",
        }
        inherited = {name: value for name, value in clean_environment(own).items() if not name.startswith("MAKE")}
        return {**inherited, "PYTHONPATH": str(_ROOT)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> _Checkout:
    """Links to the real files, so that nothing that runs here writes into them; the environment counts as made."""
    folder = tmp_path_factory.mktemp("checkout")
    for entry in _ROOT.iterdir():
        if not entry.name.startswith(".") and not entry.name.startswith("tessera."):
            (folder / entry.name).symlink_to(entry)
    environment = folder / ".venv"
    environment.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if not entry.name.startswith(".made") and not entry.name.startswith(".installed"):
            (environment / entry.name).symlink_to(entry)
    # Behind the rest of the path: for machines without a `curl` of their own.
    stand_in = folder / "bin" / "curl"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.end_to_end.curl "$@"\n')
    stand_in.chmod(0o755)
    version = ".".join(map(str, sys.version_info[:3]))
    for stamp in ("made", "installed", "installed-test"):
        (environment / f".{stamp}-{version}").touch()
    return _Checkout(folder, f"127.0.0.1:{free_port()}")


@pytest.fixture(scope="module")
def running(checkout: _Checkout) -> Iterator[_Checkout]:
    """The first block, as it is pasted, until the service is ready."""
    command = _SERVER.command.replace("127.0.0.1:8080", checkout.address)
    with (checkout.folder / "terminal").open("wb") as terminal:
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=checkout.folder,
            env=checkout.environment(),
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://{checkout.address}/readyz", timeout=5, trust_env=False).status_code == 200:
                    break
            shown = (checkout.folder / "terminal").read_text()
            assert process.poll() is None, shown
            assert time.monotonic() < deadline, shown
            time.sleep(0.02)
        yield checkout
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_first_terminal_shows_the_admin_credential(running: _Checkout) -> None:
    """And `tee` keeps it where the next block looks."""
    assert _SERVER.printed is not None
    assert _matches((running.folder / "tessera.out").read_text(), _SERVER.printed)


def test_second_terminal_prints_what_the_readme_says(running: _Checkout) -> None:
    """All blocks of the session in one shell, one after the other."""
    script = f"echo '{_MARK}'\n".join(f"{block.command}\n" for block in _SESSION)
    done = running.shell(script)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(f"{_MARK}\n")
    assert len(printed) == len(_SESSION) >= 4
    for block, output in zip(_SESSION, printed, strict=True):
        assert _matches(output, block.printed or ""), f"{block.command}\nprinted\n{output}"


def test_company_prints_what_the_readme_says(checkout: _Checkout) -> None:
    """The real input, a tenth of it; `test_company_at_full_size` pastes the block as it is."""
    assert _COMPANY.printed is not None
    smaller = {"100,000": "10,000", "10,000": "2,000", "5,000": "1,000"}
    expected = re.sub(r"\d+,000", lambda found: smaller[found[0]], _COMPANY.printed)
    done = checkout.shell(f"{_COMPANY.command.rstrip()} --relationships 10000 --checks 2000")
    assert done.returncode == 0, done.stderr
    assert _matches(done.stdout, expected), done.stdout


@pytest.mark.slow
def test_company_at_full_size(checkout: _Checkout) -> None:
    """100,000 relationships and 10,000 checks."""
    assert _COMPANY.printed is not None
    done = checkout.shell(_COMPANY.command, seconds=600)
    assert done.returncode == 0, done.stderr
    assert _matches(done.stdout, _COMPANY.printed), done.stdout


def test_targets_of_make_exist(checkout: _Checkout) -> None:
    """Of the last block, and those that the text names; what they would do is not done."""
    named = {*re.findall(r"^make ([\w-]+)$", _MAKE.command, re.MULTILINE), *re.findall(r"`make ([\w-]+)`", _README)}
    assert {"test", "lint", "bench", "fuzz"} <= named
    done = checkout.shell(f"make --dry-run {' '.join(sorted(named))}")
    assert done.returncode == 0, done.stderr
    assert checkout.shell("make --dry-run no-such-target").returncode != 0


def test_settings_are_those_that_exist_with_their_defaults() -> None:
    """A row each; one that is told otherwise than by its default says so in words."""
    rows = dict(re.findall(r"^\| `(TESSERA_\w+)` \|(.*?)\|", _README, re.MULTILINE))
    told = {name: cell.strip().strip("`") for name, cell in rows.items()}
    assert told == {**DEFAULTS, "TESSERA_ISSUER": "the HTTP address"}


def test_schema_shown_is_the_schema_written() -> None:
    """Once for the reader, once in JSON."""
    shown = next(match[2] for match in _BLOCK.finditer(_README) if match[1] == "zed")
    written = re.search(r'\{"schema": "(.*?)"\}', _README)
    assert written is not None
    assert compile_schema(shown) == compile_schema(written[1].replace("\\n", "\n"))


def test_links_lead_to_files() -> None:
    """Of the checkout, all of them."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", _README)
    assert links
    assert [link for link in links if not (_ROOT / link).exists()] == []


@pytest.mark.parametrize(
    ("printed", "expected", "does_match"),
    [
        pytest.param("a 12 b\n", "a … b", True, id="ellipsis"),
        pytest.param("a  b", "a … b", False, id="ellipsis stands for something"),
        pytest.param("a 1\n2 b", "a … b", False, id="ellipsis stays on its line"),
        pytest.param("a 1 b c", "a … b", False, id="nothing behind"),
        pytest.param("", "a", False, id="nothing printed"),
    ],
)
def test_comparison_tells_apart(printed: str, expected: str, does_match: bool) -> None:
    """Or these tests would hold nothing."""
    assert _matches(printed, expected) is does_match
