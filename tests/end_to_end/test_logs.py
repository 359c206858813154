"""What the process writes about its work: every request once, as JSON, traceable, and never a secret."""

import base64
import json
import re
import time
from typing import Any

import httpx

from tests.end_to_end.conftest import MakeService
from tests.end_to_end.service import ServiceProcess, creation

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_SPAN = "00f067aa0ba902b7"
_LOG_SECONDS = 5.0


def _line(service: ServiceProcess, request_id: str) -> dict[str, Any]:
    """The one log line of a request, which may come a moment after its answer."""
    deadline = time.monotonic() + _LOG_SECONDS
    while request_id not in service.stderr and time.monotonic() < deadline:
        time.sleep(0.01)
    (line,) = [line for line in service.log_lines() if line.get("request_id") == request_id]
    return line


def test_line_of_a_request_carries_the_callers_trace(shared_service: ServiceProcess) -> None:
    """`traceparent`'s ids, the request's id, the route, the status, the caller and the time taken."""
    headers = {"traceparent": f"00-{_TRACE}-{_SPAN}-01", "x-request-id": "mine-1"}
    answer = shared_service.post("/v1/schema/read", {}, headers=headers)
    assert answer.headers["x-request-id"] == "mine-1"
    line = _line(shared_service, "mine-1")
    assert (line["trace_id"], line["span_id"]) == (_TRACE, _SPAN)
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/schema/read", 200)
    assert line["caller"] == "preshared-key-1"
    assert 0 < line["duration_ms"] < 20_000


def test_refused_request_is_logged_with_its_trace(shared_service: ServiceProcess) -> None:
    """A refusal is what one looks for."""
    headers = {"traceparent": f"00-{_TRACE}-{_SPAN}-00", "x-request-id": "refused-1"}
    assert shared_service.post("/v1/schema/read", {}, token="wrong", headers=headers).status_code == 401
    line = _line(shared_service, "refused-1")
    assert (line["trace_id"], line["status"], line["code"]) == (_TRACE, 401, "UNAUTHENTICATED")


def test_malformed_trace_and_request_id_are_not_taken_over(shared_service: ServiceProcess) -> None:
    """Nobody writes into our log but in the forms that the headers have."""
    headers = {"traceparent": "00-zz-zz-01", "x-request-id": "with blank"}
    answer = shared_service.post("/v1/schema/read", {}, headers=headers)
    made = answer.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{16,}", made)
    assert "trace_id" not in _line(shared_service, made)
    assert "with blank" not in shared_service.stderr


def test_every_line_is_json_and_every_request_has_one(shared_service: ServiceProcess) -> None:
    """Good ones, bad ones, and paths that do not exist."""
    for number, path in enumerate(("/v1/schema/read", "/v1/permissions/check", "/nothing", "/v1/schema/read/")):
        shared_service.post(path, b"{" if number == 1 else {}, headers={"x-request-id": f"number-{number}"})
    statuses = [_line(shared_service, f"number-{number}")["status"] for number in range(4)]
    assert statuses == [200, 400, 404, 404]


def test_planted_secrets_are_nowhere_in_the_output(make_service: MakeService) -> None:
    """Sent in every place a client may put one, right and wrong, at the most talkative level."""
    service = make_service({"TESSERA_LOG_LEVEL": "debug"})
    service.start()
    client_id, secret = service.admin_credential()
    planted = {name: f"planted-{name}-7d1f" for name in ("bearer", "basic", "form", "query", "body", "cookie")}
    basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    wrong_basic = base64.b64encode(f"{client_id}:{planted['basic']}".encode()).decode()

    token = service.form("/oauth2/token", {"grant_type": "client_credentials"}, auth=(client_id, secret)).json()
    access_token = token["access_token"]
    service.must("/v1/schema/write", {"schema": "definition user {}"}, token=access_token)
    service.form("/oauth2/token", {"grant_type": "client_credentials"}, auth=(client_id, planted["basic"]))
    credential = {"client_id": client_id, "client_secret": planted["form"]}
    service.form("/oauth2/token", {"grant_type": "client_credentials", **credential})
    service.form("/oauth2/token", {"grant_type": "password", "username": "ann", "password": planted["form"]})
    service.post(f"/v1/schema/read?access_token={planted['query']}", {}, token=planted["bearer"])
    service.post(f"/nothing/{planted['query']}", {}, headers={"cookie": f"session={planted['cookie']}"})
    service.post("/v1/schema/write", {"schema": f"definition {planted['body']} {{"})
    service.post("/v1/relationships/write", {"client_secret": planted["body"], "updates": planted["body"]})
    service.post("/v1/schema/read", {}, headers={"authorization": f"Digest {planted['bearer']}"})
    service.stop()

    output = service.stderr + service.stdout.replace(f"client_secret={secret}", "", 1)
    secrets = [*planted.values(), secret, basic, wrong_basic, access_token, access_token.split(".")[2], service.token]
    assert [value for value in secrets if value in output] == []
    assert len(service.log_lines()) >= 10


def test_database_password_is_nowhere_in_the_output(make_service: MakeService, postgres_url: str) -> None:
    """Neither when it is there nor when it is not."""
    url = postgres_url.replace("tessera@", "tessera:planted-password-51c0@")
    key = base64.b64encode(b"planted-key-bytes-of-32-in-all-!").decode()
    service = make_service({"TESSERA_DATABASE_URL": url, "TESSERA_KEY_ENCRYPTION_KEYS": key})
    service.start()
    service.write_schema()
    service.post("/v1/relationships/write", creation(["document:1#nothing@user:ann"]))
    service.stop()
    output = service.stderr + service.stdout
    assert "planted-password" not in output
    assert key not in output


def test_metrics_count_requests_by_route_and_never_by_id(shared_service: ServiceProcess) -> None:
    """A path of the caller's making makes no series of its own."""
    shared_service.post("/nothing/planted-path-81", {})
    shared_service.check("document:1#view@user:ann")
    text = shared_service.get("/metrics").text
    assert 'route="/v1/permissions/check"' in text
    assert "planted-path-81" not in text


def test_expected_refusals_are_no_errors_in_the_log(shared_service: ServiceProcess) -> None:
    """A caller's mistake is not an operator's alarm."""
    shared_service.post("/v1/permissions/check", b"[]")
    shared_service.post("/v1/schema/write", {"schema": "definition"})
    shared_service.post("/v1/schema/read", {}, token="wrong")
    httpx.get(f"{shared_service.url}/nothing", headers={"x-request-id": "expected-last"}, trust_env=False)
    assert _line(shared_service, "expected-last")["status"] == 404
    assert [json.dumps(line) for line in shared_service.log_lines() if line["level"] in {"error", "critical"}] == []
