"""Running the service: its listener, its processes, its event loop and its signals."""

import asyncio
import gc
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

import uvicorn
import uvloop

from api.app import Service, http_app
from api.fast_check import FastChecks
from api.fast_http import fast_protocol
from api.gate import Gate
from api.grpc_server import GrpcServer, grpc_listener
from api.logs import configure_logs, get_logger
from api.settings import Address, BadSetting, Settings

_SHUTDOWN_SECONDS = 4
_GRPC_GRACE_SECONDS = 0.5
"""For calls that have not ended when HTTP's have, which had their time while those were finished."""
_SUPERVISE_SECONDS = 0.2
_COLLECTED_AFTER = (50_000, 20, 100)
"""Python's own garbage collection: a page of ten thousand relationships is no garbage, and walking them over and over
while they are read took two thirds of an export's time."""


def run_server(settings: Settings, *, migrate: bool) -> None:
    """Serve until SIGTERM or SIGINT, in as many processes as the settings say.

    Raises:
        BadSetting: a setting cannot be used here, an address in use among them.
        StoreUnavailable: the database cannot be reached.
    """
    configure_logs(settings.log_level)
    if settings.workers > 1 and settings.database_url == "sqlite:///:memory:":
        raise BadSetting("TESSERA_WORKERS", "several processes cannot share a database in memory")
    with _listen(settings) as listener:
        if settings.grpc_addr is not None:
            _bind("TESSERA_GRPC_ADDR", settings.grpc_addr).close()
        if settings.workers == 1:
            _run(_serve(settings, listener, migrate=migrate))
        else:
            _run(_prepare(settings, migrate=migrate))
            _Workers(settings, listener).run()


def _run(work: Coroutine[Any, Any, None]) -> None:
    gc.set_threshold(*_COLLECTED_AFTER)
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def _listen(settings: Settings) -> socket.socket:
    listener = _bind("TESSERA_HTTP_ADDR", settings.http_addr)
    listener.listen(2048)
    return listener


def _bind(name: str, address: Address) -> socket.socket:
    """A socket bound to the address that a setting names."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise BadSetting(name, f"cannot listen on `{address}`: {error.strerror}") from error
    return listener


async def _prepare(settings: Settings, *, migrate: bool) -> None:
    """Do once what must be done once: the tables, the first keys, the first admin client."""
    service = Service(settings)
    try:
        await service.start(migrate=migrate)
    finally:
        await service.stop()


class _Server(uvicorn.Server):
    """A server that returns when it is told to end.

    Uvicorn's own raises the signal once more, which would end the process before the service has let go of anything.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let both signals end the serving, from here to the process' end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


async def _serve(settings: Settings, listener: socket.socket, *, migrate: bool = False) -> None:
    service = Service(settings)
    grpc_server: GrpcServer | None = None
    try:
        await service.start(migrate=migrate)
        app = http_app(service)
        door = FastChecks(service.authenticator, service.pdp.opened)
        config = uvicorn.Config(
            app,
            http=fast_protocol(door, app),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            date_header=True,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            ssl_certfile=settings.tls.cert_file if settings.tls else None,
            ssl_keyfile=settings.tls.key_file if settings.tls else None,
        )
        gate = Gate(service.pdp, service.authenticator)
        grpc_server = grpc_listener(settings, gate, service.registry, service.request_log)
        if grpc_server is not None:
            await grpc_server.start()
        await _Server(config).serve([listener])
    finally:
        if grpc_server is not None:
            await grpc_server.stop(_GRPC_GRACE_SECONDS)
        await service.stop()
        service.request_log.flush()


def _worker(settings: Settings, listener: socket.socket) -> None:
    """One of several processes; ends with the one that started it."""
    configure_logs(settings.log_level)
    parent = os.getppid()

    async def serve() -> None:
        serving = asyncio.create_task(_serve(settings, listener))
        while not serving.done():
            await asyncio.wait([serving], timeout=1.0)
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
        await serving

    _run(serve())


class _Workers:
    """Starts processes that share the listener, and starts one again when it dies."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = []
        self._stopping = False
        self._log = get_logger("workers")

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._processes = [self._start() for _ in range(self._settings.workers)]
        while not self._stopping:
            time.sleep(_SUPERVISE_SECONDS)
            for position, process in enumerate(self._processes):
                if not self._stopping and not process.is_alive():
                    self._log.error("a process died and is started again", exit_code=process.exitcode)
                    self._processes[position] = self._start()
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + _SHUTDOWN_SECONDS
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()

    def _start(self) -> BaseProcess:
        process = self._context.Process(target=_worker, args=(self._settings, self._listener), daemon=True)
        process.start()
        return process

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
