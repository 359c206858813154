"""Stores, administered over HTTP: made, bounded, deleted, recovered, and nothing of one in another."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from api.app import _admit_administrator
from api.http import v1_routes
from api.statuses import ApiError
from api.stores import admin_error, stores_router
from pdp.errors import PdpError
from tests.api.wire import KEY, READ_ONLY_TOKEN, SCHEMA, Wire, question, updates


@pytest_asyncio.fixture
async def admin(empty_wire: Wire) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API with its administration."""
    app = FastAPI()
    gate = empty_wire.gate
    app.include_router(stores_router(gate._pdp, partial(_admit_administrator, gate)))
    app.router.routes.extend(v1_routes(gate))
    for kind in (RequestValidationError, ApiError, PdpError):
        app.add_exception_handler(kind, admin_error)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test", headers=headers
    ) as client:
        yield client


async def in_store(admin: httpx.AsyncClient, store: str, path: str, body: Any) -> httpx.Response:
    """Ask the v1 API in a store."""
    return await admin.post(path, json=body, headers={"tessera-store": store})


async def fill(admin: httpx.AsyncClient, store: str, *texts: str) -> None:
    """Write the schema and relationships in a store."""
    assert (await in_store(admin, store, "/v1/schema/write", {"schema": SCHEMA})).status_code == 200
    written = await in_store(admin, store, "/v1/relationships/write", updates("TOUCH", *texts))
    assert written.status_code == 200, written.text


async def has(admin: httpx.AsyncClient, store: str, text: str) -> bool:
    """Whether a check in a store says yes."""
    answer = await in_store(admin, store, "/v1/permissions/check", question(text))
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["permissionship"] == "PERMISSIONSHIP_HAS_PERMISSION")


async def test_nothing_of_one_store_is_in_another(admin: httpx.AsyncClient) -> None:
    """Not its relationships, not its zookies."""
    for name in ("red", "blue"):
        assert (await admin.post("/admin/stores", json={"name": name})).status_code == 201
        await fill(admin, name, f"document:{name}#viewer@user:ann")
    assert await has(admin, "red", "document:red#view@user:ann")
    assert not await has(admin, "blue", "document:red#view@user:ann")
    asked = question("document:red#view@user:ann")
    zookie = (await in_store(admin, "red", "/v1/permissions/check", asked)).json()["checkedAt"]
    foreign = await in_store(
        admin, "blue", "/v1/permissions/check", {**asked, "consistency": {"atLeastAsFresh": zookie}}
    )
    assert foreign.status_code == 400


async def test_a_store_is_shown_and_listed(admin: httpx.AsyncClient) -> None:
    """With what it holds and may hold."""
    made = await admin.post("/admin/stores", json={"name": "red", "quotas": {"relationships_max": 5}})
    assert made.json()["quotas"] == {"relationships_max": 5, "writes_per_second_max": None}
    await fill(admin, "red", "document:one#viewer@user:ann")
    shown = (await admin.get("/admin/stores/red")).json()
    assert (shown["name"], shown["revision"], shown["relationships"]) == ("red", 2, 1)
    listed = (await admin.get("/admin/stores")).json()
    assert [store["name"] for store in listed] == ["default", "red"]


async def test_a_quota_bounds_a_store(admin: httpx.AsyncClient) -> None:
    """And is raised by another one."""
    await admin.post("/admin/stores", json={"name": "red", "quotas": {"relationships_max": 1}})
    await fill(admin, "red", "document:one#viewer@user:ann")
    more = updates("TOUCH", "document:two#viewer@user:ann")
    refused = await in_store(admin, "red", "/v1/relationships/write", more)
    assert refused.status_code == 429
    await admin.put("/admin/stores/red/quotas", json={"relationships_max": 2})
    assert (await in_store(admin, "red", "/v1/relationships/write", more)).status_code == 200


async def test_a_deleted_store_is_gone_at_once_and_can_be_recovered(admin: httpx.AsyncClient) -> None:
    """With all that it held."""
    await admin.post("/admin/stores", json={"name": "red"})
    await fill(admin, "red", "document:one#viewer@user:ann")
    deleted = await admin.delete("/admin/stores/red")
    assert deleted.status_code == 200
    asked = question("document:one#view@user:ann")
    assert (await in_store(admin, "red", "/v1/permissions/check", asked)).status_code == 404
    waiting = (await admin.get("/admin/stores", params={"deleted": True})).json()
    assert [store["name"] for store in waiting] == ["red"]
    recovered = await admin.post(f"/admin/stores/{deleted.json()['store_id']}/recover")
    assert recovered.status_code == 200
    assert await has(admin, "red", "document:one#view@user:ann")


async def test_a_name_given_anew_is_another_store(admin: httpx.AsyncClient) -> None:
    """It holds nothing of the one before."""
    await admin.post("/admin/stores", json={"name": "red"})
    await fill(admin, "red", "document:one#viewer@user:ann")
    await admin.delete("/admin/stores/red")
    await admin.post("/admin/stores", json={"name": "red"})
    await fill(admin, "red", "document:two#viewer@user:ann")
    assert not await has(admin, "red", "document:one#view@user:ann")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="no name"),
        pytest.param({"name": ""}, id="an empty name"),
        pytest.param({"name": "a b"}, id="a blank"),
        pytest.param({"name": "x" * 65}, id="too long"),
        pytest.param({"name": "../etc"}, id="a path"),
        pytest.param({"name": "red", "quotas": {"relationships_max": -1}}, id="a negative quota"),
        pytest.param({"name": "red", "quotas": 3}, id="a number for quotas"),
        pytest.param([], id="an array"),
    ],
)
async def test_bad_requests(admin: httpx.AsyncClient, body: Any) -> None:
    """400 in the form of every other error, and nothing is made."""
    refused = await admin.post("/admin/stores", json=body)
    assert (refused.status_code, refused.json()["code"]) == (400, 3)
    assert len((await admin.get("/admin/stores")).json()) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/stores"),
        ("POST", "/admin/stores"),
        ("GET", "/admin/stores/default"),
        ("PUT", "/admin/stores/default/quotas"),
        ("DELETE", "/admin/stores/default"),
        ("POST", "/admin/stores/1/recover"),
    ],
)
async def test_only_administrators(admin: httpx.AsyncClient, method: str, path: str) -> None:
    """A credential without the scope is 403, none is 401."""
    for key, expected in ((READ_ONLY_TOKEN, 403), ("wrong", 401)):
        refused = await admin.request(method, path, json={"name": "x"}, headers={"authorization": f"Bearer {key}"})
        assert refused.status_code == expected


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/stores/none"),
        ("PUT", "/admin/stores/none/quotas"),
        ("DELETE", "/admin/stores/none"),
        ("POST", "/admin/stores/9999/recover"),
    ],
)
async def test_an_unknown_store(admin: httpx.AsyncClient, method: str, path: str) -> None:
    """404."""
    assert (await admin.request(method, path, json={})).status_code == 404
