"""Without its database the service says so, never guesses, and comes back by itself."""

import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.end_to_end.conftest import MakeService, postgres_settings
from tests.end_to_end.service import ServiceProcess, creation, plain_answer, question_request
from tests.servers import Postgres

_RECOVERY_SECONDS = 20.0
_TRUTH = {
    "document:1#view@user:ann": True,
    "document:1#view@user:bob": False,
    "document:2#view@user:bob": True,
    "document:2#view@user:ann": False,
}


@pytest.fixture
def over_postgres(make_service: MakeService, durable_postgres: Postgres) -> Iterator[ServiceProcess]:
    """A service over a Postgres that the test may stop, with a few relationships."""
    durable_postgres.execute("CREATE DATABASE tessera")
    service = make_service(postgres_settings(durable_postgres.url("tessera")))
    service.start()
    service.write_schema()
    service.write(
        "document:1#viewer@user:ann",
        "document:1#viewer@user:bob",
        "document:1#banned@user:bob",
        "document:2#viewer@user:bob",
    )
    yield service
    assert service.is_running


def _is_unavailable(answer: httpx.Response) -> bool:
    if answer.status_code != 503:
        return False
    assert int(answer.headers["retry-after"]) >= 1
    return True


def _answers_or_refuses(service: ServiceProcess, question: str, **request: object) -> bool:
    """Whether it answered; a wrong answer fails the test, and so does any error but 503."""
    answer = service.check(question, **request)
    if _is_unavailable(answer):
        return False
    assert answer.status_code == 200, answer.text
    assert plain_answer(answer) is _TRUTH[question]
    return True


def test_stopped_postgres_is_503_and_never_a_wrong_answer(
    over_postgres: ServiceProcess, durable_postgres: Postgres
) -> None:
    """Everything that needs the database is refused with `Retry-After`; what is answered is right."""
    service = over_postgres
    durable_postgres.stop()
    answer = service.post("/v1/relationships/write", creation(["document:9#viewer@user:eve"]))
    assert _is_unavailable(answer), answer.text
    assert answer.json()["code"] == 14
    assert _is_unavailable(service.post("/v1/schema/write", {"schema": "definition user {}"}))
    for question in _TRUTH:
        _answers_or_refuses(service, question)
        assert not _answers_or_refuses(service, question, consistency={"fullyConsistent": True})
    everything = {"relationshipFilter": {"resourceType": "document"}}
    read = service.post("/v1/relationships/read", everything)
    assert _is_unavailable(read) or read.text.count('"relationship":') == 4, "a list that is not whole"
    consistent = {**everything, "consistency": {"fullyConsistent": True}}
    assert _is_unavailable(service.post("/v1/relationships/read", consistent))
    assert _is_unavailable(service.get("/readyz"))
    assert service.get("/healthz").status_code == 200

    durable_postgres.start()
    service.wait_for_status("/readyz", 200, _RECOVERY_SECONDS)
    for question, expected in _TRUTH.items():
        assert service.allows(question, consistency={"fullyConsistent": True}) is expected
    assert not any("eve" in relationship for relationship in service.read("document"))
    service.write("document:9#viewer@user:eve")
    assert service.allows("document:9#view@user:eve")


def test_tokens_are_refused_while_postgres_is_away(over_postgres: ServiceProcess, durable_postgres: Postgres) -> None:
    """A wrong secret is never let through for want of a database, nor the right one called wrong."""
    service = over_postgres
    client_id, secret = service.admin_credential()
    token = service.form("/oauth2/token", {"grant_type": "client_credentials"}, auth=(client_id, secret)).json()
    durable_postgres.stop()
    wrong = service.form("/oauth2/token", {"grant_type": "client_credentials"}, auth=(client_id, "wrong"))
    right = service.form("/oauth2/token", {"grant_type": "client_credentials"}, auth=(client_id, secret))
    assert "access_token" not in wrong.text
    assert wrong.status_code in {401, 503}
    assert right.status_code in {200, 503}
    if right.status_code == 503:
        assert int(right.headers["retry-after"]) >= 1
    answer = service.check("document:1#view@user:ann")
    assert answer.status_code in {200, 503}
    durable_postgres.start()
    service.wait_for_status("/readyz", 200, _RECOVERY_SECONDS)
    again = service.form("/oauth2/token", {"grant_type": "client_credentials"}, auth=(client_id, secret))
    assert again.status_code == 200
    deadline = time.monotonic() + _RECOVERY_SECONDS
    while _is_unavailable(read := service.post("/v1/schema/read", {}, token=token["access_token"])):
        assert time.monotonic() < deadline, "what was revoked meanwhile stays unknown"
        time.sleep(0.01)
    assert read.json()["schemaText"]


def test_answers_stay_right_through_restarts_under_load(
    over_postgres: ServiceProcess, durable_postgres: Postgres
) -> None:
    """Checks run all the while Postgres goes and comes: each is answered rightly or refused as unavailable."""
    service, is_over = over_postgres, threading.Event()
    wrong: list[str] = []
    answered = [0]

    def ask() -> None:
        headers = {"authorization": f"Bearer {service.token}"}
        with httpx.Client(base_url=service.url, headers=headers, timeout=20, trust_env=False) as client:
            while not is_over.is_set():
                for question, expected in _TRUTH.items():
                    request = {**question_request(question), "consistency": {"fullyConsistent": True}}
                    answer = client.post("/v1/permissions/check", json=request)
                    if answer.status_code == 200:
                        answered[0] += 1
                        if plain_answer(answer) is not expected:
                            wrong.append(question)
                    elif not _is_unavailable(answer):
                        wrong.append(answer.text)
                    else:
                        time.sleep(0.01)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(2):
            durable_postgres.restart()
            service.wait_for_status("/readyz", 200, _RECOVERY_SECONDS)
            before, deadline = answered[0], time.monotonic() + _RECOVERY_SECONDS
            while answered[0] < before + 20:
                assert time.monotonic() < deadline, wrong
                time.sleep(0.01)
    finally:
        is_over.set()
        asker.join(30)
    assert not asker.is_alive()
    assert wrong == []


def test_hung_postgres_is_503_in_bounded_time(over_postgres: ServiceProcess, durable_postgres: Postgres) -> None:
    """A database that accepts and says nothing is one that is away; the process itself stays alive."""
    service = over_postgres
    durable_postgres.pause()
    try:
        started = time.monotonic()
        answer = service.check("document:1#view@user:ann", consistency={"fullyConsistent": True})
        assert answer.status_code in {503, 504}, answer.text
        assert time.monotonic() - started < 15
        assert service.get("/healthz").status_code == 200
    finally:
        durable_postgres.resume()
    service.wait_for_status("/readyz", 200, _RECOVERY_SECONDS)
    assert service.allows("document:1#view@user:ann", consistency={"fullyConsistent": True})
