"""A process comes up fast, says its first secret once, keeps what it was told, and goes when asked."""

import re
import signal
import socket
import threading
import time
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from typer.testing import CliRunner

from api.cli.main import app
from api.settings import Settings
from tests.end_to_end.conftest import MakeService, postgres_settings
from tests.end_to_end.service import SCHEMA, ServiceProcess, encryption_key, run_tessera

_FIRST_ANSWER_SECONDS = 2.0
_TERM_SECONDS = 5.0
_STARTS_MAX = 5


def test_first_answer_comes_within_two_seconds(make_service: MakeService) -> None:
    """An empty SQLite file, a process; what it waited for a core that others had is not its own."""
    seconds: list[float] = []
    while len(seconds) < _STARTS_MAX and min(seconds, default=_FIRST_ANSWER_SECONDS) >= _FIRST_ANSWER_SECONDS:
        service = make_service()
        seconds.append(service.start() - service.seconds_without_a_core())
        service.kill()
    assert min(seconds) < _FIRST_ANSWER_SECONDS, seconds


def test_a_wrong_secret_opens_nothing(shared_service: ServiceProcess) -> None:
    """401 at the token endpoint, and the made-up token is 401 at the API."""
    client_id, secret = shared_service.admin_credential()
    refused = shared_service.form(
        "/oauth2/token", {"grant_type": "client_credentials"}, auth=(client_id, f"{secret}x")
    )
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert shared_service.post("/v1/schema/read", {}, token="nonsense").status_code == 401


def test_restart_keeps_everything_and_prints_no_second_secret(stored_service: ServiceProcess) -> None:
    """The first start prints one line, good for a token; what was written and issued outlives the process."""
    service = stored_service
    service.start()
    assert re.fullmatch(r"admin client_id=\S+ client_secret=\S+\n", service.stdout)
    client = service.admin_credential()
    answer = service.form("/oauth2/token", {"grant_type": "client_credentials"}, auth=client)
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    service.must("/v1/schema/write", {"schema": SCHEMA}, token=token)
    zookie = service.write("document:1#viewer@user:ann", "document:1#viewer@user:bob", "document:1#banned@user:bob")
    before = service.read("document")
    assert len(before) == 3
    service.stop()

    service.start()
    assert service.read("document") == before
    assert service.allows("document:1#view@user:ann", consistency={"atLeastAsFresh": {"token": zookie}})
    assert not service.allows("document:1#view@user:bob")
    assert service.must("/v1/schema/read", {}, token=token)["schemaText"]
    assert service.form("/oauth2/token", {"grant_type": "client_credentials"}, auth=client).status_code == 200
    assert service.stdout.count("client_secret=") == 1
    assert client[1] not in service.stderr


def test_term_ends_it_cleanly_with_clients_connected(service: ServiceProcess) -> None:
    """Idle connections do not hold it up; the exit status is 0; nothing unexpected is logged."""
    with httpx.Client(base_url=service.url, trust_env=False) as other:
        assert other.get("/healthz").status_code == 200
        assert service.stop() < _TERM_SECONDS
    assert [line for line in service.log_lines() if line.get("level") in {"error", "critical"}] == []


def test_term_during_requests_answers_or_drops_them_but_loses_nothing(service: ServiceProcess) -> None:
    """A write is either acknowledged and kept, or not acknowledged."""
    acknowledged: set[str] = set()
    is_over = threading.Event()

    def write() -> None:
        for number in range(100_000):
            relationship = f"document:{number}#viewer@user:ann"
            try:
                service.write(relationship)
            except (httpx.TransportError, AssertionError):
                return
            acknowledged.add(relationship)
            if is_over.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.3)
    seconds = service.stop()
    is_over.set()
    writer.join(20)
    assert not writer.is_alive()
    assert seconds < _TERM_SECONDS
    service.start()
    assert acknowledged
    assert acknowledged <= service.read("document")


def test_interrupt_ends_it_cleanly(service: ServiceProcess) -> None:
    """Ctrl-C is as good as SIGTERM, and shows no traceback."""
    service.send(signal.SIGINT)
    service.wait()
    assert "Traceback" not in service.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("TESSERA_HTTP_ADDR", "8080", id="address without a host"),
        pytest.param("TESSERA_HTTP_ADDR", "127.0.0.1:65536", id="port out of range"),
        pytest.param("TESSERA_HTTP_ADDR", "127.0.0.1:http", id="port by name"),
        pytest.param("TESSERA_DATABASE_URL", "mysql://localhost/x", id="database of another kind"),
        pytest.param("TESSERA_DATABASE_URL", "tessera.db", id="database without a scheme"),
        pytest.param("TESSERA_REDIS_URL", "http://localhost", id="redis of another kind"),
        pytest.param("TESSERA_PRESHARED_KEYS", "good,,other", id="an empty key"),
        pytest.param("TESSERA_ISSUER", "tessera.example", id="issuer without a scheme"),
        pytest.param("TESSERA_WORKERS", "0", id="no workers"),
        pytest.param("TESSERA_WORKERS", "two", id="workers in words"),
        pytest.param("TESSERA_KEY_ENCRYPTION_KEYS", "c2hvcnQ=", id="a short encryption key"),
        pytest.param("TESSERA_REPLICA_BYTES_MAX", "-1", id="a negative size"),
        pytest.param("TESSERA_LOG_LEVEL", "loud", id="no such level"),
        pytest.param("TESSERA_HTTP_ADDRESS", "127.0.0.1:8080", id="no such setting"),
    ],
)
def test_bad_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Exit status 2 and one line that names the variable; nothing is served."""
    monkeypatch.setattr("api.serve.run_server", _serve_nothing)
    ended = CliRunner().invoke(app, ["serve"], env={name: value})
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"tessera: {name}: ")
    assert ended.stderr.count("\n") == 1


def test_bad_flag_is_refused_by_the_variables_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag is the same setting, and goes before the variable."""
    monkeypatch.setattr("api.serve.run_server", _serve_nothing)
    ended = CliRunner().invoke(app, ["serve", "--http-addr", "nowhere"], env={"TESSERA_HTTP_ADDR": "127.0.0.1:0"})
    assert ended.exit_code == 2
    assert ended.stderr == "tessera: TESSERA_HTTP_ADDR: `nowhere` is no `host:port`\n"


def test_bad_setting_ends_the_process_before_it_makes_anything(tmp_path: Path) -> None:
    """No database, no key file, no traceback."""
    ended = run_tessera("serve", settings={"TESSERA_WORKERS": "0"}, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("tessera: TESSERA_WORKERS: ")
    assert list(tmp_path.iterdir()) == []


def _serve_nothing(settings: Settings, *, migrate: bool) -> NoReturn:
    pytest.fail(f"would serve with {settings}, migrate={migrate}")


def test_address_in_use_is_refused_by_name(tmp_path: Path) -> None:
    """Nor is anything made on disk."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run_tessera("serve", settings={"TESSERA_HTTP_ADDR": address}, folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"tessera: TESSERA_HTTP_ADDR: cannot listen on `{address}`")
    assert list(tmp_path.iterdir()) == []


def test_postgres_without_an_encryption_key_is_refused(make_service: MakeService, postgres_url: str) -> None:
    """Keys must be encrypted at rest, and there is no file to keep one in."""
    service = make_service({"TESSERA_DATABASE_URL": postgres_url})
    ended = run_tessera("serve", settings=service.settings, folder=service.folder)
    assert ended.returncode == 2
    assert ended.stderr.startswith("tessera: TESSERA_KEY_ENCRYPTION_KEYS: ")


def test_another_encryption_key_is_refused(make_service: MakeService, postgres_url: str) -> None:
    """Signing keys that cannot be read are no reason to make new ones."""
    service = make_service(postgres_settings(postgres_url))
    service.start()
    service.stop()
    settings = {**service.settings, "TESSERA_KEY_ENCRYPTION_KEYS": encryption_key()}
    ended = run_tessera("serve", settings=settings, folder=service.folder)
    assert ended.returncode == 2
    assert ended.stderr.startswith("tessera: ")
    assert ended.stderr.count("\n") == 1
    assert "needs a key-encryption key that is not given" in ended.stderr


def test_unreachable_database_is_refused(make_service: MakeService) -> None:
    """A clear line, no traceback, and no password in it."""
    settings = postgres_settings("postgresql://tessera:hunter2@127.0.0.1:1/tessera")
    service = make_service(settings)
    ended = run_tessera("serve", settings=service.settings, folder=service.folder)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "database" in ended.stderr
    assert "hunter2" not in ended.stderr


def test_key_file_is_for_its_owner_alone(shared_service: ServiceProcess) -> None:
    """The encryption key beside an SQLite file has mode 0600."""
    assert (shared_service.folder / "tessera.key").stat().st_mode & 0o777 == 0o600
