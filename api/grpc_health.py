"""Health over gRPC (``grpc.health.v1``): of the server as a whole and of each service. It asks for no credential."""

from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

SERVICE = "grpc.health.v1.Health"


class Health(aio.HealthServicer):  # type: ignore[misc]  # the library's own class is untyped
    """The package's own servicer; an unknown service is told by a message."""

    def __init__(self, services: Iterable[str]) -> None:
        super().__init__()
        self._services = ("", SERVICE, *services)

    async def serve(self) -> None:
        """Everything serves."""
        for name in self._services:
            await self.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:  # noqa: N802 - the wire's name
        """The state of a service."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return await super().Check(request, context)


def add_health(health: Health, server: grpc.aio.Server) -> None:
    """Add health to a server."""
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
