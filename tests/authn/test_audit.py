"""The audit log: everything told once, in three places, and nothing taken back unnoticed."""

import asyncio
import json

import pytest
from prometheus_client import CollectorRegistry

from authn.audit import AuditLog, verify_audit
from authn.clock import World
from authn.errors import TemporarilyUnavailable
from authn.events import Event, EventName
from authn.metrics import AuthnMetrics
from authn.stores.connect import AuthnStore, connect
from tests.authn.harness import Clock, Identity, basic, running
from tests.authn.test_feed import Switch

KEY = b"a" * 32


def names(identity: Identity) -> list[str]:
    return [json.loads(line)["event"] for line in b"".join(identity.logs).splitlines()]


async def faults(store: AuthnStore, key: bytes = KEY) -> list[str]:
    return list((await verify_audit(store.database, key)).faults)


def chain(store: AuthnStore, world: World | None = None, lines: list[bytes] | None = None) -> AuditLog:
    log = (lines if lines is not None else []).append
    return AuditLog(store.database, KEY, world or World(), AuthnMetrics(CollectorRegistry()), log)


async def test_one_event_three_places(database_url: str) -> None:
    """A log line, a row, a count; with the facts, and without a secret."""
    registry = CollectorRegistry()
    async with running(database_url) as identity:
        client = await identity.client(client_id="svc", client_secret="planted-secret")
        reply = await identity.token(client, scope="a")
        token = reply.json["access_token"]
        await identity.authn.audit.close()
        lines = [json.loads(line) for line in b"".join(identity.logs).splitlines()]
        (issued,) = [line for line in lines if line["event"] == "authn.token.issue.success"]
        assert (issued["client_id"], issued["scope"], issued["grant"]) == ("svc", "a", "client_credentials")
        assert (issued["logger"], issued["level"]) == ("audit", "info")
        assert token not in b"".join(identity.logs).decode()
        assert b"planted-secret" not in b"".join(identity.logs)
        count = identity.authn.metrics.events.labels("authn.token.issue.success")._value.get()
        assert count == 1
        found = await verify_audit(identity.store.database, identity.authn.keys.secret("audit-chain"))
        assert (found.chains, found.events, found.faults) == (1, len(lines), [])
    del registry


async def test_refusals_are_told(database_url: str) -> None:
    """With who it was said to be and why, which the answer does not say."""
    async with running(database_url) as identity:
        await identity.client(client_id="svc", client_secret="s" * 32)
        auth = basic("svc", "wrong-secret")
        await identity.post("/oauth2/token", {"grant_type": "client_credentials"}, auth=auth)
        await identity.post("/oauth2/introspect", {"token": "x"}, auth=auth)
        await identity.post("/oauth2/revoke", {"token": "x"}, auth=auth)
        await identity.authn.audit.close()
        lines = [json.loads(line) for line in b"".join(identity.logs).splitlines()]
        refused = [line for line in lines if line["event"].endswith(".refused")]
        assert [(line["client_id"], line["error"]) for line in refused] == [("svc", "invalid_client")] * 3
        assert all("wrong secret" in line["why"] for line in refused)


async def test_administration_is_durable_before_it_is_answered(database_url: str) -> None:
    """The row is there when the call returns."""
    async with running(database_url) as identity:
        for act in (
            identity.client(client_id="svc"),
            identity.authn.admin.change_client("svc", {"scope": "x"}, "ann"),
            identity.authn.admin.rotate_secret("svc", "ann", overlap_s=0),
            identity.authn.admin.disable_client("svc", "ann"),
            identity.authn.admin.enable_client("svc", "ann"),
            identity.authn.revoker.revoke_subject("ann", "test"),
            identity.authn.admin.remove_client("svc", "ann"),
        ):
            before = await verify_audit(identity.store.database, identity.authn.keys.secret("audit-chain"))
            await act
            after = await verify_audit(identity.store.database, identity.authn.keys.secret("audit-chain"))
            assert after.events > before.events
        assert "authn.client.remove.success" in names(identity)


async def written(store: AuthnStore, count: int = 5) -> AuditLog:
    log = chain(store)
    await log.start()
    for number in range(count):
        await log.record_durably(Event(EventName.TOKEN_ISSUED, {"number": number}))
    return log


EVENTS = "authn_audit_events WHERE chain = '{chain}'"
COVERED_UP = (
    "UPDATE authn_audit_chains SET head = 5, head_hash = (SELECT hash FROM " + EVENTS + " AND number = 5) "
    "WHERE chain = '{chain}';"
)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(
            """UPDATE authn_audit_events SET record = replace(record, '"number":2', '"number":9')
            WHERE chain = '{chain}' AND number = 4;""",
            "event 4 is not as it was written",
            id="changed",
        ),
        pytest.param(
            """UPDATE authn_audit_events SET hash = (SELECT hash FROM authn_audit_events WHERE number = 3)
            WHERE chain = '{chain}' AND number = 4;""",
            "event 4 is not as it was written",
            id="hash changed",
        ),
        pytest.param(f"DELETE FROM {EVENTS} AND number = 3;", "event 3 is missing", id="taken out"),
        pytest.param(f"DELETE FROM {EVENTS} AND number = 6;", "it goes to event 6 and ends at 5", id="cut off"),
        pytest.param(f"DELETE FROM {EVENTS};", "it goes to event 6 and ends at 0", id="emptied"),
        pytest.param(
            f"DELETE FROM {EVENTS} AND number = 6;\n{COVERED_UP}",
            "another chain recorded event 6 and it ends at 5",
            id="cut off and covered up",
        ),
        pytest.param(
            f"DELETE FROM {EVENTS};\nDELETE FROM authn_audit_chains WHERE chain = '{{chain}}';",
            "is gone, and others tell of it",
            id="a whole chain",
        ),
    ],
)
async def test_tampering_shows(sqlite_url: str, damage: str, told: str) -> None:
    """Whatever is done to the rows, with the other chain's memory of them."""
    store = await connect(sqlite_url)
    await store.migrate()
    first = await written(store)
    second = chain(store)
    await second.start()
    assert await faults(store) == []
    await store.database.script(damage.replace("{chain}", first.chain))
    assert await faults(store) == [f"chain {first.chain}: {told}"]
    await second.close()
    await first.close()
    await store.close()


async def test_another_secret_fits_nothing(sqlite_url: str) -> None:
    """Who does not have the installation's secret cannot write a chain that verifies."""
    store = await connect(sqlite_url)
    await store.migrate()
    log = await written(store)
    await log.close()
    assert await faults(store) == []
    assert len(await faults(store, b"b" * 32)) == 1
    await store.close()


async def test_chains_tell_of_each_other(database_url: str) -> None:
    """Each process has its own, and every minute each says how far the others go."""
    store = await connect(database_url)
    await store.migrate()
    clock = Clock()
    lines: list[bytes] = []
    first, second = chain(store, clock.world()), chain(store, clock.world(), lines)
    await first.start()
    await second.start()
    await first.record_durably(Event(EventName.TOKEN_ISSUED))
    clock.advance(61)
    await second.record_durably(Event(EventName.TOKEN_ISSUED))
    anchors = [json.loads(line) for line in b"".join(lines).splitlines() if b"anchor" in line]
    assert [list(anchor["heads"]) for anchor in anchors] == [[first.chain]]
    assert anchors[0]["heads"][first.chain].startswith("2:")
    await first.close()
    await second.close()
    found = await verify_audit(store.database, KEY)
    assert (found.chains, found.faults) == (2, [])
    await store.close()


async def test_while_the_database_is_gone(sqlite_url: str) -> None:
    """Events wait and are written when it is back, once; too many waiting, and no token is issued."""
    store = await connect(sqlite_url)
    await store.migrate()
    switch = Switch(store.database)
    lines: list[bytes] = []
    log = AuditLog(switch, KEY, World(), AuthnMetrics(CollectorRegistry()), lines.append)
    await log.start()
    switch.is_cut = True
    waiting = asyncio.create_task(log.record_durably(Event(EventName.CLIENT_CREATED, {"client_id": "x"})))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    log.require_room()
    for _ in range(50_000):
        log.record(Event(EventName.TOKEN_ISSUED))
    with pytest.raises(TemporarilyUnavailable):
        log.require_room()
    switch.is_cut = False
    await waiting
    await log.close()
    found = await verify_audit(store.database, KEY)
    assert (found.events, found.faults) == (50_003, [])
    assert len(b"".join(lines).splitlines()) == 50_003
    await store.close()


async def test_a_flood_of_refusals_is_counted(sqlite_url: str) -> None:
    """Anybody can be refused as often as they like; the rows of it are bounded, and what was left out is told."""
    store = await connect(sqlite_url)
    await store.migrate()
    clock = Clock()
    lines: list[bytes] = []
    log = chain(store, clock.world(), lines)
    await log.start()
    for _ in range(1_000):
        log.record(Event(EventName.TOKEN_REFUSED))
    clock.advance(1)
    log.record(Event(EventName.TOKEN_REFUSED))
    await log.close()
    events = [json.loads(line) for line in b"".join(lines).splitlines()]
    assert [e["count"] for e in events if e["event"] == "authn.audit.refusals.suppressed"] == [900]
    assert sum(e["event"] == "authn.token.issue.refused" for e in events) == 101
    await store.close()


async def test_token_events_are_written_soon(database_url: str) -> None:
    """Within a tenth of a second, without anybody waiting."""
    async with running(database_url) as identity:
        client = await identity.client()
        before = await verify_audit(identity.store.database, identity.authn.keys.secret("audit-chain"))
        await identity.token(client)
        await asyncio.sleep(0.1)
        after = await verify_audit(identity.store.database, identity.authn.keys.secret("audit-chain"))
        assert after.events == before.events + 1
