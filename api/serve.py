"""Running the service: its event loop, its listener, its signals."""

import asyncio
import socket
from contextlib import suppress

import uvicorn
import uvloop

from api.app import Service, http_app
from api.logs import configure_logs
from api.settings import BadSetting, Settings

_SHUTDOWN_SECONDS = 4


def run_server(settings: Settings, *, migrate: bool) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        BadSetting: a setting cannot be used here, an address in use among them.
    """
    configure_logs(settings.log_level)
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, migrate=migrate))


def _listen(settings: Settings) -> socket.socket:
    address = settings.http_addr
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise BadSetting("TESSERA_HTTP_ADDR", f"cannot listen on `{address}`: {error.strerror}") from error
    return listener


async def _serve(settings: Settings, *, migrate: bool) -> None:
    listener = _listen(settings)
    service = Service(settings)
    try:
        await service.start(migrate=migrate)
        config = uvicorn.Config(
            http_app(service),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            date_header=True,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        await uvicorn.Server(config).serve([listener])
    finally:
        await service.stop()
        listener.close()
