"""The AuthZEN door: the certification's scenario, what it refuses, and pages that add up to the whole."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from api.authzen import PATHS, WELL_KNOWN, configuration, routes
from tests.api.wire import KEY, Wire

EVALUATION = PATHS["access_evaluation_endpoint"]
EVALUATIONS = PATHS["access_evaluations_endpoint"]
SUBJECTS = PATHS["search_subject_endpoint"]
RESOURCES = PATHS["search_resource_endpoint"]
ACTIONS = PATHS["search_action_endpoint"]
ISSUER = "https://pdp.example"
SCHEMA = """
caveat in_hours(hour int) { hour >= 9 && hour < 17 }
caveat same_team(subject_team string, resource_team string) { subject_team == resource_team }
definition user {}
definition record {
    relation owner: user
    relation reader: user | user:* | user with in_hours | user with same_team
    permission write = owner
    permission read = reader + owner
    permission delete = owner
}
"""


@pytest_asyncio.fixture
async def door(empty_wire: Wire) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the door, over the scenario's data."""
    await empty_wire.schema(SCHEMA)
    await empty_wire.touch(
        "record:101#owner@user:alice",
        "record:102#reader@user:bob",
        "record:103#reader@user:bob[in_hours]",
        "record:104#reader@user:bob[same_team]",
        *(f"record:many-{n:02}#reader@user:carol" for n in range(25)),
    )
    app = Starlette(routes=routes(empty_wire.gate, ISSUER))
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test", headers=headers
    ) as client:
        yield client


def asked(subject: str = "alice", action: str = "read", resource: str = "101", **more: Any) -> dict[str, Any]:
    """An evaluation."""
    return {
        "subject": {"type": "user", "id": subject},
        "action": {"name": action},
        "resource": {"type": "record", "id": resource},
        **more,
    }


async def ok(door: httpx.AsyncClient, path: str, body: Any) -> dict[str, Any]:
    """The answer of a request that must pass."""
    response = await door.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize(
    ("subject", "action", "resource", "expected"),
    [
        ("alice", "read", "101", True),
        ("alice", "write", "101", True),
        ("alice", "delete", "101", True),
        ("bob", "read", "101", False),
        ("bob", "read", "102", True),
        ("bob", "write", "102", False),
        ("nobody", "read", "102", False),
        ("alice", "read", "no-such-record", False),
    ],
)
async def test_evaluation(door: httpx.AsyncClient, subject: str, action: str, resource: str, expected: bool) -> None:
    """A denial is an answer, not an error."""
    assert await ok(door, EVALUATION, asked(subject, action, resource)) == {"decision": expected}


async def test_context_decides_a_condition(door: httpx.AsyncClient) -> None:
    """Missing, it is a no that names what is missing."""
    missing = await ok(door, EVALUATION, asked("bob", "read", "103"))
    assert missing == {"decision": False, "context": {"missing_context": ["hour"]}}
    for hour, expected in ((10, True), (20, False)):
        assert await ok(door, EVALUATION, asked("bob", "read", "103", context={"hour": hour})) == {
            "decision": expected
        }


@pytest.mark.parametrize(("team", "expected"), [("blue", True), ("red", False)])
async def test_properties_are_context_too(door: httpx.AsyncClient, team: str, expected: bool) -> None:
    """Flat, by the entity that has them."""
    body = asked("bob", "read", "104")
    body["subject"]["properties"] = {"team": "blue"}
    body["resource"]["properties"] = {"team": team}
    assert (await ok(door, EVALUATION, body))["decision"] is expected


async def test_the_context_wins_over_properties(door: httpx.AsyncClient) -> None:
    """What the caller's context says of a name counts."""
    body = asked("bob", "read", "104", context={"resource_team": "blue"})
    body["subject"]["properties"] = {"team": "blue"}
    body["resource"]["properties"] = {"team": "red"}
    assert (await ok(door, EVALUATION, body))["decision"] is True


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"action": {"name": "no_such_action"}}, id="action"),
        pytest.param({"resource": {"type": "no_such_type", "id": "1"}}, id="resource type"),
        pytest.param({"subject": {"type": "no_such_type", "id": "1"}}, id="subject type"),
        pytest.param({"subject": {"type": "user", "id": "*"}}, id="everybody"),
    ],
)
async def test_what_is_unknown_is_denied_with_an_error(door: httpx.AsyncClient, change: dict[str, Any]) -> None:
    """In the context, where a caller can see it."""
    answer = await ok(door, EVALUATION, {**asked(), **change})
    assert answer["decision"] is False
    assert answer["context"]["error"]["message"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b"", "application/json", id="empty"),
        pytest.param(b"{", "application/json", id="no JSON"),
        pytest.param(b"[]", "application/json", id="an array"),
        pytest.param(b'{"subject":{"type":"user","id":"a"}}', "application/json", id="members missing"),
        pytest.param(
            b'{"subject":"alice","action":{"name":"read"},"resource":{"type":"r","id":"1"}}',
            "application/json",
            id="a string for an entity",
        ),
        pytest.param(
            b'{"subject":{"type":"user","id":7},"action":{"name":"read"},"resource":{"type":"r","id":"1"}}',
            "application/json",
            id="a number for an id",
        ),
        pytest.param(
            b'{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"r","id":"1"}}',
            "application/json",
            id="no id",
        ),
        pytest.param(
            b'{"subject":{"type":"user","id":"a"},"action":{},"resource":{"type":"r","id":"1"}}',
            "application/json",
            id="no name",
        ),
        pytest.param(
            b'{"subject":{"type":"user","id":"a"},"subject":{},"action":{"name":"read"},"resource":{"type":"r","id":"1"}}',
            "application/json",
            id="a member twice",
        ),
        pytest.param(b"{}", "text/plain", id="another content type"),
    ],
)
@pytest.mark.parametrize("path", [EVALUATION, EVALUATIONS])
async def test_bad_requests(door: httpx.AsyncClient, path: str, body: bytes, content_type: str) -> None:
    """400, and a string that says why."""
    response = await door.post(path, content=body, headers={"content-type": content_type})
    assert response.status_code == 400
    assert isinstance(response.json(), str)


@pytest.mark.parametrize("path", PATHS.values())
@pytest.mark.parametrize("key", ["", "Bearer wrong"])
async def test_without_a_credential(door: httpx.AsyncClient, path: str, key: str) -> None:
    """401, and how to authenticate."""
    response = await door.post(path, json=asked(), headers={"authorization": key})
    assert response.status_code == 401
    assert "www-authenticate" in response.headers
    assert isinstance(response.json(), str)


async def test_evaluations_take_what_they_lack_from_the_top(door: httpx.AsyncClient) -> None:
    """A whole entity at a time, in order."""
    body = {
        **asked("bob", "read"),
        "evaluations": [{"resource": {"type": "record", "id": id_}} for id_ in ("101", "102")],
    }
    assert await ok(door, EVALUATIONS, body) == {"evaluations": [{"decision": False}, {"decision": True}]}


@pytest.mark.parametrize("evaluations", [None, []])
async def test_evaluations_without_any_answer_as_one(door: httpx.AsyncClient, evaluations: Any) -> None:
    """The form of the single endpoint."""
    body = asked() if evaluations is None else {**asked(), "evaluations": evaluations}
    assert await ok(door, EVALUATIONS, body) == {"decision": True}


async def test_an_item_that_fails_is_a_denial_of_its_own(door: httpx.AsyncClient) -> None:
    """Its neighbours are answered."""
    items = [asked(), {"subject": {"type": "user", "id": "a"}}, asked("bob", "no_such"), asked("bob", "read", "102")]
    answers = (await ok(door, EVALUATIONS, {"evaluations": items}))["evaluations"]
    assert [answer["decision"] for answer in answers] == [True, False, False, True]
    assert all("error" in answers[position]["context"] for position in (1, 2))


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
async def test_semantics(door: httpx.AsyncClient, semantic: str, expected: list[bool]) -> None:
    """The deciding answer comes last."""
    body = {
        "evaluations": [asked(), asked("bob"), asked()],
        "options": {"evaluations_semantic": semantic, "another": 1},
    }
    answers = (await ok(door, EVALUATIONS, body))["evaluations"]
    assert [answer["decision"] for answer in answers] == expected


async def test_an_unknown_semantic_is_refused(door: httpx.AsyncClient) -> None:
    """Not taken for another."""
    body = {"evaluations": [asked()], "options": {"evaluations_semantic": "guess"}}
    assert (await door.post(EVALUATIONS, json=body)).status_code == 400


async def test_subject_search(door: httpx.AsyncClient) -> None:
    """An id in the subject is not looked at."""
    body = {**asked(resource="102"), "subject": {"type": "user", "id": "ignored"}}
    answer = await ok(door, SUBJECTS, body)
    assert answer["results"] == [{"type": "user", "id": "bob"}]
    assert answer["page"]["next_token"] == ""


async def test_resource_search(door: httpx.AsyncClient) -> None:
    """What may be read for certain, and with its context what is conditional."""
    body = {**asked("bob"), "resource": {"type": "record"}}
    assert [found["id"] for found in (await ok(door, RESOURCES, body))["results"]] == ["102"]
    body["context"] = {"hour": 10}
    assert [found["id"] for found in (await ok(door, RESOURCES, body))["results"]] == ["102", "103"]


async def test_action_search(door: httpx.AsyncClient) -> None:
    """Every permission held."""
    alice = {"subject": {"type": "user", "id": "alice"}, "resource": {"type": "record", "id": "101"}}
    assert [found["name"] for found in (await ok(door, ACTIONS, alice))["results"]] == ["write", "read", "delete"]
    bob = {"subject": {"type": "user", "id": "bob"}, "resource": {"type": "record", "id": "102"}}
    assert [found["name"] for found in (await ok(door, ACTIONS, bob))["results"]] == ["read"]


@pytest.mark.parametrize("path", [SUBJECTS, RESOURCES, ACTIONS])
@pytest.mark.parametrize("member", ["subject", "resource"])
async def test_a_search_for_what_is_unknown_finds_nothing(door: httpx.AsyncClient, path: str, member: str) -> None:
    """And is no error."""
    body = {**asked(), member: {"type": "no_such_type", "id": "1"}}
    assert (await ok(door, path, body))["results"] == []


@pytest.mark.parametrize("limit", [1, 2, 7, 25, 100])
async def test_pages_add_up(door: httpx.AsyncClient, limit: int) -> None:
    """To the whole, each resource once, whatever is written meanwhile."""
    body: dict[str, Any] = {**asked("carol"), "resource": {"type": "record"}, "page": {"limit": limit}}
    found: list[str] = []
    for _ in range(30):
        answer = await ok(door, RESOURCES, body)
        found += [row["id"] for row in answer["results"]]
        if not answer["page"]["next_token"]:
            break
        body["page"] = {"limit": limit, "token": answer["page"]["next_token"]}
    assert found == [f"many-{n:02}" for n in range(25)]


async def test_a_token_is_bound_to_its_request(door: httpx.AsyncClient) -> None:
    """Another question with it is refused, and so is one that was made up."""
    body: dict[str, Any] = {**asked("carol"), "resource": {"type": "record"}, "page": {"limit": 2}}
    token = (await ok(door, RESOURCES, body))["page"]["next_token"]
    for changed in (
        {**body, "action": {"name": "write"}, "page": {"limit": 2, "token": token}},
        {**body, "page": {"limit": 3, "token": token}},
        {**body, "page": {"limit": 2, "token": "made-up"}},
        {**body, "page": {"limit": 2, "token": "!"}},
        {**body, "page": {"limit": -1}},
    ):
        assert (await door.post(RESOURCES, json=changed)).status_code == 400


async def test_discovery_names_the_configured_url(door: httpx.AsyncClient) -> None:
    """Whatever host the request names."""
    response = await door.get(WELL_KNOWN, headers={"host": "evil.example", "x-forwarded-host": "evil.example"})
    assert response.json() == configuration(ISSUER)
    assert response.json()["policy_decision_point"] == ISSUER
    assert "evil" not in response.text
