"""What must happen once, tried by fifty at once over two processes with slow stores (attacks O8, O9, D19)."""

import asyncio
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import pytest
import redis
from sqlalchemy import bindparam, func, select

from authn.rights import NoRights
from authn.stores.statements import Statement, Work
from authn.stores.tables import refresh_tokens
from authn.tokens.refresh import GrantStart
from tests.authn.forge import Key, assertion, claims_of
from tests.authn.harness import ISSUER, Identity, basic, running, token_proof
from tests.servers import Postgres, free_port

KEY = Key()
AT_ONCE = 50
_COUNT = Statement(
    lambda _: select(func.count()).select_from(refresh_tokens).where(refresh_tokens.c.grant_id == bindparam("id"))
)
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Everybody(NoRights):
    async def is_active(self, subject: str) -> bool:
        return True


@contextmanager
def slow_process(database_url: str, redis_url: str | None) -> Iterator[int]:
    """A process serving; gives its port."""
    port = free_port()
    more = ["--redis-url", redis_url] if redis_url else []
    command = [sys.executable, "-m", "tests.authn.slow_process", database_url, str(port), *more]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx.get(f"http://127.0.0.1:{port}/oauth2/jwks").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the process does not answer")


@dataclass
class Pair:
    """Two processes on one database, and an identity part of the test's own on it to prepare and to look."""

    identity: Identity
    ports: tuple[int, int]
    http: httpx.AsyncClient

    async def at_once(self, form: dict[str, str], headers: dict[str, str]) -> list[httpx.Response]:
        """The same request fifty times, half to each."""
        return await asyncio.gather(
            *(
                self.http.post(f"http://127.0.0.1:{self.ports[n % 2]}/oauth2/token", data=form, headers=headers)
                for n in range(AT_ONCE)
            )
        )


@dataclass(frozen=True)
class Processes:
    """Two processes, and what they share."""

    database_url: str
    redis_url: str | None
    ports: tuple[int, int]


@pytest.fixture(scope="module", params=["sqlite", "postgres", "postgres and redis"])
def processes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Started once for all tests here, on each kind of store."""
    redis_url = None
    url = f"sqlite:///{tmp_path_factory.mktemp('at-once')}/db"
    if request.param != "sqlite":
        server: Postgres = request.getfixturevalue("shared_postgres")
        name = f"at_once_{secrets.token_hex(6)}"
        server.execute(f"CREATE DATABASE {name}")
        url = server.url(name)
    if "redis" in request.param:
        redis_url = request.getfixturevalue("shared_redis_url")
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
    asyncio.run(_prepare(url, redis_url))
    with ExitStack() as stack:
        yield Processes(url, redis_url, _both([stack.enter_context(slow_process(url, redis_url)) for _ in range(2)]))


def _both(ports: list[int]) -> tuple[int, int]:
    for port in ports:
        _wait_for(port)
    return ports[0], ports[1]


async def _prepare(url: str, redis_url: str | None) -> None:
    async with running(url, redis_url=redis_url):
        pass


@pytest.fixture
async def pair(processes: Processes) -> AsyncIterator[Pair]:
    async with running(processes.database_url, rights=Everybody(), redis_url=processes.redis_url) as identity:
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        async with httpx.AsyncClient(limits=limits, timeout=30) as http:
            yield Pair(identity, processes.ports, http)


async def test_once(pair: Pair) -> None:
    """D19 a proof, O8 an assertion: one success and forty-nine refusals."""
    identity = pair.identity
    await identity.client(client_id="svc", client_secret="s" * 32)
    await identity.client(client_id="k", jwks={"keys": [KEY.jwk]})
    form = {"grant_type": "client_credentials"}
    auth = {"authorization": basic("svc", "s" * 32)}
    proofs = await pair.at_once(form, {**auth, "dpop": token_proof(KEY)})
    assert Counter(reply.status_code for reply in proofs) == {200: 1, 400: AT_ONCE - 1}
    assert {reply.json()["error"] for reply in proofs if reply.status_code == 400} == {"invalid_dpop_proof"}
    text = assertion(KEY, "k", ISSUER)
    signed = {**form, "client_assertion": text, "client_assertion_type": ASSERTION_TYPE}
    assertions = await pair.at_once(signed, {})
    assert Counter(reply.status_code for reply in assertions) == {200: 1, 401: AT_ONCE - 1}


async def test_o9_refresh(pair: Pair) -> None:
    """The same client with the same key: one successor, which all fifty receive; it works, and once."""
    identity = pair.identity
    client = await identity.client(client_id="c0", client_secret="s" * 32, grant_types=["refresh_token"])
    _, token = await identity.authn.begin_grant(
        GrantStart(client=client.client, subject=client.client.subject, scopes=("a",), audience=ISSUER)
    )
    form = {"grant_type": "refresh_token", "refresh_token": token}
    replies = await pair.at_once(form, {"authorization": basic("c0", "s" * 32)})
    assert {reply.status_code for reply in replies} == {200}
    answers = {reply.text for reply in replies}
    assert len(answers) == 1
    rows = await identity.store.database.run(_tokens_of(claims_of(replies[0].json()["access_token"])["grant_id"]))
    assert rows == 2
    next_form = {"grant_type": "refresh_token", "refresh_token": replies[0].json()["refresh_token"]}
    again = await pair.at_once(next_form, {"authorization": basic("c0", "s" * 32)})
    assert len({reply.text for reply in again if reply.status_code == 200}) == 1


async def test_o9_refresh_by_another_key(pair: Pair) -> None:
    """Among fifty with other keys the owner's family ends: nobody has a token that is good."""
    identity = pair.identity
    client = await identity.client(client_id="c1", client_secret="s" * 32, grant_types=["refresh_token"])
    _, token = await identity.authn.begin_grant(
        GrantStart(client=client.client, subject=client.client.subject, scopes=("a",), audience=ISSUER, jkt=KEY.jkt)
    )
    form = {"grant_type": "refresh_token", "refresh_token": token}
    auth = {"authorization": basic("c1", "s" * 32)}
    url = f"http://127.0.0.1:{pair.ports[0]}/oauth2/token"
    first = await pair.http.post(url, data=form, headers={**auth, "dpop": token_proof(KEY)})
    assert first.status_code == 200
    thieves = await asyncio.gather(
        *(
            pair.http.post(
                f"http://127.0.0.1:{pair.ports[n % 2]}/oauth2/token",
                data=form,
                headers={**auth, "dpop": token_proof(Key())},
            )
            for n in range(AT_ONCE)
        )
    )
    assert {reply.json()["error"] for reply in thieves} == {"invalid_grant"}
    following = {"grant_type": "refresh_token", "refresh_token": first.json()["refresh_token"]}
    ended = await pair.http.post(url, data=following, headers={**auth, "dpop": token_proof(KEY)})
    assert ended.json()["error"] == "invalid_grant"
    await identity.authn.feed.poll()
    assert await identity.introspect(client, first.json()["access_token"]) == {"active": False}


async def test_o9_refresh_during_revoke(pair: Pair) -> None:
    """Renewing and revoking at once: whatever was handed out is worth nothing when the dust has settled."""
    identity = pair.identity
    client = await identity.client(client_id="c2", client_secret="s" * 32, grant_types=["refresh_token"])
    auth = {"authorization": basic("c2", "s" * 32)}
    for _ in range(3):
        _, token = await identity.authn.begin_grant(
            GrantStart(client=client.client, subject=client.client.subject, scopes=("a",), audience=ISSUER)
        )
        refresh = {"grant_type": "refresh_token", "refresh_token": token}
        base = [f"http://127.0.0.1:{port}/oauth2/" for port in pair.ports]
        replies = await asyncio.gather(
            *(
                pair.http.post(base[n % 2] + "token", data=refresh, headers=auth)
                if n % 5
                else pair.http.post(base[n % 2] + "revoke", data={"token": token}, headers=auth)
                for n in range(AT_ONCE)
            )
        )
        await identity.authn.feed.poll()
        for reply in replies:
            if reply.status_code == 200 and reply.content:
                assert await identity.introspect(client, reply.json()["access_token"]) == {"active": False}
                assert await identity.introspect(client, reply.json()["refresh_token"]) == {"active": False}
        late = await pair.http.post(base[0] + "token", data=refresh, headers=auth)
        assert late.json()["error"] == "invalid_grant"


def _tokens_of(grant_id: str) -> Work[int]:
    rows = yield _COUNT, {"id": grant_id}
    return int(rows[0][0])
