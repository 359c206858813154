"""The one place where the parts are made and handed to each other."""

import asyncio
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.access import AccessLog, HttpMetrics, RequestLog
from api.auth import Authenticator, Caller, NotKnownYet, Possession, Unauthenticated, require_scope
from api.authzen import routes as authzen_routes
from api.gate import DEFAULT_STORE, Gate
from api.http import v1_routes
from api.logs import get_logger
from api.methods import METHODS
from api.oauth import InFront
from api.oauth import routes as oauth_routes
from api.oauth_admin import admin_router
from api.openapi import v1_paths
from api.openapi_doors import door_paths
from api.pdp_metrics import PdpCollector
from api.settings import Settings, key_encryption_keys
from api.statuses import ApiError, Code, Status
from api.stores import admin_error, stores_router
from authn.errors import AuthnError, InvalidDpopProof, InvalidToken, NeedsStore, OAuthError, UseDpopNonce
from authn.errors import StoreUnavailable as IdentitiesUnavailable
from authn.jose import ASYMMETRIC_ALGORITHMS
from authn.rights import NoRights
from authn.service import Authn
from authn.settings import AuthnSettings
from authn.stores.connect import AuthnStore
from authn.stores.connect import connect as connect_identities
from pdp.errors import PdpError
from pdp.redis_level import RedisLevel
from pdp.replica.keeper import ReplicaSettings
from pdp.service import CheckSettings, Pdp
from pdp.stores.connect import connect
from pdp.stores.protocol import Datastore
from pdp.stores.values import Collected
from pdp.zookies import encode

VERSION = "0.1.0"
_COLLECT_SECONDS = 60.0


class Service:
    """Everything that serves, made from the settings; `start` makes it ready, `stop` lets go."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry = CollectorRegistry()
        self.request_log = RequestLog()
        self.request_log.enabled = settings.log_level in {"debug", "info"}
        self._collector: asyncio.Task[None] | None = None
        self._second_level: RedisLevel | None = None
        self.datastore: Datastore
        self.identities: AuthnStore
        self.pdp: Pdp
        self.authn: Authn
        self.authenticator: Authenticator

    async def start(self, *, migrate: bool = False) -> None:
        """Open the databases; make them ours where they are empty. Prints the first admin client, once.

        Raises:
            BadSetting: a setting cannot be used with what is there.
            StoreUnavailable: the database cannot be reached.
            DatabaseNotMigrated, NotMigrated: its tables are of an older or an unknown version.
        """
        settings = self.settings
        keys = key_encryption_keys(settings)
        self.datastore = await connect(settings.database_url, replica_urls=settings.postgres_replica_urls)
        self.identities = await connect_identities(settings.database_url)
        if migrate or await self.datastore.is_empty():
            await self.datastore.migrate()
        if migrate or await self.identities.is_empty():
            await self.identities.migrate()
        await self.datastore.verify()
        await self.identities.require_current()
        await self.datastore.create(DEFAULT_STORE)
        self._collector = asyncio.create_task(self._collect(), name="garbage collection")
        self._second_level = RedisLevel(settings.redis_url) if settings.redis_url else None
        self.pdp = Pdp(
            self.datastore,
            CheckSettings(),
            ReplicaSettings(bytes_max=settings.replica_bytes_max),
            self._second_level,
        )
        self.registry.register(PdpCollector(self.pdp, self._second_level))
        await self.pdp.start()
        default = await self.pdp.store(DEFAULT_STORE)
        self.authn = Authn(
            AuthnSettings(issuer=settings.issuer, key_encryption_keys=keys, redis_url=settings.redis_url),
            self.identities,
            rights=NoRights(zookie=lambda: encode(default.store, default.follower.applied)),
            registry=self.registry,
        )
        admin = await self.authn.start()
        if admin is not None:
            print(f"admin client_id={admin[0]} client_secret={admin[1]}", flush=True)  # noqa: T201 - meant to be seen
        self.authenticator = Authenticator(
            settings.preshared_keys, self._verify_token, self._ask_about_token, self._prove_possession
        )

    async def _collect(self) -> None:
        """Remove what the window has passed, for as long as the service runs."""
        log = get_logger("collect")
        while True:
            await asyncio.sleep(_COLLECT_SECONDS)
            try:
                collected = await self.datastore.collect()
            except PdpError as error:
                log.warning("garbage could not be collected", error=str(error))
            else:
                if collected != Collected():
                    log.info("garbage collected", **asdict(collected))

    def _verify_token(self, token: str) -> Caller:
        try:
            caller = self.authn.verify_bearer(token)
        except InvalidToken as error:
            raise _not_valid(error, "Bearer") from error
        except NeedsStore as error:
            raise NotKnownYet from error
        return Caller(caller.subject, caller.scopes)

    async def _ask_about_token(self, token: str) -> Caller:
        try:
            caller = await self.authn.verify(token)
        except InvalidToken as error:
            raise _not_valid(error, "Bearer") from error
        except (NeedsStore, IdentitiesUnavailable) as error:
            raise NotKnownYet from error
        return Caller(caller.subject, caller.scopes)

    async def _prove_possession(self, asked: Possession) -> Caller:
        try:
            caller = await self.authn.verify_dpop(asked.token, asked.proofs, asked.method, asked.path)
        except (InvalidToken, InvalidDpopProof, UseDpopNonce) as error:
            raise _not_valid(error, "DPoP") from error
        except (NeedsStore, IdentitiesUnavailable) as error:
            raise NotKnownYet from error
        return Caller(caller.subject, caller.scopes)

    async def stop(self) -> None:
        """Finish and let go of everything."""
        if self._collector is not None:
            self._collector.cancel()
            with suppress(asyncio.CancelledError):
                await self._collector
        if hasattr(self, "authn"):
            await self.authn.stop()
        if self._second_level is not None:
            await self._second_level.close()
        if hasattr(self, "pdp"):
            await self.pdp.close()
        elif hasattr(self, "datastore"):
            await self.datastore.close()
        if hasattr(self, "identities"):
            await self.identities.close()


def _not_valid(error: OAuthError, scheme: str) -> Unauthenticated:
    """What the bearer of a token that is refused is told (RFC 6750, section 3; RFC 9449, section 7.1)."""
    algorithms = f', algs="{" ".join(ASYMMETRIC_ALGORITHMS)}"' if scheme == "DPoP" else ""
    subject = "access token" if isinstance(error, InvalidToken) else "proof of possession"
    message = f"the {subject} is not valid: {error}"
    return Unauthenticated(message, f'{scheme} error="{error.code}"{algorithms}', error.dpop_nonce)


async def _admit_administrator(gate: Gate, request: Request) -> str:
    """Who asks the admin API, if they may."""
    caller = await gate.authenticate(request.headers, request.url.path, request.method)
    require_scope(caller, "admin")
    return caller.id


def http_app(service: Service) -> AccessLog:
    """The HTTP application: documented routes, the v1 API, health, metrics and the OpenAPI document."""
    app = FastAPI(
        title="Tessera", version=VERSION, summary="Who is calling, and may they do this.", redirect_slashes=False
    )
    oauth = oauth_routes(service.authn)
    app.router.routes.extend(oauth)
    gate = Gate(service.pdp, service.authenticator)
    app.router.routes.extend(v1_routes(gate))
    administrators = partial(_admit_administrator, gate)
    app.include_router(admin_router(service.authn, administrators))
    app.include_router(stores_router(service.pdp, administrators))
    for kind in (RequestValidationError, ApiError, PdpError):
        app.add_exception_handler(kind, admin_error)
    app.router.routes.extend(authzen_routes(gate, service.settings.issuer))

    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Whether the process serves."""
        return {"status": "SERVING"}

    @app.get("/readyz", tags=["health"], responses={503: {"description": "The database cannot be reached."}})
    async def readyz() -> Response:
        """Whether it can answer: the database is there."""
        try:
            await service.datastore.ping()
            await service.identities.ping()
        except (PdpError, AuthnError):
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
            more_paths, more_schemas = door_paths()
            document["paths"] |= paths | more_paths
            components["schemas"] |= more_schemas
            for kind, parts in components.items():
                document.setdefault("components", {}).setdefault(kind, {}).update(parts)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    routes = frozenset(route.path for route in app.routes if isinstance(route, Route))
    return AccessLog(InFront(app, oauth), HttpMetrics(service.registry), routes, service.request_log)
