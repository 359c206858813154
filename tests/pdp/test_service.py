"""A store's service: what it answers is as fresh as asked, on demand and from a replica alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from pdp import commands
from pdp.consistency import FULLY_CONSISTENT, AtExactSnapshot, AtLeastAsFresh, Consistency
from pdp.errors import (
    AlreadyExists,
    InvalidSubjectType,
    RevisionInFuture,
    SchemaInUse,
    UnknownDefinition,
    UnknownRelation,
    WildcardNotAllowed,
    WorkExceeded,
)
from pdp.evaluate import Permissionship
from pdp.relationships import Instant, ObjectRef, Operation, Relationship, Revision, SubjectRef, Update
from pdp.replica.keeper import ReplicaSettings
from pdp.second_level import SecondLevel
from pdp.service import CheckRequest, CheckSettings, Pdp, StoreService
from pdp.stores.connect import connect
from pdp.stores.protocol import WriteRequest

SCHEMA = """
use expiration
definition user {}
definition group {
    relation member: user | group#member
}
definition doc {
    relation viewer: user | user with expiration | group#member
    relation banned: user
    permission view = viewer - banned
}
"""
NO_REPLICA = ReplicaSettings(bytes_max=0)
REPLICA = ReplicaSettings()

Make: TypeAlias = Callable[..., "asyncio.Future[StoreService]"]


@asynccontextmanager
async def opened(
    url: str,
    replica: ReplicaSettings = NO_REPLICA,
    checks: CheckSettings | None = None,
    second_level: SecondLevel | None = None,
) -> AsyncIterator[StoreService]:
    """A service of the default store, as one process would have it."""
    datastore = await connect(url)
    if await datastore.is_empty():
        await datastore.migrate()
    await datastore.create("default")
    pdp = Pdp(datastore, checks or CheckSettings(), replica, second_level)
    try:
        yield await pdp.store("default")
    finally:
        await pdp.close()


@pytest.fixture(params=[NO_REPLICA, REPLICA], ids=["on demand", "replica"])
async def service(request: pytest.FixtureRequest, sqlite_url: str) -> AsyncIterator[StoreService]:
    """A service with the schema written, answering in one of its two ways."""
    async with opened(sqlite_url, request.param) as made:
        await made.write_schema(SCHEMA)
        if request.param is REPLICA:
            await until(lambda: made.keeper.replica is not None)
        yield made


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what must happen soon."""
    for _ in range(500):
        if happened():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


def relationship(text: str, expires_at: Instant | None = None) -> Relationship:
    """A relationship from its text."""
    resource, _, rest = text.partition("#")
    relation, _, subject = rest.partition("@")
    name, _, subject_relation = subject.partition("#")
    type_, id_ = resource.split(":")
    subject_type, subject_id = name.split(":")
    return Relationship(type_, id_, relation, subject_type, subject_id, subject_relation, expires_at=expires_at)


async def write(service: StoreService, *texts: str, operation: Operation = Operation.TOUCH) -> Revision:
    """Write relationships as one revision."""
    updates = [Update(operation, relationship(text)) for text in texts]
    return (await commands.write(service, WriteRequest(updates))).revision


async def allowed(service: StoreService, user: str, consistency: Consistency | None = None, doc: str = "1") -> bool:
    """Whether a user may view a document."""
    request = CheckRequest(ObjectRef("doc", doc), "view", SubjectRef("user", user))
    if consistency is not None:
        request = CheckRequest(request.resource, request.permission, request.subject, consistency)
    checked = await service.check(request)
    return checked.answer.permissionship is Permissionship.HAS_PERMISSION


async def test_a_write_is_seen_at_once(service: StoreService) -> None:
    """By the process that acknowledged it, without asking for freshness; so is its undoing."""
    for _ in range(20):
        await write(service, "doc:1#viewer@user:ann")
        assert await allowed(service, "ann")
        await write(service, "doc:1#viewer@user:ann", operation=Operation.DELETE)
        assert not await allowed(service, "ann")


async def test_nested_groups_and_exclusion(service: StoreService) -> None:
    """Through the service as in the engine."""
    await write(service, "doc:1#viewer@group:a#member", "group:a#member@group:b#member", "group:b#member@user:ann")
    assert await allowed(service, "ann")
    await write(service, "doc:1#banned@user:ann")
    assert not await allowed(service, "ann")


async def test_an_exact_snapshot_is_what_was(service: StoreService) -> None:
    """Before and after each write, by its revision."""
    granted = await write(service, "doc:1#viewer@user:ann")
    revoked = await write(service, "doc:1#viewer@user:ann", operation=Operation.DELETE)
    assert await allowed(service, "ann", AtExactSnapshot(granted))
    assert not await allowed(service, "ann", AtExactSnapshot(revoked))
    assert not await allowed(service, "ann", AtExactSnapshot(Revision(granted - 1)))


@pytest.mark.parametrize("kind", [AtExactSnapshot, AtLeastAsFresh])
async def test_a_revision_from_the_future_is_an_error(
    service: StoreService, kind: Callable[[Revision], Consistency]
) -> None:
    """It was never handed out."""
    with pytest.raises(RevisionInFuture):
        await allowed(service, "ann", kind(Revision(1_000)))


async def test_expiry_is_judged_at_the_instant(service: StoreService) -> None:
    """Until the instant of expiry, not from then on; the answer says until when it holds."""
    expires = Instant(service.now() + 60_000_000)
    touch = Update(Operation.TOUCH, relationship("doc:1#viewer@user:ann", expires))
    await commands.write(service, WriteRequest([touch]))
    for offset, expected in ((-1, True), (0, False), (1, False)):
        checked = await service.check(
            CheckRequest(ObjectRef("doc", "1"), "view", SubjectRef("user", "ann"), instant=Instant(expires + offset))
        )
        assert (checked.answer.permissionship is Permissionship.HAS_PERMISSION) is expected
        assert checked.answer.stable_until == (expires if expected else None)


async def test_contextual_relationships_count_as_written(service: StoreService) -> None:
    """For one request, and for no other."""
    request = CheckRequest(
        ObjectRef("doc", "1"),
        "view",
        SubjectRef("user", "ann"),
        contextual=[relationship("doc:1#viewer@group:a#member"), relationship("group:a#member@user:ann")],
    )
    assert (await service.check(request)).answer.permissionship is Permissionship.HAS_PERMISSION
    assert not await allowed(service, "ann")


@pytest.mark.parametrize(
    ("resource", "permission", "subject", "error"),
    [
        pytest.param("nothing:1", "view", SubjectRef("user", "ann"), UnknownDefinition, id="resource type"),
        pytest.param("doc:1", "veiw", SubjectRef("user", "ann"), UnknownRelation, id="permission"),
        pytest.param("doc:1", "view", SubjectRef("usr", "ann"), UnknownDefinition, id="subject type"),
        pytest.param("doc:1", "view", SubjectRef("group", "a", "membr"), UnknownRelation, id="subject relation"),
        pytest.param("doc:1", "view", SubjectRef("user", "*"), WildcardNotAllowed, id="wildcard subject"),
    ],
)
async def test_unknown_names_are_errors(
    service: StoreService, resource: str, permission: str, subject: SubjectRef, error: type[Exception]
) -> None:
    """And never a denial."""
    with pytest.raises(error):
        await service.check(CheckRequest(ObjectRef(*resource.split(":")), permission, subject))


async def test_a_refused_write_changes_nothing(service: StoreService) -> None:
    """All of a request, or none of it; and it takes no revision."""
    before = service.follower.applied
    with pytest.raises(InvalidSubjectType):
        await write(service, "doc:1#viewer@user:ann", "doc:1#banned@group:a#member")
    await write(service, "doc:1#viewer@user:bob")
    with pytest.raises(AlreadyExists):
        await write(service, "doc:1#viewer@user:ann", "doc:1#viewer@user:bob", operation=Operation.CREATE)
    assert not await allowed(service, "ann")
    assert service.follower.applied == before + 1


async def test_a_schema_change_takes_effect_at_once(service: StoreService) -> None:
    """And answers at older revisions follow the schema of then."""
    granted = await write(service, "doc:1#viewer@user:ann")
    await service.write_schema(SCHEMA.replace("viewer - banned", "viewer & banned"))
    assert not await allowed(service, "ann")
    assert await allowed(service, "ann", AtExactSnapshot(granted))


async def test_a_schema_that_would_orphan_a_relationship_is_refused(service: StoreService) -> None:
    """Naming it; nothing changes."""
    await write(service, "doc:1#banned@user:ann")
    with pytest.raises(SchemaInUse, match="doc:1#banned@user:ann"):
        await service.write_schema(
            SCHEMA.replace("    relation banned: user\n", "").replace("viewer - banned", "viewer")
        )
    await write(service, "doc:2#banned@user:ann")


async def test_work_is_bounded(sqlite_url: str) -> None:
    """More goals than allowed is an error, not a denial."""
    async with opened(sqlite_url, checks=CheckSettings(goals_max=5)) as service:
        await service.write_schema(SCHEMA)
        await write(
            service, "doc:1#viewer@group:0#member", *(f"group:{n}#member@group:{n + 1}#member" for n in range(20))
        )
        with pytest.raises(WorkExceeded):
            await allowed(service, "ann")


@pytest.mark.parametrize("replica", [NO_REPLICA, REPLICA], ids=["on demand", "replica"])
async def test_another_process_follows(sqlite_url: str, replica: ReplicaSettings) -> None:
    """At once where the caller asks for it, within the changelog's lag otherwise; its schema too."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(opened(sqlite_url, replica))
        second = await stack.enter_async_context(opened(sqlite_url, replica))
        await first.write_schema(SCHEMA)
        revision = await write(first, "doc:1#viewer@user:ann")
        assert await allowed(second, "ann", AtLeastAsFresh(revision))
        await write(first, "doc:1#banned@user:ann")
        assert not await allowed(second, "ann", FULLY_CONSISTENT)
        await write(first, "doc:2#viewer@user:ann")
        await until(lambda: second.follower.applied == first.follower.applied)
        assert await allowed(second, "ann", doc="2")


async def test_writes_of_two_processes_are_one_order(sqlite_url: str) -> None:
    """No revision is given twice, none is left out."""
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(opened(sqlite_url)) for _ in range(2)]
        start = await services[0].write_schema(SCHEMA)
        writes = [write(services[n % 2], f"doc:{n}#viewer@user:ann") for n in range(60)]
        revisions = await asyncio.gather(*writes)
        assert sorted(revisions) == list(range(start + 1, start + 61))


async def test_a_replica_moves_with_its_budget(tmp_path: Path) -> None:
    """It is let go when the store outgrows it, and no answer at any moment is wrong or fails."""
    settings = ReplicaSettings(bytes_max=30_000)
    async with opened(f"sqlite:///{tmp_path}/grows.db", settings) as service:
        await service.write_schema(SCHEMA)
        await until(lambda: service.keeper.replica is not None)
        expected = set()
        for number in range(60):
            await write(service, *(f"doc:{number}#viewer@user:u{n}" for n in range(20)))
            expected.add(str(number))
            for doc in (str(number), str(number // 2), "unheard"):
                assert await allowed(service, "u3", doc=doc) is (doc in expected)
            await asyncio.sleep(0.03)
        await until(lambda: service.keeper.replica is None)
        assert await allowed(service, "u3", doc="7")


async def test_changes_while_a_replica_is_loading_are_not_lost(tmp_path: Path) -> None:
    """What is written between the snapshot and the moment the replica takes over is in it."""
    url = f"sqlite:///{tmp_path}/busy.db"
    async with opened(url) as first:
        await first.write_schema(SCHEMA)
        for batch in range(12):
            await write(first, *(f"doc:{batch}-{n}#viewer@user:u{n}" for n in range(1_000)))
        async with opened(url, REPLICA) as second:
            number = 0
            while second.keeper.replica is None and number < 500:
                await write(second, f"doc:late-{number}#viewer@user:ann")
                number += 1
            assert second.keeper.replica is not None
            for late in range(number):
                assert await allowed(second, "ann", doc=f"late-{late}")
            assert await allowed(second, "u999", doc="11-999")
