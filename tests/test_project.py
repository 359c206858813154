"""The project around the code: what `make` does and does again, what is pinned, who imports whom."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.app import VERSION

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINES_MAX = 600

_NOTING_PYTHON = """\
#!{python}
import shutil, sys
from pathlib import Path
sys.version_info = {version}
match sys.argv[1:]:
    case ["-c", code]:
        exec(code)
    case ["-m", "venv", "--clear", folder]:
        shutil.rmtree(folder, ignore_errors=True)
        (Path(folder) / "bin").mkdir(parents=True)
        shutil.copy(__file__, Path(folder) / "bin" / "python")
with open("{log}", "a") as log:
    if sys.argv[1] == "-m":
        print(sys.argv[2], "{dotted}", "[test]" if ".[test]" in sys.argv else "", file=log)
"""


def _without_make() -> dict[str, str]:
    """The environment, but not what a `make` that runs this suite tells the one that a test runs."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


class Checkout:
    """A folder with the Makefile and what it depends on, and Pythons that only take notes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "log"
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, folder / name)

    def python(self, *version: int) -> str:
        """A Python of that version."""
        dotted = ".".join(map(str, version))
        path = self.folder / f"python-{dotted}"
        path.write_text(_NOTING_PYTHON.format(python=sys.executable, version=version, dotted=dotted, log=self._log))
        path.chmod(0o755)
        return str(path)

    def make(self, target: str, python: str) -> "subprocess.CompletedProcess[str]":
        """Run make."""
        return subprocess.run(
            ["make", target, f"PYTHON={python}"],
            cwd=self.folder,
            env=_without_make(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def done(self) -> list[str]:
        """What the Pythons were asked for since the last call: module, version and extra."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return [line.strip() for line in lines]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout without an environment."""
    return Checkout(tmp_path)


def test_installing_twice_installs_once(checkout: Checkout) -> None:
    """The second time nothing is asked of pip."""
    python = checkout.python(3, 12, 1)
    assert checkout.make("install", python).returncode == 0
    assert checkout.done() == ["venv 3.12.1", "pip 3.12.1"]
    assert checkout.make("install", python).returncode == 0
    assert checkout.done() == []


def test_a_changed_pin_installs_again(checkout: Checkout) -> None:
    """Into the same environment."""
    python = checkout.python(3, 12, 1)
    checkout.make("install", python)
    checkout.done()
    later = (checkout.folder / ".venv" / ".installed-3.12.1").stat().st_mtime + 10
    os.utime(checkout.folder / "constraints.txt", (later, later))
    checkout.make("install", python)
    assert checkout.done() == ["pip 3.12.1"]


def test_another_python_makes_another_environment(checkout: Checkout) -> None:
    """Nothing of the old one stays."""
    checkout.make("install", checkout.python(3, 12, 1))
    checkout.done()
    checkout.make("install", checkout.python(3, 13, 0))
    assert checkout.done() == ["venv 3.13.0", "pip 3.13.0"]


def test_what_tests_need_is_not_installed_to_run(checkout: Checkout) -> None:
    """`make run` and `make install` leave it out; the suite and the linters bring it."""
    python = checkout.python(3, 12, 1)
    checkout.make("install", python)
    assert not any("[test]" in line for line in checkout.done())
    checkout.make("test", python)
    assert "pip 3.12.1 [test]" in checkout.done()


def test_an_old_python_is_refused_by_name(checkout: Checkout) -> None:
    """Before anything is made of it."""
    done = checkout.make("install", checkout.python(3, 9, 6))
    assert done.returncode != 0
    assert "Python 3.11 or later is needed" in done.stderr
    assert checkout.done() == []


def test_make_run_serves() -> None:
    """In the foreground, with the settings of the environment."""
    listed = subprocess.run(
        ["make", "--dry-run", "run"],
        cwd=ROOT,
        env=_without_make(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert listed.stdout.splitlines()[-1] == ".venv/bin/tessera serve"


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned_within_its_bounds() -> None:
    """Those of the service and those of the tests."""
    optional = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *(each for extra in optional.values() for each in extra)]
    pins = {_normal(name) for name in _pins()}
    assert [each for each in wanted if _normal(re.split(r"[\[<>=]", each)[0]) not in pins] == []


def test_pins_are_versions_alone() -> None:
    """No address, no path, no range: any index will do."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []


def test_the_service_names_its_version() -> None:
    """The same as the distribution."""
    assert PROJECT["project"]["version"] == VERSION


_MAY_IMPORT = {
    "schema": {"schema"},
    "pdp": {"pdp", "schema"},
    "authn": {"authn"},
    "api": {"api", "authn", "pdp", "schema"},
}
_OURS = {*_MAY_IMPORT, "tests", "benchmarks"}


def _modules(package: str) -> Iterator[Path]:
    return (path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found & _OURS


@pytest.mark.parametrize("package", _MAY_IMPORT)
def test_imports_follow_the_arrows(package: str) -> None:
    """`schema` ← `pdp` ← `api` → `authn`, and none of them the tests."""
    strays = {
        (str(path.relative_to(ROOT)), name)
        for path in _modules(package)
        for name in _imports(path) - _MAY_IMPORT[package]
    }
    assert strays == set()


@pytest.mark.parametrize("package", _MAY_IMPORT)
def test_modules_stay_readable(package: str) -> None:
    """Each opens with the idea that it holds, and is no longer than a sitting."""
    modules = {path: path.read_text() for path in _modules(package)}
    assert modules
    assert [path for path, text in modules.items() if text.count("\n") > LINES_MAX] == []
    assert [path for path, text in modules.items() if text.strip() and not ast.get_docstring(ast.parse(text))] == []


def test_the_wheel_holds_the_four_packages() -> None:
    """Neither tests nor benchmarks are installed."""
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(_MAY_IMPORT)
