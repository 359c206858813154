"""What may be used once: one contract for every store of it, and Redis restarted, emptied and gone (attack S5)."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from authn.clock import World
from authn.errors import BadConfiguration, StoreUnavailable
from authn.replay import DatabaseReplays, MadeTooEarly, ReplayStore
from authn.stores.connect import connect
from authn.stores.redis import RedisReplays
from tests.authn.forge import Key
from tests.authn.harness import Clock, running, token_proof
from tests.servers import Redis

WORLD = World()
KEY = b"k" * 24


@pytest.fixture(params=["sqlite", "postgres", "redis"])
async def replays(request: pytest.FixtureRequest) -> AsyncIterator[ReplayStore]:
    url = request.getfixturevalue(f"{request.param}_url")
    if request.param == "redis":
        redis = RedisReplays(url, WORLD, first_start=True)
        await redis.start()
        yield redis
        await redis.close()
        return
    store = await connect(url)
    await store.migrate()
    yield DatabaseReplays(store.database, WORLD.now_ms)
    await store.close()


async def use(replays: ReplayStore, key: bytes = KEY, *, made_ago_ms: int = 0, life_ms: int = 60_000) -> bool:
    now_ms = WORLD.now_ms()
    return await replays.consume(key, made_at_ms=now_ms - made_ago_ms, good_until_ms=now_ms + life_ms)


async def test_the_first_use_and_no_other(replays: ReplayStore) -> None:
    """Once yes, then no; another key is another thing, byte for byte."""
    assert await use(replays)
    assert not await use(replays)
    for other in (b"k" * 23 + b"l", b"K" * 24, b"\0" * 24, b"k" * 23 + b"\0", bytes(range(232, 256))):
        assert await use(replays, other)
        assert not await use(replays, other)


async def test_fifty_at_once(replays: ReplayStore) -> None:
    """Exactly one of them is the first."""
    outcomes = await asyncio.gather(*(use(replays) for _ in range(50)))
    assert outcomes.count(True) == 1


async def test_remembered_until_it_would_be_too_old(database_url: str) -> None:
    """And then forgotten, so that what was used does not fill the store."""
    clock = Clock()
    store = await connect(database_url)
    await store.migrate()
    replays = DatabaseReplays(store.database, lambda: clock.ms)

    async def consume(key: bytes) -> bool:
        return await replays.consume(key, made_at_ms=clock.ms, good_until_ms=clock.ms + 60_000)

    assert await consume(KEY)
    clock.advance(59)
    assert not await consume(KEY)
    clock.advance(121)
    assert await consume(b"other")
    assert await consume(KEY)
    await store.close()


# Redis.


@pytest.fixture
async def make_redis(own_redis: Redis) -> AsyncIterator[Callable[..., RedisReplays]]:
    made: list[RedisReplays] = []

    def make(*, first_start: bool = False) -> RedisReplays:
        made.append(RedisReplays(own_redis.url, WORLD, first_start=first_start))
        return made[-1]

    yield make
    for each in made:
        await each.close()


MakeRedis = Callable[..., RedisReplays]


async def test_a_redis_that_nobody_knows_yet(make_redis: MakeRedis) -> None:
    """What was made before we first saw it may have been used; on an installation's first start nothing was."""
    late = make_redis()
    with pytest.raises(MadeTooEarly):
        await use(late)
    assert await use(late, made_ago_ms=-2_000, key=b"later")
    with pytest.raises(MadeTooEarly):
        await use(make_redis(first_start=True), made_ago_ms=100)


async def test_a_first_start(make_redis: MakeRedis) -> None:
    """Then even what is old counts, and for every process that comes after."""
    assert await use(make_redis(first_start=True), made_ago_ms=50_000)
    assert await use(make_redis(), b"other", made_ago_ms=50_000)
    assert not await use(make_redis(), made_ago_ms=50_000)


async def test_s5_redis_restarts(make_redis: MakeRedis, own_redis: Redis) -> None:
    """It forgot, so what was made before is refused, in a process that goes on as in one that starts."""
    before = make_redis(first_start=True)
    assert await use(before)
    await asyncio.to_thread(own_redis.stop)
    with pytest.raises(StoreUnavailable):
        await use(before, b"meanwhile")
    await asyncio.to_thread(own_redis.start)
    for process in (before, make_redis()):
        with pytest.raises(MadeTooEarly):
            await use(process)
    assert await use(before, b"new", made_ago_ms=-3_000)
    assert not await use(make_redis(), b"new", made_ago_ms=-3_000)


async def test_s5_redis_is_emptied(make_redis: MakeRedis, own_redis: Redis) -> None:
    """Under a connection that never broke."""
    replays = make_redis(first_start=True)
    assert await use(replays)
    await asyncio.to_thread(own_redis.flush)
    for _ in range(2):
        with pytest.raises(MadeTooEarly):
            await use(replays)
    assert await use(replays, b"new", made_ago_ms=-3_000)


async def test_s5_an_old_snapshot(make_redis: MakeRedis) -> None:
    """A server that comes back with the mark of another run has missed what came after its snapshot."""
    replays = make_redis(first_start=True)
    assert await use(replays, made_ago_ms=1_000)
    await replays._client.set("tessera:authn:used:complete-since", "another-run 0")
    restored = make_redis()
    await restored.start()
    with pytest.raises(MadeTooEarly):
        await use(restored, b"other", made_ago_ms=1_000)


async def test_a_redis_that_evicts_is_not_used(make_redis: MakeRedis) -> None:
    """It forgets when it is full; ``noeviction`` refuses instead."""
    replays = make_redis(first_start=True)
    await replays.start()
    await replays._client.config_set("maxmemory", "100mb")
    for policy in ("allkeys-lru", "volatile-ttl"):
        await replays._client.config_set("maxmemory-policy", policy)
        with pytest.raises(BadConfiguration):
            await make_redis().start()
    await replays._client.config_set("maxmemory-policy", "noeviction")
    await make_redis().start()


async def test_instead_of_an_evicting_redis_the_database_is_used(own_redis: Redis, sqlite_url: str) -> None:
    """Proofs are still used once."""
    client = RedisReplays(own_redis.url, WORLD)
    await client._client.config_set("maxmemory", "100mb")
    await client._client.config_set("maxmemory-policy", "allkeys-lru")
    async with running(sqlite_url, redis_url=own_redis.url) as identity:
        assert isinstance(identity.authn.replays, DatabaseReplays)
        registered = await identity.client()
        proof = token_proof(Key())
        assert (await identity.token(registered, dpop=proof)).status == 200
        assert (await identity.token(registered, dpop=proof)).error == "invalid_dpop_proof"
    await client.close()


async def test_s5_tokens_while_redis_is_down(own_redis: Redis, sqlite_url: str) -> None:
    """What needs the store is refused with 503; what does not goes on; afterwards a nonce helps at once."""
    key = Key()
    async with running(sqlite_url, redis_url=own_redis.url) as identity:
        client = await identity.client()
        assert (await identity.token(client, dpop=token_proof(key))).status == 200
        await asyncio.to_thread(own_redis.stop)
        for _ in range(2):
            refused = await identity.token(client, dpop=token_proof(key))
            assert (refused.status, refused.error) == (503, "temporarily_unavailable")
        plain = await identity.token(client)
        assert plain.status == 200
        assert (await identity.introspect(client, plain.json["access_token"]))["active"] is True
        await asyncio.to_thread(own_redis.start)
        refused = await identity.token(client, dpop=token_proof(key))
        assert (refused.status, refused.error) == (400, "use_dpop_nonce")
        await asyncio.sleep(1.1)
        again = await identity.token(client, dpop=token_proof(key))
        nonce = again.headers["dpop-nonce"]
        assert (await identity.token(client, dpop=token_proof(key, nonce=nonce))).status == 200


async def test_starting_without_redis(sqlite_url: str) -> None:
    """The service starts, refuses what it cannot judge, and issues what it can."""
    async with running(sqlite_url, redis_url="redis://127.0.0.1:1") as identity:
        client = await identity.client()
        assert (await identity.token(client)).status == 200
        assert (await identity.token(client, dpop=token_proof(Key()))).status == 503
