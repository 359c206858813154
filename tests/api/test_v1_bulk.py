"""ImportBulkRelationships and ExportBulkRelationships as a caller meets them."""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from tests.api.wire import READ_ONLY_TOKEN, Wire, on_wire, refusal, updates

IMPORT, EXPORT = "/v1/relationships/importbulk", "/v1/relationships/exportbulk"
ANN, BOB, CY = (f"document:one#viewer@user:{name}" for name in ("ann", "bob", "cy"))


def messages(*batches: Iterable[str], between: str = "\n") -> bytes:
    """A stream of import requests."""
    return between.join(json.dumps({"relationships": [on_wire(one) for one in batch]}) for batch in batches).encode()


async def ids(wire: Wire) -> list[str]:
    """Subjects of everything exported, sorted."""
    results = await wire.results(EXPORT)
    return sorted(one["subject"]["object"]["objectId"] for result in results for one in result["relationships"])


@pytest.mark.parametrize("between", ["", "\n", " \n\t"])
async def test_import(wire: Wire, between: str) -> None:
    """Messages one behind the other, in one revision."""
    before = await wire.service.store.head()
    assert await wire.ok(IMPORT, messages([ANN, BOB], [], [CY], between=between)) == {"numLoaded": "3"}
    assert await wire.service.store.head() == before + 1
    assert await wire.has("document:one#view@user:cy") == "HAS"


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b"{}{}", messages([])])
async def test_import_of_nothing(wire: Wire, body: bytes) -> None:
    """Zero, and no revision taken."""
    before = await wire.stored()
    assert await wire.ok(IMPORT, body) == {"numLoaded": "0"}
    assert await wire.stored() == before


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(b"[]", (400, 3, ""), id="a list"),
        pytest.param(b"[" + messages([ANN]) + b"]", (400, 3, ""), id="a list of messages"),
        pytest.param(messages([ANN]) + b"{", (400, 3, ""), id="cut short"),
        pytest.param(messages([ANN]) + b',{"relationships": []}', (400, 3, ""), id="commas"),
        pytest.param(messages([ANN]) + b'{"relationships": [{}]}', (400, 3, ""), id="fields of a later message"),
        pytest.param(messages([ANN], [ANN]), (409, 6, "ATTEMPT_TO_RECREATE_RELATIONSHIP"), id="twice in the stream"),
        pytest.param(messages([ANN, ANN]), (409, 6, "ATTEMPT_TO_RECREATE_RELATIONSHIP"), id="twice in a message"),
        pytest.param(
            messages([ANN], ["document:one#view@user:ann"]), (400, 3, "CANNOT_UPDATE_PERMISSION"), id="perm"
        ),
        pytest.param(messages(["docment:one#viewer@user:ann"]), (400, 9, "UNKNOWN_DEFINITION"), id="unknown type"),
        pytest.param(
            messages(["document:one#viewer@group:eng"]), (400, 3, "INVALID_SUBJECT_TYPE"), id="subject type"
        ),
        pytest.param(
            messages([ANN]).replace(b'"objectId": "one"', b'"objectId": "*"'), (400, 3, ""), id="every resource"
        ),
        pytest.param(b'{"onConflict": "merge"}', (400, 3, ""), id="no such policy"),
        pytest.param(b'{"onConflict": 1}', (400, 3, ""), id="policy of the wrong type"),
    ],
)
async def test_imports_that_are_refused(wire: Wire, body: bytes, told: tuple[int, int, str]) -> None:
    """All of a stream or nothing of it; the error is unary."""
    assert (await wire.refused(IMPORT, body)).told == told


async def test_import_of_what_is_stored(wire: Wire) -> None:
    """semantics 15 and 28: any existing relationship fails everything."""
    await wire.touch(ANN)
    refused = await wire.refused(IMPORT, messages([BOB], [ANN]))
    assert refused.told == (409, 6, "ATTEMPT_TO_RECREATE_RELATIONSHIP")
    assert refused.metadata["relationship"] == ANN


async def test_import_over_what_has_expired(wire: Wire) -> None:
    """semantics 14: an expired relationship is not there, in an import too."""
    expired = {**on_wire(ANN), "optionalExpiresAt": "1970-01-01T00:00:01Z"}
    await wire.ok("/v1/relationships/write", {"updates": [{"operation": 2, "relationship": expired}]})
    assert await wire.ok(IMPORT, messages([ANN])) == {"numLoaded": "1"}


async def test_import_needs_a_credential_before_its_body(wire: Wire) -> None:
    """Nobody's stream is read."""
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield messages([ANN])

    response = await wire.client.post(IMPORT, content=body(), headers={"authorization": "Bearer wrong"})
    assert refusal(response).told == (401, 16, "")
    assert read == []
    response = await wire.client.post(
        IMPORT, content=messages([ANN]), headers={"authorization": f"Bearer {READ_ONLY_TOKEN}"}
    )
    assert refusal(response).told == (403, 7, "")
    assert await ids(wire) == []


async def test_import_larger_than_a_message(wire: Wire) -> None:
    """A stream has no bound, each of its messages has."""
    names = [f"user:{'x' * 900}{number}" for number in range(6_000)]
    batches = [[f"document:one#viewer@{name}" for name in names[at : at + 500]] for at in range(0, 6_000, 500)]
    body = messages(*batches)
    assert len(body) > 4 * 1024 * 1024
    assert await wire.ok(IMPORT, body) == {"numLoaded": "6000"}
    refused = await wire.refused(IMPORT, messages([one for batch in batches for one in batch]))
    assert refused.told == (413, 8, "")


async def test_import_with_another_policy(wire: Wire) -> None:
    """Beyond the wire: what is stored is skipped or touched, and told apart."""
    await wire.touch(ANN)
    caveated = {**on_wire(ANN), "optionalCaveat": {"caveatName": "office_hours", "context": {"hour": 3}}}
    body = {"onConflict": "skip", "relationships": [caveated, on_wire(BOB)]}
    assert await wire.ok(IMPORT, body) == {"numLoaded": "2", "created": "1", "changed": "0", "unchanged": "1"}
    assert await wire.has("document:one#view@user:ann") == "HAS"
    body["onConflict"] = "touch"
    assert await wire.ok(IMPORT, body) == {"numLoaded": "2", "created": "0", "changed": "1", "unchanged": "1"}
    assert await wire.has("document:one#view@user:ann") == "NO"


# --- Export ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def stored(wire: Wire) -> Wire:
    """Relationships of two types."""
    await wire.touch(
        *(f"document:d{number}#viewer@user:u{number}" for number in range(5)),
        *(f"group:g{number}#member@user:g{number}" for number in range(3)),
    )
    return wire


async def test_export(stored: Wire) -> None:
    """Everything; a message never spans two resource types."""
    results = await stored.results(EXPORT)
    assert sum(len(one["relationships"]) for one in results) == 8
    for result in results:
        assert len({one["resource"]["objectType"] for one in result["relationships"]}) == 1
        assert result["afterResultCursor"]["token"]


@pytest.mark.parametrize("size", [1, 2, 3, 10_000])
async def test_the_limit_is_a_messages_size(stored: Wire, size: int) -> None:
    """The stream goes on to the end."""
    results = await stored.results(EXPORT, {"optionalLimit": size})
    assert sum(len(one["relationships"]) for one in results) == 8
    assert max(len(one["relationships"]) for one in results) <= size


async def test_resuming_an_export(stored: Wire) -> None:
    """From any message on, with any limit, at the first one's revision."""
    whole = await stored.results(EXPORT, {"optionalLimit": 2})
    await stored.ok("/v1/relationships/write", updates("DELETE", "document:d0#viewer@user:u0"))
    await stored.touch("document:new#viewer@user:new")
    for position, message in enumerate(whole):
        rest = await stored.results(EXPORT, {"optionalLimit": 3, "optionalCursor": message["afterResultCursor"]})
        found = [json.dumps(one) for result in rest for one in result["relationships"]]
        wanted = [json.dumps(one) for result in whole[position + 1 :] for one in result["relationships"]]
        assert found == wanted


async def test_filtered_export(stored: Wire) -> None:
    """By a filter; names that are not in the schema match nothing."""
    results = await stored.results(EXPORT, {"optionalRelationshipFilter": {"resourceType": "group"}})
    assert [one["resource"]["objectType"] for result in results for one in result["relationships"]] == ["group"] * 3
    assert await stored.results(EXPORT, {"optionalRelationshipFilter": {"resourceType": "unheard"}}) == []


async def test_an_export_holds_no_expired_relationships(wire: Wire) -> None:
    """semantics 16: expired rows vanish before they are collected."""
    expired = {**on_wire(ANN), "optionalExpiresAt": "1970-01-01T00:00:01Z"}
    await wire.ok("/v1/relationships/write", {"updates": [{"operation": 2, "relationship": expired}]})
    await wire.touch(BOB)
    assert await ids(wire) == ["bob"]


async def test_exported_and_imported(stored: Wire) -> None:
    """What an export gives, an import takes."""
    results = await stored.results(EXPORT)
    await stored.ok("/v1/relationships/delete", {"relationshipFilter": {"resourceType": "document"}})
    await stored.ok("/v1/relationships/delete", {"relationshipFilter": {"resourceType": "group"}})
    body = b"".join(json.dumps({"relationships": one["relationships"]}).encode() for one in results)
    assert await stored.ok(IMPORT, body) == {"numLoaded": "8"}
    again = await stored.results(EXPORT)
    assert [one["relationships"] for one in again] == [one["relationships"] for one in results]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param({"optionalRelationshipFilter": {}}, (400, 3, "INVALID_FILTER"), id="empty filter"),
        pytest.param({"optionalLimit": 10_001}, (400, 3, "EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT"), id="limit"),
        pytest.param({"optionalCursor": {"token": "x"}}, (400, 3, "INVALID_CURSOR"), id="cursor"),
        pytest.param({"consistency": {"atExactSnapshot": {"token": "x"}}}, (400, 3, ""), id="zookie"),
        pytest.param({"optionalRelationshipFilter": {"resourceType": "X"}}, (400, 3, ""), id="fields"),
    ],
)
async def test_exports_that_are_refused(stored: Wire, body: dict[str, Any], told: tuple[int, int, str]) -> None:
    """Before the first message."""
    assert (await stored.refused_stream(EXPORT, body)).told == told


async def test_an_exports_cursor_is_of_its_filter(stored: Wire) -> None:
    """The filter gives the order, so a cursor of another would skip what it should not."""
    first = (await stored.results(EXPORT, {"optionalLimit": 1}))[0]
    body = {
        "optionalCursor": first["afterResultCursor"],
        "optionalRelationshipFilter": {"optionalSubjectFilter": {"subjectType": "user"}},
    }
    assert (await stored.refused_stream(EXPORT, body)).told == (400, 3, "INVALID_CURSOR")
