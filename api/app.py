"""The one place where the parts are made and handed to each other."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from api.access import AccessLog, HttpMetrics
from api.auth import Authenticator, Caller, Unauthenticated
from api.http import DEFAULT_STORE, Endpoint, V1Door
from api.methods import METHODS
from api.openapi import v1_paths
from api.settings import Settings, key_encryption_keys
from api.statuses import Code, Status
from pdp.errors import PdpError
from pdp.replica.keeper import ReplicaSettings
from pdp.service import CheckSettings, Pdp
from pdp.stores.connect import connect
from pdp.stores.protocol import Datastore

VERSION = "0.1.0"


class Service:
    """Everything that serves, made from the settings; `start` makes it ready, `stop` lets go."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry = CollectorRegistry()
        self.datastore: Datastore
        self.pdp: Pdp
        self.authenticator: Authenticator

    async def start(self, *, migrate: bool = False) -> None:
        """Open the databases; make them ours where they are empty.

        Raises:
            BadSetting: a setting cannot be used with what is there.
        """
        settings = self.settings
        key_encryption_keys(settings)
        self.datastore = await connect(settings.database_url)
        if migrate or await self.datastore.is_empty():
            await self.datastore.migrate()
        await self.datastore.create(DEFAULT_STORE)
        self.pdp = Pdp(self.datastore, CheckSettings(), ReplicaSettings(bytes_max=settings.replica_bytes_max))
        await self.pdp.store(DEFAULT_STORE)
        self.authenticator = Authenticator(settings.preshared_keys, self._verify_token)

    def _verify_token(self, token: str) -> Caller:
        raise Unauthenticated("the token is not good")

    async def stop(self) -> None:
        """Finish and let go of everything."""
        if hasattr(self, "pdp"):
            await self.pdp.close()


async def migrate_databases(settings: Settings) -> None:
    """Bring the database up to date, and nothing else."""
    datastore = await connect(settings.database_url)
    try:
        await datastore.migrate()
    finally:
        await datastore.close()


def http_app(service: Service) -> ASGIApp:
    """The HTTP application: documented routes, the v1 API, health, metrics and the OpenAPI document."""
    app = FastAPI(title="Tessera", version=VERSION, summary="Who is calling, and may they do this.")
    door = V1Door(service.pdp, service.authenticator)
    for method in METHODS:
        app.router.routes.append(Route(method.path, Endpoint(method, door)))

    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Whether the process serves."""
        return {"status": "SERVING"}

    @app.get("/readyz", tags=["health"], responses={503: {"description": "The database cannot be reached."}})
    async def readyz() -> Response:
        """Whether it can answer: the database is there."""
        try:
            await service.datastore.ping()
        except PdpError:
            return JSONResponse({"status": "NOT_SERVING"}, 503, {"retry-after": "1"})
        return JSONResponse({"status": "SERVING"})

    @app.get("/metrics", tags=["health"])
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(generate_latest(service.registry), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(HTTPException)
    async def http_exception(_: Request, error: HTTPException) -> Response:
        """What no route answers, in the v1 API's form."""
        codes = {404: (Code.NOT_FOUND, "Not Found"), 405: (Code.UNIMPLEMENTED, "Method Not Allowed")}
        code, message = codes.get(error.status_code, (Code.UNKNOWN, str(error.detail)))
        return JSONResponse(Status(code, message).to_json(), error.status_code, error.headers)

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            paths, components = v1_paths(METHODS)
            document["paths"].update(paths)
            for kind, parts in components.items():
                document.setdefault("components", {}).setdefault(kind, {}).update(parts)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    routes = frozenset(route.path for route in app.routes if isinstance(route, Route))
    return AccessLog(app, HttpMetrics(service.registry), routes)
