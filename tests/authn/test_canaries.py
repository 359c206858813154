"""Planted secrets and tokens over a whole run appear nowhere in clear: logs, metrics, answers, database, Redis (S1).

A service is used by every kind of client, well and badly, with values that would be recognised anywhere. Then every
trace it left is searched for them, as they are and as they would look encoded.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import asyncpg
import httpx
import pytest
import redis

from tests.authn.forge import Key, assertion, malleated, proof
from tests.end_to_end.service import ServiceProcess, encryption_key, run_tessera

KEY, OTHER = Key(), Key()
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SECRET = "canary-secret-7f3a9b1c5d"
WRONG = "canary-wrong-0e8d7c6b5a"
CLIENTS: list[dict[str, Any]] = [
    {"client_id": "svc", "client_secret": SECRET, "grant_types": ["client_credentials", "refresh_token", EXCHANGE]},
    {"client_id": "opaque", "client_secret": SECRET, "access_token_format": "opaque"},
    {"client_id": "signed", "jwks": {"keys": [KEY.jwk]}},
    {"client_id": "bot", "token_endpoint_auth_method": "none", "dpop_jkts": [KEY.jkt]},
]


@pytest.fixture(params=["sqlite", "postgres and redis"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service on each kind of store."""
    settings = {"TESSERA_LOG_LEVEL": "debug"}
    if request.param != "sqlite":
        settings["TESSERA_DATABASE_URL"] = request.getfixturevalue("postgres_url")
        settings["TESSERA_REDIS_URL"] = request.getfixturevalue("redis_url")
        settings["TESSERA_KEY_ENCRYPTION_KEYS"] = encryption_key()
    with ServiceProcess(tmp_path, settings) as service:
        service.start()
        file = tmp_path / "clients.json"
        file.write_text(json.dumps([{"scope": "permissions:check admin", **client} for client in CLIENTS]))
        made = run_tessera("client", "create", "--file", str(file), settings=service.settings, folder=tmp_path)
        assert made.returncode == 0, made.stderr
        file.unlink()
        yield service


class Run:
    """Uses the service in every way, and keeps what must not be found."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self.http = httpx.Client(base_url=service.url, timeout=20, trust_env=False)
        self.planted: set[str] = {SECRET, WRONG, service.token, service.admin_credential()[1]}
        self.bodies: list[str] = []

    def ask(self, path: str, form: dict[str, str], *, secret: bool = True, **options: Any) -> dict[str, Any]:
        """Send a form; what it answers is searched too, but for the tokens that it is meant to give."""
        auth: Any = (form.pop("client", "svc"), SECRET) if secret else None
        answer = self.http.post(path, data=form, auth=auth, **options)
        members: dict[str, Any] = answer.json() if answer.content else {}
        tokens = {members.pop(name) for name in ("access_token", "refresh_token") if name in members}
        self.planted |= tokens
        self.bodies.append(json.dumps(members))
        return {**members, "tokens": sorted(tokens)}

    def token(self, **form: str) -> str:
        """A token by client credentials."""
        token: str = self.ask("/oauth2/token", {"grant_type": "client_credentials", **form})["tokens"][0]
        return token

    def plant(self, text: str) -> str:
        """A text to look for."""
        self.planted.add(text)
        return text

    def use(self) -> None:
        """Everything, well and badly."""
        url = f"{self.service.url}/oauth2/token"
        grant = {"grant_type": "client_credentials"}
        for client in ("svc", "opaque"):
            token = self.token(client=client)
            for path in ("/oauth2/introspect", "/oauth2/revoke", "/oauth2/introspect"):
                self.ask(path, {"token": token})
            self.api(f"Bearer {token}")
        for signer in (KEY, OTHER):
            text = self.plant(assertion(signer, "signed", self.service.url))
            for _ in range(2):
                signed = {**grant, "client_assertion": text, "client_assertion_type": ASSERTION_TYPE}
                self.ask("/oauth2/token", signed, secret=False)
            dpop = self.plant(proof(signer, "POST", url))
            for _ in range(2):
                self.ask("/oauth2/token", {**grant, "client_id": "bot"}, secret=False, headers={"dpop": dpop})
        self.families()
        self.refusals(url)

    def families(self) -> None:
        """Refresh tokens: renewed, used again, revoked."""
        own = {"subject_token": self.token(), "subject_token_type": ACCESS_TOKEN, "grant_type": EXCHANGE}
        first = self.ask("/oauth2/token", {**own, "requested_token_type": REFRESH_TOKEN})["tokens"][0]
        for _ in range(2):
            self.ask("/oauth2/token", {"grant_type": "refresh_token", "refresh_token": first})
        self.ask("/oauth2/introspect", {"token": first})
        self.ask("/oauth2/revoke", {"token": first})
        self.ask("/oauth2/token", {"grant_type": "refresh_token", "refresh_token": first})

    def refusals(self, url: str) -> None:
        """Secrets where they do not belong."""
        token = self.token()
        bound = self.ask(
            "/oauth2/token", {"grant_type": "client_credentials"}, headers={"dpop": proof(KEY, "POST", url)}
        )
        for authorization in (
            f"Bearer {self.plant(malleated(token))}",
            f"Bearer {bound['tokens'][0]}",
            f"DPoP {bound['tokens'][0]}",
            f"Basic {base64.b64encode(f'svc:{WRONG}'.encode()).decode()}",
            f"Bearer {self.plant('canary-not-a-token-11223344')}",
            token,
        ):
            self.api(authorization)
            self.http.post("/oauth2/introspect", data={"token": token}, headers={"authorization": authorization})
        for form in (
            {"client_id": "svc", "client_secret": WRONG, "grant_type": "client_credentials"},
            {"client_id": "svc", "client_secret": SECRET, "grant_type": WRONG},
            {"client_id": "svc", "client_secret": SECRET, "grant_type": "client_credentials", "scope": WRONG},
            {"client_id": "svc", "client_secret": SECRET, "grant_type": "client_credentials", "resource": WRONG},
            {"client_id": "svc", "client_secret": SECRET, "grant_type": "refresh_token", "refresh_token": WRONG},
            {"client_assertion": WRONG, "client_assertion_type": ASSERTION_TYPE},
            {"client_id": "svc", "client_secret": SECRET, "authorization_details": WRONG,
             "grant_type": "client_credentials"},
            {"client_id": "svc", "client_secret": SECRET, "grant_type": EXCHANGE, "subject_token": WRONG,
             "subject_token_type": WRONG},
        ):  # fmt: skip
            self.ask("/oauth2/token", form, secret=False)
        self.http.post(f"/oauth2/token?client_secret={WRONG}&access_token={token}")
        self.http.get("/admin/clients", params={"access_token": token})
        admin = {"authorization": f"Bearer {token}"}
        made = self.http.post("/admin/clients", json={"client_id": "made", "client_secret": SECRET}, headers=admin)
        assert made.status_code == 201
        self.planted.add(self.http.post("/admin/clients/made/secret", headers=admin).json()["client_secret"])
        self.http.post("/admin/clients", json={"client_secret": WRONG, "grant_types": ["x"]}, headers=admin)
        self.http.post("/admin/revocations", json={"token": token}, headers=admin)
        self.bodies.append(self.http.get("/admin/clients", headers=admin).text)

    def api(self, authorization: str) -> None:
        """Ask our own API something."""
        answer = self.http.post("/v1/permissions/check", json={}, headers={"authorization": authorization})
        self.bodies.append(answer.text + str(answer.headers))


def _database(service: ServiceProcess) -> bytes:
    """Everything that the database holds."""
    url = service.settings.get("TESSERA_DATABASE_URL")
    if url is None:
        return b"".join(file.read_bytes() for file in service.folder.glob("tessera.db*"))
    return asyncio.run(_dump(url))


async def _dump(url: str) -> bytes:
    """Every row of every table of a Postgres database, as text."""
    connection = await asyncpg.connect(url)
    tables = await connection.fetch("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    lines: list[str] = []
    for (table,) in tables:
        rows = await connection.fetch(f'SELECT t::text FROM "{table}" t')
        lines += [table, *(row[0] for row in rows)]
    await connection.close()
    return "\n".join(lines).encode()


def _redis(service: ServiceProcess) -> bytes:
    url = service.settings.get("TESSERA_REDIS_URL")
    if url is None:
        return b""
    with redis.Redis.from_url(url) as client:
        keys: list[bytes] = list(client.scan_iter())
        assert keys, "the proofs were not remembered there"
        return b"\n".join(key + b"=" + bytes(client.dump(key) or b"") for key in keys)


def _spellings(text: str) -> set[bytes]:
    """How a text may look in a trace."""
    data = text.encode()
    encoded = {base64.b64encode(data[offset:]).rstrip(b"=")[2:-2] for offset in range(3)}
    return {data, data.hex().encode(), json.dumps(text)[1:-1].encode(), quote_plus(text).encode()} | encoded


@pytest.mark.parametrize(
    "trace",
    [
        SECRET.encode(),
        b'{"why":"' + SECRET.encode() + b'"}',
        SECRET.encode().hex().encode(),
        base64.b64encode(b"svc:" + SECRET.encode()),
        base64.b64encode(b"x" + SECRET.encode() + b"yz"),
        base64.urlsafe_b64encode(b"xy" + SECRET.encode()),
    ],
    ids=["as it is", "in JSON", "in hexadecimals", "in a Basic header", "in base64", "in base64url"],
)
def test_the_search_finds(trace: bytes) -> None:
    """What it is meant to find."""
    assert any(spelling in b"before " + trace + b" after" for spelling in _spellings(SECRET))


def test_s1_nothing_is_left_in_clear(service: ServiceProcess) -> None:
    """Not in one place."""
    run = Run(service)
    with run.http:
        run.use()
    metrics = service.get("/metrics").text
    run.bodies.append(service.get("/openapi.json").text)
    held = _redis(service)
    service.stop()
    printed = service.stdout.replace(f"client_secret={service.admin_credential()[1]}", "")
    places = {
        "log": service.stderr.encode(),
        "output": printed.encode(),
        "metrics": metrics.encode(),
        "answers": "\n".join(run.bodies).encode(),
        "database": _database(service),
        "redis": held,
    }
    assert len(run.planted) > 20
    assert b"authn.token.issue.success" in places["log"]
    assert b"authn_clients" in places["database"]
    found = [
        (place, text[:12])
        for place, data in places.items()
        for text in run.planted
        for spelling in _spellings(text)
        if len(spelling) > 8 and spelling in data
    ]
    assert found == []
    audited = run_tessera("audit", "verify", settings=service.settings, folder=service.folder)
    assert audited.returncode == 0, audited.stderr
