"""A service of the benchmark's own: `tessera serve` on a free port in a folder of its own, ended with the run."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.load_and_check import Target

_READY_SECONDS = 20.0
_STOP_SECONDS = 10.0


class ServiceFailed(Exception):
    """The service did not become ready; says what it logged."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/readyz", timeout=1) as answer:  # noqa: S310 - the URL is ours
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


@contextmanager
def running_service(folder: Path, settings: Mapping[str, str]) -> Iterator[Target]:
    """A ready service with these settings beside its own address and key.

    Raises:
        ServiceFailed: it did not become ready in time.
    """
    url, token, log_path = f"http://127.0.0.1:{_free_port()}", secrets.token_urlsafe(), folder / "service.log"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TESSERA_")},
        "TESSERA_HTTP_ADDR": url.removeprefix("http://"),
        "TESSERA_GRPC_ADDR": "",
        "TESSERA_PRESHARED_KEYS": token,
        **settings,
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("tessera"), "serve"], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not _is_ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceFailed(f"`tessera serve` did not start:\n{log_path.read_text()[-2000:]}")
            time.sleep(0.02)
        yield Target(url=url, token=token)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
