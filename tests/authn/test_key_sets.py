"""Key sets of clients: not fetched from where we must not look, and not too often (J15, S4)."""

import asyncio
import datetime
import ipaddress
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from authn.clients.https import BYTES_MAX, GuardedBackend, HttpsFetch
from authn.clients.key_sets import KeySets, KeySetUnavailable, read_key_set
from authn.errors import BadMetadata
from authn.jose import Jws, parse
from tests.authn.forge import Key, assertion, jws
from tests.authn.harness import ISSUER, Clock, running

URL = "https://client.example/jwks"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


def key_set(*keys: tuple[str, Key]) -> bytes:
    return json.dumps({"keys": [{**key.jwk, "kid": kid} for kid, key in keys]}).encode()


class Publisher:
    """What a client publishes, and how often it was asked."""

    def __init__(self) -> None:
        self.body: bytes | Exception = b"{}"
        self.asked = 0

    async def __call__(self, url: str) -> bytes:
        assert url == URL
        self.asked += 1
        if isinstance(self.body, Exception):
            raise self.body
        return self.body


def signed_by(kid: str | None) -> Jws:
    return parse(jws({"alg": "ES256", **({"kid": kid} if kid else {})}, {}, Key()))


async def test_a_client_rotates_its_keys() -> None:
    """A new key id is looked up, and the old one is gone."""
    publisher, clock = Publisher(), Clock()
    old, new = Key(), Key()
    publisher.body = key_set(("old", old))
    async with running(clock=clock, fetch=publisher) as identity:
        await identity.client(client_id="k", jwks_uri=URL)

        async def by(key: Key, kid: str) -> int:
            await identity.authn.feed.poll()
            text = assertion(key, "k", ISSUER, header={"kid": kid}, iat=clock.s, exp=clock.s + 60)
            form = {"grant_type": "client_credentials", "client_assertion": text}
            reply = await identity.post("/oauth2/token", {**form, "client_assertion_type": ASSERTION_TYPE})
            return reply.status

        assert await by(old, "old") == 200
        assert await by(old, "old") == 200
        assert publisher.asked == 1
        publisher.body = key_set(("new", new))
        assert await by(new, "new") == 401
        clock.advance(60)
        assert await by(new, "new") == 200
        assert publisher.asked == 2
        assert await by(old, "old") == 401


async def test_j15_a_flood_of_unknown_key_ids() -> None:
    """Asks once a minute, whatever comes, and however many at once."""
    publisher, clock = Publisher(), Clock()
    publisher.body = key_set(("a", Key()))
    sets = KeySets(publisher, clock.world())
    await asyncio.gather(*(sets.keys_for(URL, signed_by(f"x{n}")) for n in range(50)))
    assert publisher.asked == 1
    clock.advance(59)
    await asyncio.gather(*(sets.keys_for(URL, signed_by(f"y{n}")) for n in range(50)))
    assert publisher.asked == 1
    clock.advance(1)
    await asyncio.gather(*(sets.keys_for(URL, signed_by(f"z{n}")) for n in range(50)))
    assert publisher.asked == 2


async def test_an_outage_of_the_client() -> None:
    """The set that is kept goes on being used for a while, and then no more."""
    publisher, clock = Publisher(), Clock()
    publisher.body = key_set(("a", Key()))
    sets = KeySets(publisher, clock.world())
    assert len(await sets.keys_for(URL, signed_by("a"))) == 1
    publisher.body = KeySetUnavailable("down")
    clock.advance(601)
    assert len(await sets.keys_for(URL, signed_by("a"))) == 1
    assert publisher.asked == 2
    clock.advance(61)
    assert len(await sets.keys_for(URL, signed_by("a"))) == 1
    clock.advance(600)
    with pytest.raises(KeySetUnavailable):
        await sets.keys_for(URL, signed_by("a"))


async def test_a_client_that_was_never_there() -> None:
    """Is refused, and not asked for again at once."""
    publisher, clock = Publisher(), Clock()
    publisher.body = KeySetUnavailable("down")
    sets = KeySets(publisher, clock.world())
    with pytest.raises(KeySetUnavailable):
        await sets.keys_for(URL, signed_by("a"))
    assert await sets.keys_for(URL, signed_by("a")) == ()
    assert publisher.asked == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[],"keys":[]}', b'{"keys":' + b"[" * 2000],
    ids=["empty", "text", "list", "no keys", "object", "repeated", "deep"],
)
def test_refuses_sets(body: bytes) -> None:
    """What is no key set."""
    with pytest.raises(KeySetUnavailable):
        read_key_set(body)


def test_passes_over_keys_that_are_of_no_use() -> None:
    """Other kinds and bad ones, as RFC 7517 asks; but not very many."""
    good = Key()
    keys = [{"kty": "oct", "k": "AA"}, 1, None, {**good.jwk, "use": "enc"}, good.private_jwk, good.jwk]
    (found,) = read_key_set(json.dumps({"keys": keys}).encode())
    assert found.public == good.private.public_key()
    with pytest.raises(KeySetUnavailable):
        read_key_set(json.dumps({"keys": [good.jwk] * 17}).encode())


@pytest.mark.parametrize(
    "uri",
    [
        "http://client.example/jwks",
        "https://ann@client.example/jwks",
        "https:///jwks",
        "file:///etc/passwd",
        "ftp://client.example/jwks",
        "//client.example/jwks",
        "https://client.example/jwks#x",
        "https://client.example/ jwks",
        "gopher://client.example/",
        "",
        7,
    ],
)
async def test_s4_addresses_that_cannot_be_registered(uri: Any) -> None:
    """Only https, and no tricks."""
    async with running() as identity:
        with pytest.raises(BadMetadata, match="jwks_uri"):
            await identity.client(jwks_uri=uri)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "2001:db8::1",
        "not-an-address",
        "",
    ],
)
def test_s4_addresses_that_are_not_asked(address: str) -> None:
    """This machine, private networks, link-local (where clouds keep credentials), and everything else not public."""
    assert not GuardedBackend().may_connect(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_are(address: str) -> None:
    """And networks that the operator named, of their own kind."""
    assert GuardedBackend().may_connect(address)
    named = GuardedBackend([ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")])
    assert named.may_connect("10.1.2.3")
    assert named.may_connect("fd12::1")
    assert not named.may_connect("10.2.0.1")


# Over a socket.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for ``localhost`` that only these tests trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    (folder / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return folder


Answer = Callable[[str], bytes]


@asynccontextmanager
async def https_server(certificates: Path, answer: Answer) -> AsyncIterator[tuple[int, list[str]]]:
    """A server of one answer; gives its port, and the paths that it was asked."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "server.pem")
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            asked.append(head.split(b" ")[1].decode())
            writer.write(answer(asked[-1]))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def trusting(certificates: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates / "ca.pem"))


async def test_fetches_over_https(certificates: Path) -> None:
    """Where the operator named the network."""
    body = key_set(("a", Key()))
    async with https_server(certificates, lambda _: http(body)) as (port, _):
        fetch = HttpsFetch([LOOPBACK], trusting(certificates))
        assert await fetch(f"https://localhost:{port}/jwks") == body


async def test_s4_nothing_is_sent_to_this_machine(certificates: Path) -> None:
    """Without that, by name or by number, not even a connection is made."""
    async with https_server(certificates, lambda _: http(b"{}")) as (port, asked):
        fetch = HttpsFetch((), trusting(certificates))
        for host in ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1"):
            with pytest.raises(KeySetUnavailable):
                await fetch(f"https://{host}:{port}/")
        assert asked == []


async def test_s4_a_name_that_resolves_differently_later(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was looked at is the one connected to: a second answer of the resolver changes nothing."""
    answers = iter(["93.184.215.14", "127.0.0.1"])
    connected: list[str] = []

    async def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), 443))]

    async def connect(self: Any, host: str, *_: Any, **__: Any) -> Any:
        connected.append(host)
        raise httpcore.ConnectError("stopped here")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(KeySetUnavailable):
        await HttpsFetch((), trusting(certificates))("https://rebind.example/jwks")
    assert connected == ["93.184.215.14"]


async def test_s4_the_connected_address_is_looked_at(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should something below connect elsewhere after all, nothing is sent."""
    closed: list[bool] = []

    class Elsewhere(httpcore.AsyncNetworkStream):
        def get_extra_info(self, info: str) -> Any:
            return ("10.0.0.1", 443)

        async def aclose(self) -> None:
            closed.append(True)

    async def connect(self: Any, *_: Any, **__: Any) -> Any:
        return Elsewhere()

    async def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(KeySetUnavailable):
        await HttpsFetch((), trusting(certificates))("https://client.example/jwks")
    assert closed == [True]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda _: http(b"", "302 Found", "location: https://localhost/other"), id="S4 redirect"),
        pytest.param(lambda _: http(b"{}", "404 Not Found"), id="not found"),
        pytest.param(lambda _: http(b"{}", "500 Error"), id="error"),
        pytest.param(lambda _: http(b"x" * (BYTES_MAX + 1)), id="too large"),
        pytest.param(lambda _: b"rubbish\r\n\r\n", id="no HTTP"),
        pytest.param(lambda _: b"", id="nothing"),
    ],
)
async def test_answers_that_are_none(certificates: Path, answer: Answer) -> None:
    """No redirect is followed, and nothing large is read."""
    async with https_server(certificates, answer) as (port, asked):
        fetch = HttpsFetch([LOOPBACK], trusting(certificates))
        with pytest.raises(KeySetUnavailable):
            await fetch(f"https://localhost:{port}/jwks")
        assert asked == ["/jwks"]


async def test_certificates_are_checked(certificates: Path) -> None:
    """Whom the system does not trust we do not, and a certificate is for its name."""
    async with https_server(certificates, lambda _: http(b"{}")) as (port, asked):
        with pytest.raises(KeySetUnavailable):
            await HttpsFetch([LOOPBACK])(f"https://localhost:{port}/")
        with pytest.raises(KeySetUnavailable):
            await HttpsFetch([LOOPBACK], trusting(certificates))(f"https://127.0.0.1:{port}/")
        assert asked == []


async def test_plain_http_is_not_spoken() -> None:
    """Whatever was registered."""
    with pytest.raises(KeySetUnavailable):
        await HttpsFetch([LOOPBACK])("http://localhost/jwks")


async def test_a_server_that_does_not_answer(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is given up."""
    monkeypatch.setattr("authn.clients.https.TIMEOUT_S", 0.2)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(KeySetUnavailable):
        await HttpsFetch([LOOPBACK], trusting(certificates))(f"https://localhost:{port}/")
    server.close()
