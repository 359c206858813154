"""Keys in the database: one rotation for all processes, nothing in clear, and the way out when one is stolen."""

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authn.clock import World
from authn.envelope import Envelope, Sealed
from authn.errors import BadConfiguration, InvalidToken, KeyUnreadable
from authn.keys.keeper import KeyKeeper, KeyNotFound, NotRipe
from authn.keys.states import KeyRecord, KeyState, RotationPolicy
from authn.stores.connect import AuthnStore, connect
from authn.stores.statements import Work
from tests.authn.forge import header_of
from tests.authn.harness import KEK, Clock, running

POLICY = RotationPolicy(active_for_ms=3_600_000, token_lifetime_max_ms=600_000)
OTHER_KEK = b"fedcba9876543210fedcba9876543210"


def keeper(store: AuthnStore, world: World, *keks: bytes, algorithms: tuple[str, ...] = ("ES256",)) -> KeyKeeper:
    return KeyKeeper(store.database, Envelope(keks or (KEK,), world.random_bytes), algorithms, POLICY, world)


def states(keys: KeyKeeper) -> list[str]:
    return sorted(key.state.value for key in keys.ring.records)


def state_of(keys: KeyKeeper, kid: str) -> KeyState:
    return next(key.state for key in keys.ring.records if key.kid == kid)


async def test_a_life(database_url: str) -> None:
    """From the first start through a rotation to the end of the first key."""
    store, clock = await connect(database_url), Clock()
    await store.migrate()
    keys = keeper(store, clock.world())
    await keys.start()
    assert states(keys) == ["active", "next"]
    first = keys.ring.signer("ES256").key.kid
    clock.advance(3_599)
    assert not await keys.tick()
    clock.advance(1)
    assert await keys.tick()
    assert states(keys) == ["active", "next", "retiring"]
    assert keys.ring.signer("ES256").key.kid != first
    assert first in keys.ring.verifiers
    clock.advance(616)
    assert await keys.tick()
    assert state_of(keys, first) is KeyState.RETIRED
    assert first not in keys.ring.verifiers
    assert [key.kid for key in keys.ring.records if key.sealed is None] == []
    clock.advance(86_400)
    await keys.tick()
    assert state_of(keys, first) is KeyState.DESTROYED
    assert [key.kid for key in keys.ring.records if key.sealed is None] == [first]
    await store.close()


async def test_many_processes_rotate_once(database_url: str) -> None:
    """Eight that find the same step due take it once, and all sign with the same key afterwards."""
    stores = [await connect(database_url) for _ in range(8)]
    await stores[0].migrate()
    clock = Clock()
    keepers = [keeper(store, clock.world(), algorithms=("ES256", "EdDSA")) for store in stores]
    await asyncio.gather(*(each.start() for each in keepers))
    for each in keepers:
        await each.reload()
        assert states(each).count("active") == 2
    kids = [key.kid for key in keepers[0].ring.records]
    clock.advance(3_600)
    moves: list[tuple[str, KeyState]] = []
    for each in keepers:
        each.listen(lambda kid, to: moves.append((kid, to)))
    await asyncio.gather(*(each.tick() for each in keepers))
    assert sorted(to.value for _, to in moves) == sorted(["active", "retiring", "pending", "next"] * 2)
    signers = set()
    for each in keepers:
        await each.reload()
        signers.add(tuple(each.ring.signer(algorithm).key.kid for algorithm in ("ES256", "EdDSA")))
        assert states(each).count("active") == 2
        assert set(kids) < {key.kid for key in each.ring.records}
    assert len(signers) == 1
    for store in stores:
        await store.close()


@pytest.mark.parametrize("after", range(1, 10))
async def test_killed_at_any_step(sqlite_url: str, after: int) -> None:
    """A process that dies after some of its statements leaves nothing half done."""
    store, clock = await connect(sqlite_url), Clock()
    await store.migrate()
    keys = keeper(store, clock.world())
    await keys.start()
    clock.advance(3_600)

    def dying() -> Work[None]:
        spares = {"ES256": [_made(clock)]}
        work = keys._take_steps(spares, first_start=False)
        step = next(work)
        for _ in range(after):
            step = work.send((yield step))
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await store.database.run(dying())
    other = keeper(store, clock.world())
    await other.start()
    await other.tick()
    assert states(other) == ["active", "next", "retiring"]
    await store.close()


def _made(clock: Clock) -> KeyRecord:
    from authn.keys.ring import generate

    return generate("ES256", Envelope((KEK,), clock.world().random_bytes), clock.ms)


async def test_another_algorithm_waits_to_be_known(sqlite_url: str) -> None:
    """Added later, its first key is published before it signs."""
    store, clock = await connect(sqlite_url), Clock()
    await store.migrate()
    await keeper(store, clock.world()).start()
    keys = keeper(store, clock.world(), algorithms=("ES256", "EdDSA"))
    await keys.start()
    await keys.tick()
    assert keys.ring.algorithms == ("ES256",)
    clock.advance(600)
    await keys.tick()
    assert set(keys.ring.algorithms) == {"ES256", "EdDSA"}
    await store.close()


async def test_rotation_by_hand(sqlite_url: str) -> None:
    """At once where every verifier knows the next key; refused before, for all algorithms together."""
    store, clock = await connect(sqlite_url), Clock()
    await store.migrate()
    keys = keeper(store, clock.world())
    await keys.start()
    first = keys.ring.signer("ES256").key.kid
    with pytest.raises(NotRipe) as refused:
        await keys.rotate()
    assert refused.value.ripe_at_ms == clock.ms + 600_000
    assert keys.ring.signer("ES256").key.kid == first
    clock.advance(600)
    await keys.rotate()
    assert states(keys) == ["active", "next", "retiring"]
    with pytest.raises(NotRipe):
        await keys.rotate()
    await store.close()


async def test_emergency(database_url: str) -> None:
    """A stolen key: refused everywhere within a second, the waiting one signs, the key set forgets it."""
    async with running(database_url) as here, running(database_url) as there:
        client = await here.client()
        token = (await here.token(client)).json["access_token"]
        there.authn.verify_bearer(token)
        stolen = header_of(token)["kid"]
        standby = next(key.kid for key in here.authn.admin.signing_keys() if key.state is KeyState.NEXT)
        await here.authn.admin.compromise_key(stolen, "test")
        with pytest.raises(InvalidToken):
            here.authn.verify_bearer(token)
        assert await here.introspect(client, token) == {"active": False}
        assert header_of((await here.token(client)).json["access_token"])["kid"] == standby
        await asyncio.sleep(0.8)
        with pytest.raises(InvalidToken):
            there.authn.verify_bearer(token)
        for process in (here, there):
            jwks = (await process.ask("GET", "/oauth2/jwks")).json
            kids = [key["kid"] for key in jwks["keys"]]
            assert stolen not in kids
            assert standby in kids
            assert len(kids) == 2
            assert (await process.ask("GET", "/oauth2/jwks/compromised")).json == {"kids": [stolen]}
        assert header_of((await there.token(client)).json["access_token"])["kid"] == standby
        await here.authn.admin.compromise_key(stolen, "test")
        await here.authn.admin.compromise_key(standby, "test")
        fresh = (await here.token(client)).json["access_token"]
        assert header_of(fresh)["kid"] not in {stolen, standby}
        with pytest.raises(KeyNotFound):
            await here.authn.admin.compromise_key("no-such-key", "test")


async def test_key_set(sqlite_url: str) -> None:
    """Public members only, with id, use and algorithm; cacheable, with a tag that changes with the keys."""
    async with running(sqlite_url, signing_algorithms=("ES256", "EdDSA", "RS256")) as identity:
        reply = await identity.ask("GET", "/oauth2/jwks")
        assert reply.headers["content-type"] == "application/jwk-set+json"
        assert reply.headers["cache-control"] == "public, max-age=300, stale-while-revalidate=300"
        allowed = {"kty", "crv", "x", "y", "n", "e", "kid", "use", "alg"}
        assert len(reply.json["keys"]) == 6
        for jwk in reply.json["keys"]:
            assert set(jwk) <= allowed
            assert jwk["use"] == "sig"
        tag = reply.headers["etag"]
        for value, status in [(tag, 304), (f'W/{tag}, "x"', 304), ("*", 304), ('"x"', 200), ("", 200)]:
            again = await identity.ask("GET", "/oauth2/jwks", headers=[("if-none-match", value)])
            assert (again.status, bool(again.body)) == (status, status == 200)
        await identity.authn.admin.compromise_key(reply.json["keys"][0]["kid"], "test")
        changed = await identity.ask("GET", "/oauth2/jwks", headers=[("if-none-match", tag)])
        assert changed.status == 200
        assert (await identity.ask("POST", "/oauth2/jwks")).status == 405


async def test_nothing_is_in_clear(sqlite_url: str) -> None:
    """Private keys and shared secrets appear in the database file in no form that is usable."""
    async with running(sqlite_url, signing_algorithms=("ES256", "EdDSA")) as identity:
        await identity.token(await identity.client())
        secrets = [identity.authn.keys.secret(name) for name in ("dpop-nonce", "audit-chain")]
        for algorithm in ("ES256", "EdDSA"):
            private = identity.authn.keys.ring.signer(algorithm).key.private
            for encoding, form in [(Encoding.DER, PrivateFormat.PKCS8), (Encoding.PEM, PrivateFormat.PKCS8)]:
                secrets.append(private.private_bytes(encoding, form, NoEncryption())[40:])
            if isinstance(private, ec.EllipticCurvePrivateKey):
                secrets.append(private.private_numbers().private_value.to_bytes(32, "big"))
    data = await asyncio.to_thread(Path(sqlite_url.removeprefix("sqlite:///")).read_bytes)
    assert b"authn_signing_keys" in data
    assert not [secret for secret in secrets if secret in data or secret.hex().encode() in data]
    assert b"PRIVATE KEY" not in data


async def test_key_encryption_keys_are_rotated(sqlite_url: str) -> None:
    """With the new one first everything is wrapped anew; then the old one may go, and the new one may not."""
    async with running(sqlite_url) as identity:
        token = (await identity.token(await identity.client())).json["access_token"]
    async with running(sqlite_url, key_encryption_keys=(OTHER_KEK, KEK)) as identity:
        identity.authn.verify_bearer(token)
    async with running(sqlite_url, key_encryption_keys=(OTHER_KEK,)) as identity:
        identity.authn.verify_bearer(token)
    with pytest.raises(KeyUnreadable):
        async with running(sqlite_url, key_encryption_keys=(KEK,)):
            pass


SEALED = Envelope((KEK,), World().random_bytes)


def test_envelope_round_trip() -> None:
    """Opens with any of the keys, for the purpose it was sealed for."""
    sealed = SEALED.seal(b"secret", "purpose")
    both = Envelope((OTHER_KEK, KEK), World().random_bytes)
    assert both.open(sealed, "purpose") == b"secret"
    wrapped = both.rewrap(sealed, "purpose")
    assert wrapped.kek_id == both.newest
    assert Envelope((OTHER_KEK,), World().random_bytes).open(wrapped, "purpose") == b"secret"
    assert sealed.sealed == wrapped.sealed
    assert b"secret" not in sealed.sealed + sealed.wrapped_key


@pytest.mark.parametrize(
    ("sealed", "purpose"),
    [
        pytest.param(SEALED.seal(b"x", "a"), "b", id="moved to another purpose"),
        pytest.param(Envelope((OTHER_KEK,), World().random_bytes).seal(b"x", "a"), "a", id="another key"),
        pytest.param(Sealed(SEALED.newest, b"", SEALED.seal(b"x", "a").sealed), "a", id="no data key"),
        pytest.param(
            Sealed(SEALED.newest, SEALED.seal(b"x", "a").wrapped_key, SEALED.seal(b"x", "a").sealed),
            "a",
            id="another's data key",
        ),
        pytest.param(Sealed(SEALED.newest, SEALED.seal(b"x", "a").wrapped_key, b"short"), "a", id="cut"),
    ],
)
def test_envelope_refuses(sealed: Sealed, purpose: str) -> None:
    """What was altered, moved, or sealed by another."""
    with pytest.raises(KeyUnreadable):
        SEALED.open(sealed, purpose)


@pytest.mark.parametrize("keys", [(), (b"short",), (KEK, b"x" * 31), (b"x" * 33,)])
def test_key_encryption_keys_must_be_good(keys: tuple[bytes, ...]) -> None:
    """None, or one of another length: nothing starts."""
    with pytest.raises(BadConfiguration):
        Envelope(keys, World().random_bytes)
