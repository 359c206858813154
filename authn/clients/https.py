"""Fetching over https without becoming somebody's way into our network.

No redirects; addresses that are not public are refused unless the operator named their network, and the address
looked at is the one that is connected to, so a name that resolves differently a moment later gains nothing (DNS
rebinding). Size and time are bounded.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

import httpcore

from authn.clients.key_sets import KeySetUnavailable

TIMEOUT_S = 5.0
BYTES_MAX = 64 * 1024

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects only where a key set may lie.

    Args:
        networks: networks that are not public and may be asked all the same.
    """

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._networks = networks
        self._streams: list[httpcore.AsyncNetworkStream] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See httpcore. The name is resolved here, once; what is connected to is an address that was looked at."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError("the host's name does not resolve") from error
        allowed = [str(info[4][0]) for info in found if self.may_connect(str(info[4][0]))]
        if not allowed:
            raise httpcore.ConnectError("the host has no address that may be asked")
        stream = await self._inner.connect_tcp(allowed[0], port, timeout, local_address, socket_options)
        self._streams.append(stream)
        peer = stream.get_extra_info("server_addr")
        if peer is None or not self.may_connect(str(peer[0])):
            raise httpcore.ConnectError("connected to an address that may not be asked")
        return stream

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise httpcore.ConnectError("no sockets of this machine")

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await self._inner.sleep(seconds)

    async def aclose(self) -> None:
        """Close every connection that was made, also one that was given up half way."""
        for stream in self._streams:
            await stream.aclose()

    def may_connect(self, address: str) -> bool:
        """Whether an address is public, or in a network that the operator named."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        ip = mapped or ip
        named = any(ip.version == network.version and ip in network for network in self._networks)
        return named or (ip.is_global and not ip.is_multicast)


class HttpsFetch:
    """Gets a key set over https.

    Args:
        tls: whom to trust; the system's certificates where it is not given.
    """

    def __init__(self, networks: Sequence[Network] = (), tls: ssl.SSLContext | None = None) -> None:
        self._networks = networks
        self._tls = tls

    async def __call__(self, url: str) -> bytes:
        """See `Fetch`."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._get(url)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            raise KeySetUnavailable(f"the key set cannot be fetched: {error or type(error).__name__}") from error

    async def _get(self, url: str) -> bytes:
        if not url.startswith("https://"):
            raise KeySetUnavailable("key sets are fetched over https only")
        tls = self._tls or await asyncio.to_thread(ssl.create_default_context)
        headers = [("accept", "application/jwk-set+json, application/json")]
        backend = GuardedBackend(self._networks)
        async with (
            aclosing(backend),
            httpcore.AsyncConnectionPool(ssl_context=tls, network_backend=backend) as pool,
            pool.stream("GET", url, headers=headers) as response,
        ):
            if response.status != 200:
                raise KeySetUnavailable(f"the key set's server answers {response.status}")
            data = b""
            async for chunk in response.aiter_stream():
                data += chunk
                if len(data) > BYTES_MAX:
                    raise KeySetUnavailable(f"the key set is larger than {BYTES_MAX} bytes")
            return data
