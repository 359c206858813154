"""Stores (tenants), administered: made, listed, bounded, deleted and recovered."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from api.auth import challenges
from api.statuses import Code, Status, status_of
from pdp.relationships import Instant
from pdp.service import Pdp
from pdp.stores.values import Quotas, StoreInfo

NAME = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$"
Guard = Callable[[Request], Awaitable[str]]


class QuotasModel(BaseModel):
    """What a store may hold and take; no value is no bound."""

    relationships_max: int | None = Field(default=None, ge=0)
    writes_per_second_max: int | None = Field(default=None, ge=1)

    def value(self) -> Quotas:
        """As the store takes them."""
        return Quotas(self.relationships_max, self.writes_per_second_max)


class NewStore(BaseModel):
    """A store to be made."""

    name: str = Field(pattern=NAME, max_length=64)
    quotas: QuotasModel = QuotasModel()


class StoreModel(BaseModel):
    """A store as an operator sees it."""

    store_id: str
    name: str
    timeline: str
    created_at: datetime
    deleted_at: datetime | None
    revision: int
    oldest_revision: int
    relationships: int
    quotas: QuotasModel


def _time(instant: Instant) -> datetime:
    return datetime.fromtimestamp(instant / 1_000_000, UTC)


def _model(info: StoreInfo) -> StoreModel:
    return StoreModel(
        store_id=str(info.store_id),
        name=info.name,
        timeline=info.timeline,
        created_at=_time(info.created_at),
        deleted_at=None if info.deleted_at is None else _time(info.deleted_at),
        revision=info.revision,
        oldest_revision=info.oldest,
        relationships=info.relationships,
        quotas=QuotasModel(
            relationships_max=info.quotas.relationships_max,
            writes_per_second_max=info.quotas.writes_per_second_max,
        ),
    )


def stores_router(pdp: Pdp, guard: Guard) -> APIRouter:
    """The administration of stores.

    Args:
        guard: lets administrators through and nobody else.
    """
    router = APIRouter(prefix="/admin/stores", tags=["admin"])
    datastore = pdp.datastore
    Name = Annotated[str, Path(pattern=NAME)]  # noqa: N806 - it names a type

    @router.post("", status_code=201, summary="Make a store")
    async def create(request: Request, new: NewStore) -> StoreModel:
        await guard(request)
        await datastore.create(new.name, new.quotas.value())
        return _model(await datastore.info(new.name))

    @router.get("", summary="List stores, or those that can be recovered")
    async def list_(request: Request, deleted: Annotated[bool, Query()] = False) -> list[StoreModel]:
        await guard(request)
        return [_model(info) async for info in datastore.infos(deleted=deleted)]

    @router.get("/{name}", summary="Show a store")
    async def show(request: Request, name: Name) -> StoreModel:
        await guard(request)
        return _model(await datastore.info(name))

    @router.put("/{name}/quotas", summary="Bound a store")
    async def bound(request: Request, name: Name, quotas: QuotasModel) -> StoreModel:
        await guard(request)
        await datastore.set_quotas(name, quotas.value())
        return _model(await datastore.info(name))

    @router.delete("/{name}", summary="Delete a store; it can be recovered for a while")
    async def delete(request: Request, name: Name) -> StoreModel:
        await guard(request)
        info = await datastore.delete(name)
        await pdp.forget_changed()
        return _model(info)

    @router.post("/{store_id}/recover", summary="Bring a deleted store back")
    async def recover(request: Request, store_id: int) -> StoreModel:
        await guard(request)
        store = await datastore.recover(store_id)
        return _model(await datastore.info(store.name))

    return router


async def admin_error(_: Request, error: Exception) -> Response:
    """What an administrator is told of an error: the status that every other door gives."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        status = Status(Code.INVALID_ARGUMENT, f"{where}: {str(first['msg'])[:1].lower()}{str(first['msg'])[1:]}")
    else:
        status = status_of(error) or Status(Code.INTERNAL, "internal error")
    headers = dict(challenges(error)) if status.http_status == 401 else {}
    if status.retry_after_s is not None:
        headers["retry-after"] = str(status.retry_after_s)
    return JSONResponse(status.to_json(), status.http_status, headers)
