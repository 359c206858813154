"""`tessera serve` as a process of a test: started, asked, ended and read."""

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from benchmarks.load_and_check import relationship_of
from tests.servers import free_port

TESSERA = Path(sys.executable).with_name("tessera")
READY_SECONDS = 20.0
STOP_SECONDS = 15.0
_POLL_SECONDS = 0.01
_ADMIN = "admin client_id="

SCHEMA = """
definition user {}
definition document {
  relation banned: user
  relation viewer: user
  permission view = viewer - banned
}
"""


class NotReady(Exception):
    """The service did not answer in time, or ended; says what it logged."""


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process' environment without settings of ours, and these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TESSERA_")}
    return {**inherited, **settings}


def encryption_key() -> str:
    """A key for ``TESSERA_KEY_ENCRYPTION_KEYS``."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def run_tessera(
    *arguments: str, settings: Mapping[str, str], folder: Path, seconds: float = 20.0
) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    return subprocess.run(
        [TESSERA, *arguments],
        cwd=folder,
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


class ServiceProcess:
    """A service over one database, with a folder for its output; it can be started again on the same port.

    Args:
        folder: where it runs; an SQLite file lies here when ``settings`` names no database.
        settings: variables beside the address and a pre-shared key.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.token = secrets.token_urlsafe(24)
        self.url = f"http://127.0.0.1:{free_port()}"
        self.settings = {
            "TESSERA_HTTP_ADDR": self.url.removeprefix("http://"),
            "TESSERA_GRPC_ADDR": "",
            "TESSERA_PRESHARED_KEYS": self.token,
            **settings,
        }
        self._client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> float:
        """Start it; gives the seconds until `/readyz` said 200.

        Raises:
            NotReady: it did not, within ``READY_SECONDS``.
        """
        started = time.monotonic()
        with (self.folder / "stdout").open("ab") as out, (self.folder / "stderr").open("ab") as err:
            self._process = subprocess.Popen(
                [TESSERA, "serve", *arguments],
                cwd=self.folder,
                env=clean_environment(self.settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.wait_for_status("/readyz", 200, READY_SECONDS)
        return time.monotonic() - started

    def wait_for_status(self, path: str, status: int, seconds: float) -> httpx.Response:
        """Ask until a path answers with a status.

        Raises:
            NotReady: it did not in time, or the process ended.
        """
        deadline = time.monotonic() + seconds
        seen: object = None
        while time.monotonic() < deadline and self.is_running:
            try:
                answer = self._client.get(path, timeout=5)
            except httpx.TransportError as error:
                seen = error
            else:
                if answer.status_code == status:
                    return answer
                seen = answer.status_code
            time.sleep(_POLL_SECONDS)
        ended = self.process.poll()
        raise NotReady(
            f"`{path}` gave {seen!r} and not {status} in {seconds} s, exit status {ended}:\n{self.stderr[-3000:]}"
        )

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process last started."""
        assert self._process is not None
        return self._process

    def seconds_without_a_core(self) -> float:
        """How long its main thread was ready to run while others ran; 0 where the system does not tell."""
        try:
            told = Path(f"/proc/{self.process.pid}/schedstat").read_text()
        except FileNotFoundError:
            return 0.0
        return int(told.split()[1]) / 1e9

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; gives the exit status."""
        return self.process.wait(STOP_SECONDS)

    def stop(self) -> float:
        """End it in order; gives the seconds it took."""
        started = time.monotonic()
        self.send(signal.SIGTERM)
        assert self.wait() == 0, self.stderr[-3000:]
        return time.monotonic() - started

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.send(signal.SIGKILL)
        self.wait()

    def close(self) -> None:
        """Let go of everything, however it stands."""
        self._client.close()
        if self.is_running:
            self.kill()

    @property
    def stdout(self) -> str:
        """All it printed, over every start."""
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """All it logged, over every start."""
        return (self.folder / "stderr").read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        """Every line it logged, decoded; a line that is no JSON object fails the test."""
        lines = [json.loads(line) for line in self.stderr.splitlines()]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def admin_credential(self) -> tuple[str, str]:
        """Id and secret of the first client, as printed at the first start."""
        (line,) = [line for line in self.stdout.splitlines() if line.startswith(_ADMIN)]
        client_id, _, secret = line.removeprefix(_ADMIN).partition(" client_secret=")
        return client_id, secret

    def get(self, path: str) -> httpx.Response:
        """GET a path, without a credential."""
        return self._client.get(path)

    def form(self, path: str, fields: Mapping[str, str], **options: Any) -> httpx.Response:
        """POST a form."""
        return self._client.post(path, data=dict(fields), **options)

    def post(
        self, path: str, request: object, *, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Call a method of the v1 API, with the pre-shared key or another token."""
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        authorization = {"authorization": f"Bearer {token or self.token}", "content-type": "application/json"}
        return self._client.post(path, content=body, headers={**authorization, **(headers or {})})

    def must(self, path: str, request: object, **options: Any) -> Any:
        """Call a method that has to succeed; gives the decoded body."""
        answer = self.post(path, request, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def write_schema(self, schema: str = SCHEMA) -> str:
        """Write a schema; gives the zookie."""
        token: str = self.must("/v1/schema/write", {"schema": schema})["writtenAt"]["token"]
        return token

    def write(self, *relationships: str) -> str:
        """CREATE relationships in one request; gives the zookie."""
        token: str = self.must("/v1/relationships/write", creation(relationships))["writtenAt"]["token"]
        return token

    def read(self, resource_type: str) -> set[str]:
        """Every relationship of a type, at the newest revision."""
        request = {"consistency": {"fullyConsistent": True}, "relationshipFilter": {"resourceType": resource_type}}
        answer = self.post("/v1/relationships/read", request)
        assert answer.status_code == 200, answer.text
        return {_text(json.loads(line)["result"]["relationship"]) for line in answer.text.splitlines()}

    def check(self, question: str, **request: Any) -> httpx.Response:
        """Ask a question, ``document:1#view@user:ann``."""
        return self.post("/v1/permissions/check", {**question_request(question), **request})

    def allows(self, question: str, **request: Any) -> bool:
        """Ask a question that has a plain answer."""
        answer = self.check(question, **request)
        assert answer.status_code == 200, answer.text
        return plain_answer(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def plain_answer(answer: httpx.Response) -> bool:
    """The yes or no of a check's answer."""
    told = answer.json()["permissionship"]
    assert told in {"PERMISSIONSHIP_HAS_PERMISSION", "PERMISSIONSHIP_NO_PERMISSION"}, told
    return bool(told == "PERMISSIONSHIP_HAS_PERMISSION")


def question_request(question: str) -> dict[str, Any]:
    """The request of a check."""
    relationship = relationship_of(question)
    relationship["permission"] = relationship.pop("relation")
    return relationship


def creation(relationships: Iterable[str], operation: str = "OPERATION_CREATE") -> dict[str, Sequence[object]]:
    """The request that writes relationships."""
    return {"updates": [{"operation": operation, "relationship": relationship_of(text)} for text in relationships]}


def _text(relationship: Mapping[str, Any]) -> str:
    resource, subject = relationship["resource"], relationship["subject"]
    userset = f"#{subject['optionalRelation']}" if subject["optionalRelation"] else ""
    return (
        f"{resource['objectType']}:{resource['objectId']}#{relationship['relation']}"
        f"@{subject['object']['objectType']}:{subject['object']['objectId']}{userset}"
    )
