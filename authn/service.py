"""The identity part as one object: made from settings and a store, asked by `api`."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from authn.cache import BoundedCache
from authn.clients.authenticate import AssertionCredential, SecretCredential, read_credential
from authn.clients.client import Client
from authn.clients.registry import ClientRegistry, Registered
from authn.clock import World
from authn.discovery import SUPPORTED_GRANT_TYPES, authorization_server
from authn.envelope import Envelope
from authn.errors import InvalidClient, InvalidToken, UnauthorizedClient, UnsupportedGrantType
from authn.jose import TOKEN_BYTES_MAX
from authn.keys.keeper import KeyKeeper
from authn.parameters import Form
from authn.settings import AuthnSettings
from authn.stores.connect import AuthnStore
from authn.tokens.access import Caller, read_token
from authn.tokens.issue import Issuance, TokenIssuer
from authn.tokens.scopes import granted_audience, granted_scopes

TOKENS_CACHED_MAX = 50_000


@dataclass(frozen=True, slots=True)
class OAuthRequest:
    """A form request to one of the OAuth endpoints, as far as they look at it.

    Args:
        pairs: the form's parameters in order, repeated ones included.
        dpop: every ``DPoP`` header there is.
    """

    pairs: Sequence[tuple[str, str]]
    authorization: str | None = None
    dpop: Sequence[str] = ()


def _no_zookie() -> str | None:
    return None


class Authn:
    """Clients, keys and tokens of an installation.

    Args:
        zookie: gives the zookie that access tokens carry, where there is one.
    """

    def __init__(
        self,
        settings: AuthnSettings,
        store: AuthnStore,
        *,
        world: World | None = None,
        zookie: Callable[[], str | None] = _no_zookie,
    ) -> None:
        self.settings = settings
        self.world = world or World()
        self._store = store
        self._envelope = Envelope(settings.key_encryption_keys, self.world.random_bytes)
        database = store.database
        self.clients = ClientRegistry(database, settings.issuer, self.world)
        self.keys = KeyKeeper(database, self._envelope, settings.signing_algorithms, settings.rotation, self.world)
        self._issuer = TokenIssuer(
            database,
            settings.issuer,
            self.world,
            ring=lambda: self.keys.ring,
            epoch=lambda: 0,
            zookie=zookie,
        )
        self._audiences = frozenset({settings.audience})
        self._verified: BoundedCache[bytes, Caller] = BoundedCache(TOKENS_CACHED_MAX)

    async def start(self) -> tuple[str, str] | None:
        """Make ready. On an installation's first start gives the id and secret of the admin client, once."""
        await self.keys.start()
        admin = await self.clients.create_admin(self.settings.scopes)
        return _shown_once(admin) if admin else None

    async def stop(self) -> None:
        """Finish; the store is the caller's to close."""

    def discovery(self) -> bytes:
        """The metadata of both discovery documents."""
        return orjson.dumps(authorization_server(self.settings, scopes=self.settings.scopes))

    async def token(self, request: OAuthRequest) -> Mapping[str, Any]:
        """Answer the token endpoint (RFC 6749, section 5.1).

        Raises:
            OAuthError: the request is refused.
        """
        form = Form(request.pairs)
        client = await self._authenticate(form, request)
        grant_type = form.need("grant_type")
        if grant_type not in SUPPORTED_GRANT_TYPES:
            raise UnsupportedGrantType(f"grant type {grant_type!r}")
        if grant_type not in client.grant_types:
            raise UnauthorizedClient("the client may not use this grant type")
        scopes = granted_scopes(form.get("scope"), client.scopes)
        lifetime_s = client.token_lifetime_s or self.settings.access_token_lifetime_s
        issued = await self._issuer.issue(
            Issuance(
                client=client,
                subject=client.subject,
                scopes=scopes,
                audience=granted_audience(form.resources, client, self.settings.audience),
                lifetime_s=lifetime_s,
            )
        )
        return {
            "access_token": issued.token,
            "token_type": "Bearer",
            "expires_in": lifetime_s,
            "scope": " ".join(scopes),
        }

    def verify_bearer(self, token: str) -> Caller:
        """The caller of a bearer access token for our own API. Never waits.

        Raises:
            InvalidToken: it is not good, for whatever reason.
        """
        if len(token) > TOKEN_BYTES_MAX:
            raise InvalidToken("too long")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        now_ms = self.world.now_ms()
        caller = self._verified.get(digest)
        if caller is not None:
            if now_ms >= caller.expires_at_ms:
                raise InvalidToken("expired")
            return caller
        caller = read_token(
            token,
            self.keys.ring.verifiers,
            issuer=self.settings.issuer,
            audiences=self._audiences,
            now_ms=now_ms,
        )
        self._verified.put(digest, caller)
        return caller

    async def _authenticate(self, form: Form, request: OAuthRequest) -> Client:
        credential = read_credential(form, request.authorization)
        if isinstance(credential, AssertionCredential):
            raise InvalidClient("assertions are not offered")
        client = await self.clients.find(credential.client_id)
        if client is None or client.disabled:
            raise InvalidClient("no such client, or it is disabled")
        if not isinstance(credential, SecretCredential) or credential.method not in client.auth_methods:
            raise InvalidClient("another method than the registered one")
        if not client.has_secret(credential.secret, self.world.now_ms()):
            raise InvalidClient("wrong secret")
        return client


def _shown_once(admin: Registered) -> tuple[str, str]:
    return admin.client.client_id, admin.secret or ""
