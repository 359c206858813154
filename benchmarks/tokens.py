"""Tokens a second: ``python -m benchmarks.tokens [--database-url URL] [--redis-url URL] [--requests N]``.

A service of its own is asked over kept-open connections; every answer is looked at. Two figures for each kind of
request: the rate seen from outside, which depends on what else the machine does, and the processor time that the
service's processes used for each, whose inverse is the rate that one core of it can do. The first lines are the
floor: one bare ES256 signature and one verification, without anything around them.

Proofs and assertions are signed beforehand, outside the measured time. Nothing here is random but the keys.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import psutil
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from benchmarks.connection import Answer, Connection, ConnectionFailed
from benchmarks.load_and_check import Target
from benchmarks.service import ServiceFailed, running_service

CONNECTIONS = 16
_FORM = {"content-type": "application/x-www-form-urlencoded"}
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name of the protocol
_REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"  # noqa: S105 - a name of the protocol
_SECRET = "benchmark-secret-0123456789"  # noqa: S105 - of clients that live as long as the run

Send = tuple[str, bytes, dict[str, str]]
"""Path, body, headers."""


class Wrong(Exception):
    """An answer that is not the one expected."""


class Signer:
    """A client's key."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        x, y = (_b64(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
        self.jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        self.jkt = _b64(hashlib.sha256(json.dumps(self.jwk, separators=(",", ":")).encode()).digest())

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """A compact JWS."""
        parts = (json.dumps(part, separators=(",", ":")).encode() for part in ({"alg": "ES256", **header}, claims))
        signing_input = ".".join(_b64(part) for part in parts)
        r, s = decode_dss_signature(self._key.sign(signing_input.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signing_input}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def proof(self, url: str) -> str:
        """A DPoP proof for a POST."""
        claims = {"jti": secrets.token_hex(12), "htm": "POST", "htu": url, "iat": int(time.time())}
        return self.sign({"typ": "dpop+jwt", "jwk": self.jwk}, claims)

    def assertion(self, client_id: str, issuer: str) -> str:
        """A client assertion."""
        now = int(time.time())
        names = {"iss": client_id, "sub": client_id, "aud": issuer, "jti": secrets.token_hex(12)}
        return self.sign({}, {**names, "iat": now, "exp": now + 250})


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def floor(count: int) -> Iterator[str]:
    """What the signatures alone cost here."""
    key = ec.generate_private_key(ec.SECP256R1())
    algorithm, data = ec.ECDSA(hashes.SHA256()), b"x" * 400
    signature, public = key.sign(data, algorithm), key.public_key()
    works: list[tuple[str, Callable[[], Any]]] = [
        ("a bare signature", lambda: key.sign(data, algorithm)),
        ("a bare verification", lambda: public.verify(signature, data, algorithm)),
    ]
    for name, work in works:
        began_s = time.process_time()
        for _ in range(count):
            work()
        yield f"{name:24} {(time.process_time() - began_s) / count * 1e6:8.1f} µs"


class Case(NamedTuple):
    """A kind of request: what each connection sends next, given the answer before, and what must come."""

    name: str
    bar: int
    senders: Sequence[Callable[[Answer | None], Send | None]]
    expected: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case."""

    name: str
    bar: int
    requests: int
    wall_s: float
    cpu_s: float

    def line(self) -> str:
        """A line of the report."""
        cpu_us = self.cpu_s / self.requests * 1e6
        per_core = self.requests / self.cpu_s
        verdict = "" if per_core >= self.bar else "  below the bar"
        return (
            f"{self.name:24} {cpu_us:8.1f} µs of a core each, {per_core:8.0f}/s a core (bar {self.bar}),"
            f" {self.requests / self.wall_s:8.0f}/s seen{verdict}"
        )


def _cpu_s() -> float:
    """Processor time of the service's processes so far."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        times = process.cpu_times()
        total += times.user + times.system
    return total


async def _drive(url: str, sender: Callable[[Answer | None], Send | None], expected: bytes) -> int:
    done = 0
    answer: Answer | None = None
    async with Connection(url) as connection:
        while (send := sender(answer)) is not None:
            answer = await connection.post(*send)
            if answer.status != 200 or expected not in answer.body:
                raise Wrong(f"`{send[0]}` gave {answer.status}: {answer.body[:200]!r}")
            done += 1
    return done


async def measure(url: str, case: Case) -> Result:
    """Run a case to its end."""
    cpu_s, began_s = _cpu_s(), time.perf_counter()
    counts = await asyncio.gather(*(_drive(url, sender, case.expected) for sender in case.senders))
    return Result(case.name, case.bar, sum(counts), time.perf_counter() - began_s, _cpu_s() - cpu_s)


def _fixed(sends: Sequence[Send]) -> list[Callable[[Answer | None], Send | None]]:
    """Requests known beforehand, dealt out to the connections."""

    def sender(mine: Iterator[Send]) -> Callable[[Answer | None], Send | None]:
        return lambda _: next(mine, None)

    return [sender(iter(sends[number::CONNECTIONS])) for number in range(CONNECTIONS)]


def _basic(client_id: str) -> dict[str, str]:
    pair = base64.b64encode(f"{client_id}:{_SECRET}".encode()).decode()
    return {**_FORM, "authorization": f"Basic {pair}"}


class Workload:
    """The cases, over clients that it registers."""

    def __init__(self, target: Target, requests: int) -> None:
        self._target = target
        self._requests = requests
        self._signer = Signer()

    async def register(self) -> None:
        """Make the clients."""
        clients: list[dict[str, Any]] = [
            {"client_id": "svc", "client_secret": _SECRET, "scope": "a b"},
            {"client_id": "signed", "jwks": {"keys": [self._signer.jwk]}},
            {"client_id": "bot", "token_endpoint_auth_method": "none", "dpop_jkts": [self._signer.jkt]},
            {
                "client_id": "family",
                "client_secret": _SECRET,
                "grant_types": ["client_credentials", "refresh_token", _EXCHANGE],
            },
        ]
        headers = {"authorization": f"Bearer {self._target.token}"}
        async with Connection(self._target.url) as connection:
            answer = await connection.post("/admin/clients", json.dumps(clients).encode(), headers)
        if answer.status != 201:
            raise Wrong(f"the clients were not registered: {answer.body!r}")

    async def ask(self, form: dict[str, str], client_id: str) -> str:
        """One token."""
        async with Connection(self._target.url) as connection:
            answer = await connection.post("/oauth2/token", urlencode(form).encode(), _basic(client_id))
        if answer.status != 200:
            raise Wrong(answer.body.decode())
        token: str = json.loads(answer.body)["access_token"]
        return token

    def client_credentials(self) -> Case:
        """By a secret in the header, ES256."""
        send = ("/oauth2/token", b"grant_type=client_credentials", _basic("svc"))
        return Case("client credentials", 4_000, _fixed([send] * self._requests), b"access_token")

    def private_key_jwt(self) -> Case:
        """By an assertion, used once."""

        def send() -> Send:
            form = {
                "grant_type": "client_credentials",
                "client_assertion": self._signer.assertion("signed", self._target.url),
                "client_assertion_type": _ASSERTION_TYPE,
            }
            return "/oauth2/token", urlencode(form).encode(), _FORM

        return Case("private_key_jwt", 1_500, _fixed([send() for _ in range(self._requests)]), b"access_token")

    def dpop(self) -> Case:
        """By a registered key and a proof, used once; the token is bound to the key."""
        url, body = f"{self._target.url}/oauth2/token", b"grant_type=client_credentials&client_id=bot"
        sends = [("/oauth2/token", body, {**_FORM, "dpop": self._signer.proof(url)}) for _ in range(self._requests)]
        return Case("DPoP", 1_500, _fixed(sends), b'"DPoP"')

    async def refresh(self) -> Case:
        """A family for each connection, renewed again and again."""
        own = await self.ask({"grant_type": "client_credentials"}, "family")
        form = {"grant_type": _EXCHANGE, "subject_token": own, "subject_token_type": _ACCESS_TOKEN}
        firsts = [
            await self.ask({**form, "requested_token_type": _REFRESH_TOKEN}, "family") for _ in range(CONNECTIONS)
        ]

        def sender(first: str) -> Callable[[Answer | None], Send | None]:
            left = self._requests // CONNECTIONS

            def following(answer: Answer | None) -> Send | None:
                nonlocal left
                left -= 1
                if left < 0:
                    return None
                token = first if answer is None else json.loads(answer.body)["refresh_token"]
                body = urlencode({"grant_type": "refresh_token", "refresh_token": token}).encode()
                return "/oauth2/token", body, _basic("family")

            return following

        return Case("refresh rotation", 1_200, [sender(first) for first in firsts], b"refresh_token")

    async def introspection(self) -> Case:
        """Two hundred tokens, again and again."""
        tokens = [await self.ask({"grant_type": "client_credentials"}, "svc") for _ in range(200)]
        sends = [
            ("/oauth2/introspect", urlencode({"token": tokens[number % 200]}).encode(), _basic("svc"))
            for number in range(self._requests)
        ]
        return Case("introspection", 4_000, _fixed(sends), b'"active":true')


async def run(target: Target, requests: int) -> None:
    """Every case, printed as it ends."""
    workload = Workload(target, requests)
    await workload.register()
    await measure(target.url, workload.client_credentials())  # to warm up
    print((await measure(target.url, workload.client_credentials())).line())
    print((await measure(target.url, workload.private_key_jwt())).line())
    print((await measure(target.url, workload.dpop())).line())
    print((await measure(target.url, await workload.refresh())).line())
    print((await measure(target.url, await workload.introspection())).line())
    print((await measure_gets(target.url, "/oauth2/jwks", requests)).line())


async def measure_gets(url: str, path: str, requests: int) -> Result:
    """The key set, fetched again and again."""

    async def drive() -> int:
        done = 0
        async with Connection(url) as connection:
            for _ in range(requests // CONNECTIONS):
                answer = await connection.get(path)
                if answer.status != 200 or b'"keys"' not in answer.body:
                    raise Wrong(f"`{path}` gave {answer.status}")
                done += 1
        return done

    cpu_s, began_s = _cpu_s(), time.perf_counter()
    counts = await asyncio.gather(*(drive() for _ in range(CONNECTIONS)))
    return Result("JWKS", 15_000, sum(counts), time.perf_counter() - began_s, _cpu_s() - cpu_s)


def main() -> int:
    """Run; 0 when every answer was right."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokens", description=__doc__)
    parser.add_argument("--database-url", default="", help="an empty database; else an SQLite file of the run")
    parser.add_argument("--redis-url", default="")
    parser.add_argument("--requests", type=int, default=4_000, help="of each kind")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    print("\n".join(floor(2_000)))
    settings = {"TESSERA_WORKERS": str(given.workers)}
    with tempfile.TemporaryDirectory(prefix="tessera-benchmark-") as folder:
        settings["TESSERA_DATABASE_URL"] = given.database_url or f"sqlite:///{folder}/tessera.db"
        if given.database_url:
            settings["TESSERA_KEY_ENCRYPTION_KEYS"] = base64.b64encode(secrets.token_bytes(32)).decode()
        if given.redis_url:
            settings["TESSERA_REDIS_URL"] = given.redis_url
        try:
            with running_service(Path(folder), settings) as target:
                asyncio.run(run(target, given.requests))
        except (Wrong, ConnectionFailed, ServiceFailed) as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
