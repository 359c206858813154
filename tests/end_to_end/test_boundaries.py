"""The process' own edges over a real socket: bodies too large, requests cut short, callers without a right."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.end_to_end.service import ServiceProcess, creation

_BODY_BYTES_MAX = 4 * 1024 * 1024


def _talk(service: ServiceProcess, request: bytes) -> bytes:
    """Send bytes as they are, say no more, and read to the end."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def _blob(size: int) -> bytes:
    start, end = b'{"schema": "// ', b'"}'
    return start + b"x" * (size - len(start) - len(end)) + end


def test_body_at_the_limit_is_read(shared_service: ServiceProcess) -> None:
    """4 MiB, most of them blanks."""
    assert shared_service.post("/v1/schema/read", b"{}" + b" " * (_BODY_BYTES_MAX - 2)).status_code == 200


def test_body_above_the_limit_is_413(shared_service: ServiceProcess) -> None:
    """One byte more; the schema stays as it was."""
    before = shared_service.must("/v1/schema/read", {})["schemaText"]
    answer = shared_service.post("/v1/schema/write", _blob(_BODY_BYTES_MAX + 1))
    assert answer.status_code == 413
    assert answer.json()["code"] == 8
    assert f"larger than {_BODY_BYTES_MAX} bytes" in answer.json()["message"]
    assert shared_service.must("/v1/schema/read", {})["schemaText"] == before


def test_chunked_body_above_the_limit_is_413(shared_service: ServiceProcess) -> None:
    """No length was declared: it is counted as it comes."""

    def chunks() -> Iterator[bytes]:
        for _ in range(65):
            yield b" " * 65536

    headers = {"authorization": f"Bearer {shared_service.token}"}
    answer = httpx.post(f"{shared_service.url}/v1/schema/read", content=chunks(), headers=headers, trust_env=False)
    assert answer.status_code == 413


def test_declared_length_is_refused_before_the_body_comes(shared_service: ServiceProcess) -> None:
    """A gigabyte announced is not waited for."""
    head = f"POST /v1/schema/read HTTP/1.1\r\nhost: x\r\ncontent-length: {1 << 30}\r\n\r\n"
    assert b" 413 " in _talk(shared_service, head.encode()).split(b"\r\n")[0]


def test_request_cut_short_writes_nothing(shared_service: ServiceProcess) -> None:
    """Half a body is no request, even when the half is complete JSON."""
    body = b'{"updates": []}'
    head = (
        "POST /v1/relationships/write HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {shared_service.token}\r\ncontent-length: {len(body) + 10}\r\n\r\n"
    )
    before = shared_service.must("/v1/schema/read", {})["readAt"]
    assert b" 200 " not in _talk(shared_service, head.encode() + body)
    assert shared_service.must("/v1/schema/read", {})["readAt"] == before
    assert shared_service.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "request_line",
    [
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="version of the future"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"POST /v1/schema/read HTTP/1.1\r\ncontent-length: -1\r\n\r\n", id="negative length"),
        pytest.param(
            b"POST /v1/schema/read HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}", id="lengths"
        ),
    ],
)
def test_what_is_no_http_is_refused_and_survived(shared_service: ServiceProcess, request_line: bytes) -> None:
    """The connection ends; the process does not."""
    assert b" 200 " not in _talk(shared_service, request_line).split(b"\r\n")[0]
    assert shared_service.get("/healthz").status_code == 200


def test_token_without_the_scope_is_403_and_writes_nothing(shared_service: ServiceProcess) -> None:
    """A good credential without the right, told apart from no credential."""
    fields = {"grant_type": "client_credentials", "scope": "permissions:check"}
    answer = shared_service.form("/oauth2/token", fields, auth=shared_service.admin_credential())
    assert answer.status_code == 200, answer.text
    narrow = answer.json()["access_token"]
    request = creation(["document:scopes#viewer@user:ann"])
    assert shared_service.post("/v1/relationships/write", request, token=narrow).status_code == 403
    assert shared_service.check("document:scopes#view@user:ann").status_code == 200
    assert "document:scopes#viewer@user:ann" not in shared_service.read("document")
    unauthenticated = httpx.post(f"{shared_service.url}/v1/relationships/write", json=request, trust_env=False)
    assert unauthenticated.status_code == 401
    assert unauthenticated.headers["www-authenticate"].startswith("Bearer")
    assert "document:scopes#viewer@user:ann" not in shared_service.read("document")


def test_scope_that_the_client_lacks_is_refused(shared_service: ServiceProcess) -> None:
    """Asking for more than one has gives an error, not less."""
    fields = {"grant_type": "client_credentials", "scope": "permissions:check everything"}
    answer = shared_service.form("/oauth2/token", fields, auth=shared_service.admin_credential())
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
