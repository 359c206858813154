"""Watch as a caller meets it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api.convert import from_instant
from pdp.relationships import Instant
from tests.api.wire import SCHEMA, Listening, Wire, on_wire, updates

WATCH, WRITE = "/v1/watch", "/v1/relationships/write"
ANN, BOB = "document:one#viewer@user:ann", "document:one#viewer@user:bob"
CHECKPOINT = "WATCH_KIND_INCLUDE_CHECKPOINTS"


@asynccontextmanager
async def watching(wire: Wire, **members: Any) -> AsyncIterator[Listening]:
    """A watch from now on, or from a cursor."""
    if "optionalStartCursor" not in members:
        members["optionalStartCursor"] = (await wire.ok(WRITE, {}))["writtenAt"]
    listening = Listening(wire.gate, WATCH, members)
    try:
        yield listening
    finally:
        await listening.hang_up()


def told(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Operations and subjects' ids of a message."""
    return [
        (
            one["operation"].removeprefix("OPERATION_"),
            one["relationship"]["resource"]["objectId"] + "@" + one["relationship"]["subject"]["object"]["objectId"],
        )
        for one in result["updates"]
    ]


async def test_a_message_a_transaction(wire: Wire) -> None:
    """In the request's order; CREATE arrives as TOUCH."""
    async with watching(wire) as listening:
        body = {"updates": [*updates("CREATE", BOB)["updates"], *updates("TOUCH", ANN)["updates"]]}
        token = (await wire.ok(WRITE, body))["writtenAt"]
        first = await listening.result()
        assert told(first) == [("TOUCH", "one@bob"), ("TOUCH", "one@ann")]
        assert first["changesThrough"] == token
        assert (first["schemaUpdated"], first["isCheckpoint"]) == (False, False)
        assert (first["optionalTransactionMetadata"], first["fullRevisionMetadata"]) == (None, [])
        await wire.ok(WRITE, updates("DELETE", BOB))
        assert told(await listening.result()) == [("DELETE", "one@bob")]


async def test_what_changes_nothing_is_silent(wire: Wire) -> None:
    """A TOUCH of the same and a DELETE of nothing; the next change is heard."""
    await wire.touch(ANN)
    async with watching(wire) as listening:
        await wire.touch(ANN)
        await wire.ok(WRITE, updates("DELETE", BOB))
        await wire.ok(WRITE, {})
        await wire.touch(BOB)
        assert told(await listening.result()) == [("TOUCH", "one@bob")]
        assert listening.nothing_more()


async def test_a_delete_carries_what_was_stored(wire: Wire) -> None:
    """The caveat of the row that went."""
    relationship = {**on_wire(ANN), "optionalCaveat": {"caveatName": "office_hours", "context": {"hour": 9}}}
    await wire.ok(WRITE, {"updates": [{"operation": 2, "relationship": relationship}]})
    async with watching(wire) as listening:
        await wire.ok(WRITE, updates("DELETE", ANN))
        (update,) = (await listening.result())["updates"]
        assert update["relationship"]["optionalCaveat"] == {"caveatName": "office_hours", "context": {"hour": 9}}


async def test_metadata(wire: Wire) -> None:
    """A transaction's metadata comes with it, twice over."""
    metadata = {"by": "ann", "why": [1, {"deep": None}], "n": 1.5}
    async with watching(wire) as listening:
        await wire.ok(WRITE, {**updates("TOUCH", ANN), "optionalTransactionMetadata": metadata})
        result = await listening.result()
        assert result["optionalTransactionMetadata"] == metadata
        assert result["fullRevisionMetadata"] == [metadata]


async def test_resuming(wire: Wire) -> None:
    """Strictly after the cursor: nothing twice, nothing left out."""
    await wire.touch("document:zero#viewer@user:ann")
    tokens = [await wire.touch(f"document:d{number}#viewer@user:ann") for number in range(5)]
    for position, token in enumerate(tokens[:-1]):
        async with watching(wire, optionalStartCursor={"token": token}) as listening:
            for number in range(position + 1, 5):
                result = await listening.result()
                assert told(result) == [("TOUCH", f"d{number}@ann")]
                assert result["changesThrough"]["token"] == tokens[number]


async def test_without_a_cursor_from_now_on(wire: Wire) -> None:
    """What was before is not told."""
    await wire.touch(ANN)
    listening = Listening(wire.gate, WATCH, {})
    try:
        await wire.touch(BOB)
        await wire.touch("document:two#viewer@user:bob")
        heard = [told(await listening.result())]
        if heard == [[("TOUCH", "one@bob")]]:
            heard.append(told(await listening.result()))
        assert heard[-1] == [("TOUCH", "two@bob")]
    finally:
        await listening.hang_up()


@pytest.mark.parametrize(
    ("wanted", "heard"),
    [
        pytest.param({"optionalObjectTypes": ["group"]}, ["eng@ann"], id="type"),
        pytest.param({"optionalObjectTypes": ["group", "document"]}, ["one@ann", "eng@ann"], id="types"),
        pytest.param(
            {"optionalRelationshipFilters": [{"resourceType": "document", "optionalResourceId": "two"}]},
            ["two@bob"],
            id="filter",
        ),
        pytest.param(
            {
                "optionalRelationshipFilters": [
                    {"resourceType": "group"},
                    {"optionalSubjectFilter": {"subjectType": "user", "optionalSubjectId": "bob"}},
                ]
            },
            ["eng@ann", "two@bob"],
            id="filters are ORed",
        ),
        pytest.param({"optionalObjectTypes": ["unheard", "group"]}, ["eng@ann"], id="an unknown type is silent"),
    ],
)
async def test_only_what_was_asked_for(wire: Wire, wanted: dict[str, Any], heard: list[str]) -> None:
    """By types, or by filters."""
    async with watching(wire, **wanted) as listening:
        await wire.touch(ANN)
        await wire.touch("group:eng#member@user:ann")
        await wire.touch("document:two#viewer@user:bob")
        for one in heard:
            assert told(await listening.result()) == [("TOUCH", one)]


async def test_schema_changes(wire: Wire) -> None:
    """Asked for beside the relationships, which come all the same."""
    async with watching(wire, optionalUpdateKinds=["WATCH_KIND_INCLUDE_SCHEMA_UPDATES"]) as listening:
        token = await wire.schema(SCHEMA + "definition folder {}\n")
        result = await listening.result()
        assert (result["updates"], result["schemaUpdated"]) == ([], True)
        assert result["changesThrough"]["token"] == token
        await wire.touch(ANN)
        assert told(await listening.result()) == [("TOUCH", "one@ann")]


async def test_schema_changes_are_silent_unasked(wire: Wire) -> None:
    """No kinds are relationship updates alone."""
    async with watching(wire) as listening:
        await wire.schema(SCHEMA + "definition folder {}\n")
        await wire.touch(ANN)
        result = await listening.result()
        assert result["schemaUpdated"] is False
        assert told(result) == [("TOUCH", "one@ann")]


async def test_checkpoints(wire: Wire) -> None:
    """A revision with nothing of interest is told as a checkpoint, where they are asked for."""
    async with watching(wire, optionalUpdateKinds=[CHECKPOINT], optionalObjectTypes=["group"]) as listening:
        token = await wire.touch(ANN)
        result = await listening.result()
        assert (result["updates"], result["isCheckpoint"]) == ([], True)
        assert result["changesThrough"]["token"] == token
        await wire.touch("group:eng#member@user:ann")
        assert told(await listening.result()) == [("TOUCH", "eng@ann")]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param({"optionalStartCursor": {"token": "x"}}, (400, 3, ""), id="cursor"),
        pytest.param({"optionalStartCursor": {}}, (400, 3, ""), id="cursor without a token"),
        pytest.param(
            {"optionalObjectTypes": ["document"], "optionalRelationshipFilters": [{"resourceType": "document"}]},
            (400, 3, ""),
            id="types and filters",
        ),
        pytest.param(
            {"optionalRelationshipFilters": [{"resourceType": "docment"}]},
            (400, 9, "UNKNOWN_DEFINITION"),
            id="filter",
        ),
        pytest.param({"optionalRelationshipFilters": [{}]}, (400, 3, "INVALID_FILTER"), id="empty filter"),
        pytest.param({"optionalObjectTypes": ["Document"]}, (400, 3, ""), id="malformed type"),
        pytest.param({"optionalUpdateKinds": [9]}, (400, 3, ""), id="no such kind"),
        pytest.param({"includeTimes": "yes"}, (400, 3, ""), id="times of the wrong type"),
    ],
)
async def test_watches_that_are_refused(wire: Wire, body: dict[str, Any], told: tuple[int, int, str]) -> None:
    """Before anything is told."""
    assert (await wire.refused_stream(WATCH, body)).told == told


async def test_nothing_is_sent_before_the_first_message(wire: Wire) -> None:
    """Not even the head; and whoever leaves is let go of."""
    async with watching(wire) as listening:
        await wire.ok(WRITE, {})
        assert listening.started == {}
        await wire.touch(ANN)
        await listening.result()
        assert listening.started["status"] == 200
    assert listening.ended.is_set()


async def test_a_deadline(wire: Wire) -> None:
    """Passed before the first message it is the status, after it the last line."""
    refused = await wire.refused_stream(WATCH, {}, grpc_timeout="20m")
    assert refused.told == (504, 4, "")
    token = await wire.touch(ANN)
    await wire.touch(BOB)
    listening = Listening(wire.gate, WATCH, {"optionalStartCursor": {"token": token}}, grpc_timeout="200m")
    assert told(await listening.result()) == [("TOUCH", "one@bob")]
    assert (await listening.line())["error"]["code"] == 4
    await listening.hang_up()


async def test_times(wire: Wire) -> None:
    """Beyond the wire: what expires, and what begins to count, is told when it does."""
    token = await wire.touch("document:zero#viewer@user:ann")
    soon = _from_now(wire, 0.2)
    ends, begins = {**on_wire(ANN), "optionalExpiresAt": soon}, {**on_wire(BOB), "validFrom": soon}
    for relationship in (ends, begins):
        await wire.ok(WRITE, {"updates": [{"operation": 2, "relationship": relationship}]})
    async with watching(wire, optionalStartCursor={"token": token}, includeTimes=True) as listening:
        assert told(await listening.result()) == [("TOUCH", "one@ann")]
        written = await listening.result()
        assert written["updates"][0]["relationship"]["validFrom"] == soon
        assert "expired" not in written
        result = await listening.result()
        assert result["updates"] == []
        assert [one["subject"]["object"]["objectId"] for one in result["expired"]] == ["ann"]
        assert [one["subject"]["object"]["objectId"] for one in result["begun"]] == ["bob"]
        assert result["begun"][0]["validFrom"] == soon
        assert result["instant"] > soon


def _from_now(wire: Wire, seconds: float) -> str:
    return from_instant(Instant(wire.service.now() + int(seconds * 1_000_000))).ToJsonString()


async def test_times_are_silent_unasked(wire: Wire) -> None:
    """A watcher of the wire alone meets no message without a revision of its own."""
    async with watching(wire) as listening:
        relationship = {**on_wire(ANN), "optionalExpiresAt": _from_now(wire, 0.01)}
        await wire.ok(WRITE, {"updates": [{"operation": 2, "relationship": relationship}]})
        assert told(await listening.result()) == [("TOUCH", "one@ann")]
        with pytest.raises(TimeoutError):
            await listening.line(1.5)
