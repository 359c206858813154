"""SIGKILL at any moment loses nothing that was acknowledged, and keeps no half of a request."""

import random
import threading
import time

import httpx
import pytest

from tests.end_to_end.conftest import MakeService, postgres_settings
from tests.end_to_end.service import ServiceProcess, creation
from tests.servers import Postgres

_WRITERS = 4
_ROUNDS = 3
_RELATIONSHIPS_A_REQUEST = 5
_LOAD_SECONDS_MAX = 20.0


class _Load:
    """Writers that send small requests until the service goes away, and note what was acknowledged."""

    def __init__(self, service: ServiceProcess, name: str) -> None:
        self._service = service
        self._name = name
        self.sent: list[frozenset[str]] = []
        self.acknowledged: list[frozenset[str]] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(_WRITERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_for(self, acknowledged: int) -> None:
        """Wait until that many requests were acknowledged."""
        deadline = time.monotonic() + _LOAD_SECONDS_MAX
        while len(self.acknowledged) < acknowledged:
            assert time.monotonic() < deadline, f"{len(self.acknowledged)} requests in {_LOAD_SECONDS_MAX} s"
            time.sleep(0.001)

    def join(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _write(self, writer: int) -> None:
        headers = {"authorization": f"Bearer {self._service.token}"}
        with httpx.Client(base_url=self._service.url, headers=headers, timeout=20, trust_env=False) as client:
            request = 0
            while not self._is_over.is_set():
                document = f"document:{self._name}-{writer}-{request}"
                relationships = frozenset(
                    f"{document}#viewer@user:u{number}" for number in range(_RELATIONSHIPS_A_REQUEST)
                )
                self.sent.append(relationships)
                try:
                    answer = client.post("/v1/relationships/write", json=creation(sorted(relationships)))
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    self.acknowledged.append(relationships)
                request += 1


def _hold_to_account(service: ServiceProcess, loads: list[_Load]) -> None:
    stored = service.read("document")
    for load in loads:
        lost = [request for request in load.acknowledged if not request <= stored]
        assert lost == [], f"{len(lost)} of {len(load.acknowledged)} acknowledged requests are not there whole"
        halves = [request for request in load.sent if request & stored and not request <= stored]
        assert halves == []
    assert stored <= {relationship for load in loads for request in load.sent for relationship in request}


@pytest.mark.parametrize("seed", [1])
def test_killed_service_keeps_what_it_acknowledged(stored_service: ServiceProcess, seed: int) -> None:
    """The process dies in the middle of a load, again and again over one database."""
    service, moments, loads = stored_service, random.Random(seed), []
    service.start()
    service.write_schema()
    for number in range(_ROUNDS):
        load = _Load(service, f"round-{number}")
        loads.append(load)
        load.start()
        load.wait_for(moments.randint(20, 200))
        service.kill()
        load.join()
        service.start()
        _hold_to_account(service, loads)
        (first, *_) = load.acknowledged
        assert service.allows(f"{min(first).partition('#')[0]}#view@user:u0")


def test_killed_postgres_keeps_what_was_acknowledged(make_service: MakeService, durable_postgres: Postgres) -> None:
    """The database dies under a load; the service outlives it, and tells of each request what became of it."""
    durable_postgres.execute("CREATE DATABASE tessera")
    service = make_service(postgres_settings(durable_postgres.url("tessera")))
    service.start()
    service.write_schema()
    load = _Load(service, "only")
    load.start()
    load.wait_for(50)
    durable_postgres.kill()
    durable_postgres.start()
    service.wait_for_status("/readyz", 200, 20)
    load.wait_for(len(load.acknowledged) + 20)
    load.join()
    assert service.is_running
    _hold_to_account(service, [load])
