"""What ``authn`` is told when it is made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from authn.errors import BadConfiguration
from authn.jose import SIGNING_ALGORITHMS
from authn.keys.states import RotationPolicy

KNOWN_SCOPES = (
    "schema:read",
    "schema:write",
    "relationships:read",
    "relationships:write",
    "permissions:check",
    "watch",
    "admin",
)
"""The scopes that our own API knows. Clients may be registered with others, for other services' use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthnSettings:
    """Settings of the identity part.

    Args:
        issuer: our public URL, without a slash at the end: what tokens name, to the byte.
        audience: what tokens for our own API name; the issuer where it is not given.
        key_encryption_keys: the first seals, all open.
        scopes: what the first client may do.
        access_token_lifetime_s: where a client has none of its own.
        refresh_idle_lifetime_s: for how long a refresh token may lie unused.
        refresh_window_ms: for how long after its use a refresh token gives the same client the same answer again;
            0 is strict.
        redis_url: where what was used once is remembered; the database where it is not given.
        key_set_networks: networks that are not public and from which clients' key sets may be fetched all the same.
        details_types: types of authorization details that are carried through to resource servers.
    """

    issuer: str
    key_encryption_keys: Sequence[bytes]
    audience: str = ""
    scopes: Sequence[str] = KNOWN_SCOPES
    signing_algorithms: Sequence[str] = SIGNING_ALGORITHMS
    rotation: RotationPolicy = field(default_factory=RotationPolicy)
    access_token_lifetime_s: int = 600
    refresh_idle_lifetime_s: int = 14 * 86_400
    refresh_lifetime_s: int = 90 * 86_400
    refresh_window_ms: int = 10_000
    details_types: Sequence[str] = ()
    redis_url: str | None = None
    key_set_networks: Sequence[IPv4Network | IPv6Network] = ()

    def __post_init__(self) -> None:
        if not self.issuer.startswith(("https://", "http://")) or self.issuer.endswith("/"):
            raise BadConfiguration("the issuer is an http(s) URL without a slash at its end")
        if not self.audience:
            object.__setattr__(self, "audience", self.issuer)
        if "ES256" not in self.signing_algorithms:
            raise BadConfiguration("ES256 is always among the signing algorithms")

    def url(self, path: str) -> str:
        """The public URL of one of our paths."""
        return self.issuer + path
