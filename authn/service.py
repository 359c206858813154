"""The identity part as one object: made from settings and a store, asked by `api`.

Everything is put together in `start`, and nothing is looked up elsewhere. What runs beside the requests: the feed is
read four times a second, keys are looked after once a minute, and what has expired is cleared away.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from authn.admin import Administration
from authn.audit import AuditLog, LogLines
from authn.clients.authenticate import read_credential
from authn.clients.authenticator import Authenticated, ClientAuthenticator, OAuthRequest
from authn.clients.key_sets import Fetch, KeySets
from authn.clients.registry import ClientRegistry
from authn.clock import World
from authn.discovery import INTROSPECT_PATH, REVOKE_PATH, TOKEN_PATH, authorization_server, protected_resource
from authn.dpop import read_proof
from authn.envelope import Envelope
from authn.errors import (
    AuthnError,
    InvalidClient,
    InvalidToken,
    OAuthError,
    StoreUnavailable,
    UnauthorizedClient,
)
from authn.events import Event, EventName
from authn.feed import POLL_INTERVAL_S, Feed
from authn.keys.keeper import KeyKeeper
from authn.keys.states import KeyState
from authn.metrics import AuthnMetrics
from authn.nonces import Nonces
from authn.parameters import Form
from authn.replay import DatabaseReplays, ReplayStore
from authn.rights import NoRights, Rights
from authn.settings import AuthnSettings
from authn.stores import feed as feed_rows
from authn.stores import grants as grant_rows
from authn.stores import opaque as opaque_rows
from authn.stores.connect import AuthnStore
from authn.tokens.access import Caller, require_audience
from authn.tokens.endpoint import TokenEndpoint
from authn.tokens.exchange import TokenExchange
from authn.tokens.introspect import Introspection
from authn.tokens.issue import TokenIssuer
from authn.tokens.reader import TokenReader
from authn.tokens.refresh import GrantStart, RefreshTokens
from authn.tokens.revoke import Revoker
from authn.tokens.subjects import Subjects
from authn.uris import normalise

_KEYS_EVERY_S = 60.0
_PURGE_EVERY_S = 600.0


@dataclass(frozen=True, slots=True)
class OAuthAnswer:
    """What an endpoint answers: members of a JSON object, or nothing at all; and a nonce for the next proof."""

    members: Mapping[str, Any] | None
    dpop_nonce: str | None = None


def _to_stderr(lines: bytes) -> None:
    sys.stderr.buffer.write(lines)
    sys.stderr.buffer.flush()


class Authn:
    """Clients, keys and tokens of an installation, in one process.

    Args:
        rights: answers about subjects and permissions; where it is not given nobody has any.
        registry: where metrics are kept.
        log: takes the audit log's lines.
        fetch: gets the key sets of clients with a ``jwks_uri``.
    """

    def __init__(
        self,
        settings: AuthnSettings,
        store: AuthnStore,
        *,
        rights: Rights | None = None,
        registry: CollectorRegistry | None = None,
        log: LogLines = _to_stderr,
        world: World | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        self.settings = settings
        self.world = world or World()
        self.metrics = AuthnMetrics(registry or CollectorRegistry())
        self.store = store
        self._rights: Rights = rights or NoRights()
        self._log = log
        self._envelope = Envelope(settings.key_encryption_keys, self.world.random_bytes)
        self._fetch = fetch
        self._tasks: list[asyncio.Task[None]] = []
        database = store.database
        self.clients = ClientRegistry(database, settings.issuer, self.world)
        self.keys = KeyKeeper(database, self._envelope, settings.signing_algorithms, settings.rotation, self.world)
        self.feed = Feed(
            database, self.world, on_client=self.clients.forget, on_keys=self.keys.reload, on_reset=self._reset
        )
        self.reader = TokenReader(
            database, settings.issuer, self.feed, self.world, self.metrics, ring=lambda: self.keys.ring
        )
        self.replays: ReplayStore
        self.audit: AuditLog
        self.nonces: Nonces
        self.revoker: Revoker
        self.admin: Administration
        self.refresh: RefreshTokens

    async def start(self, *, first_admin: bool = True) -> tuple[str, str] | None:
        """Make ready. On an installation's first start gives the id and secret of the admin client, once.

        Args:
            first_admin: make that client if it is time; the command line leaves it to the service.

        Raises:
            NotMigrated: the store's tables are another version's.
            KeyUnreadable: the key-encryption keys do not open what is there.
            StoreUnavailable: the database does not answer.
        """
        await self.store.require_current()
        await self.keys.start()
        admin = await self.clients.create_admin(self.settings.scopes) if first_admin else None
        await self.feed.start()
        database = self.store.database
        self.audit = AuditLog(database, self.keys.secret("audit-chain"), self.world, self.metrics, self._log)
        await self.audit.start()
        self.keys.listen(self._key_moved)
        self.nonces = Nonces(self.keys.secret("dpop-nonce"), self.settings.issuer)
        self.replays = await self._replay_store(first_start=admin is not None)
        self._assemble()
        self._tasks = [
            asyncio.create_task(self._every(POLL_INTERVAL_S, self._read_feed)),
            asyncio.create_task(self._every(_KEYS_EVERY_S, self._look_after_keys)),
            asyncio.create_task(self._every(_PURGE_EVERY_S, self._purge)),
        ]
        return None if admin is None else (admin.client.client_id, admin.secret or "")

    async def stop(self) -> None:
        """Finish what was accepted. The store is its maker's to close."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if hasattr(self, "audit"):
            await self.audit.close()
        if hasattr(self, "replays"):
            await self.replays.close()

    # What the endpoints answer.

    async def token(self, request: OAuthRequest) -> OAuthAnswer:
        """Answer the token endpoint (RFC 6749, section 3.2).

        Raises:
            OAuthError: the request is refused.
            StoreUnavailable: it cannot be answered at the moment.
        """
        try:
            members = await self._token_endpoint.answer(request)
        except OAuthError as error:
            self._refused("token", EventName.TOKEN_REFUSED, request, error)
            raise
        return OAuthAnswer(members, self.nonces.make(self.world.now_ms()) if request.dpop else None)

    async def introspect(self, request: OAuthRequest) -> OAuthAnswer:
        """Answer the introspection endpoint (RFC 7662). Raises as `token`."""
        try:
            form = Form(request.pairs)
            who = await self._authenticate(form, request, INTROSPECT_PATH)
            if who.client.is_public:
                raise InvalidClient("a client without a credential may not look into tokens")
            return OAuthAnswer(await self._introspection.introspect(form.need("token"), who.client))
        except OAuthError as error:
            self._refused("introspect", EventName.INTROSPECTION_REFUSED, request, error)
            raise

    async def revoke(self, request: OAuthRequest) -> OAuthAnswer:
        """Answer the revocation endpoint (RFC 7009). Raises as `token`."""
        try:
            form = Form(request.pairs)
            who = await self._authenticate(form, request, REVOKE_PATH)
            await self.revoker.revoke(form.need("token"), who.client)
        except OAuthError as error:
            self._refused("revoke", EventName.REVOCATION_REFUSED, request, error)
            raise
        return OAuthAnswer(None)

    def discovery(self) -> bytes:
        """The metadata of both discovery documents."""
        return orjson.dumps(authorization_server(self.settings, self._rights.details_types))

    def resource_metadata(self) -> bytes:
        """The metadata of our own API as a protected resource (RFC 9728)."""
        return orjson.dumps(protected_resource(self.settings, self._rights.details_types))

    # Whom a request to our own API speaks for.

    def verify_bearer(self, token: str) -> Caller:
        """The caller of a bearer access token for our own API. Never waits.

        Raises:
            InvalidToken: it is not good, or is bound to a key and so no bearer token.
            NeedsStore: memory alone cannot tell; `verify` can.
        """
        caller = self.reader.read_now(token)
        return self._require_bearer(caller)

    async def verify(self, token: str) -> Caller:
        """As `verify_bearer`, asking the database where that is needed.

        Raises:
            InvalidToken: it is not good.
            StoreUnavailable: nobody can tell at the moment.
        """
        return self._require_bearer(await self.reader.read(token))

    async def verify_dpop(self, token: str, proofs: Sequence[str], method: str, path: str) -> Caller:
        """The caller of an access token that comes with a proof of possession (RFC 9449, section 7).

        Args:
            proofs: every ``DPoP`` header of the request.
            path: the path asked, as we would write it: our own routes, never what the request claims.

        Raises:
            InvalidToken: the token is not good, or bound to another key or to none.
            InvalidDpopProof, UseDpopNonce: the proof is not good.
            StoreUnavailable: nobody can tell at the moment.
        """
        caller = await self.reader.read(token)
        require_audience(caller, self.settings.audience)
        proof = read_proof(
            proofs,
            method=method,
            url=normalise(self.settings.url(path)),
            now_ms=self.world.now_ms(),
            nonces=self.nonces,
            access_token=token,
        )
        if caller.jkt is None or caller.jkt != proof.jkt:
            raise InvalidToken("the token is bound to another key, or to none")
        await self._authenticator.use_proof(proof)
        return caller

    async def begin_grant(self, start: GrantStart) -> tuple[str, str]:
        """Begin a family of refresh tokens: its id and first token.

        Raises:
            UnauthorizedClient: the client may not have refresh tokens, or not without a key (RFC 9449, section 5).
        """
        if "refresh_token" not in start.client.grant_types:
            raise UnauthorizedClient("the client may not have refresh tokens")
        return await self.refresh.start(start)

    def _require_bearer(self, caller: Caller) -> Caller:
        require_audience(caller, self.settings.audience)
        if caller.jkt is not None:
            raise InvalidToken("a token that is bound to a key was sent without a proof")
        return caller

    # Put together.

    def _assemble(self) -> None:
        settings, database, world = self.settings, self.store.database, self.world
        key_sets = KeySets(self._fetch or _fetch_over_https(settings), world)
        self._authenticator = ClientAuthenticator(
            self.clients, key_sets, self.replays, self.nonces, self.metrics, world
        )
        subjects = Subjects(self.clients, self._rights)
        issuer = TokenIssuer(
            database,
            settings.issuer,
            self._rights,
            self.audit,
            self.metrics,
            world,
            ring=lambda: self.keys.ring,
            epoch=lambda: self.feed.position,
        )
        self.refresh = RefreshTokens(database, settings, issuer, subjects, self.feed, self.audit, self.metrics, world)
        exchange = TokenExchange(settings, self.reader, issuer, self.refresh, subjects, world)
        self._token_endpoint = TokenEndpoint(
            settings,
            self._authenticator,
            issuer,
            self.refresh,
            exchange,
            self._rights,
            normalise(settings.url(TOKEN_PATH)),
        )
        self._introspection = Introspection(self.reader, self.refresh, settings.audience, self.metrics, world)
        self.revoker = Revoker(database, settings, self.reader, self.refresh, self.feed, self.audit, world)
        self.admin = Administration(database, self.clients, self.keys, self.revoker, self.audit)

    async def _replay_store(self, *, first_start: bool) -> ReplayStore:
        if self.settings.redis_url is None:
            return DatabaseReplays(self.store.database, self.world.now_ms)
        from authn.stores.redis import EvictingRedis, RedisReplays

        replays = RedisReplays(self.settings.redis_url, self.world, first_start=first_start)
        try:
            await replays.start()
        except EvictingRedis:
            await replays.close()
            return DatabaseReplays(self.store.database, self.world.now_ms)
        except StoreUnavailable:
            return replays  # it refuses until redis is there
        return replays

    async def _authenticate(self, form: Form, request: OAuthRequest, path: str) -> Authenticated:
        return await self._authenticator.authenticate(form, request, normalise(self.settings.url(path)))

    def _refused(self, endpoint: str, name: EventName, request: OAuthRequest, error: OAuthError) -> None:
        self.metrics.token_errors.labels(endpoint, error.code).inc()
        facts = {"error": error.code, "why": str(error), "client_id": _claimed_client(request)}
        self.audit.record(Event(name, facts))

    def _key_moved(self, kid: str, to: KeyState) -> None:
        self.audit.record(Event(EventName.KEY_MOVED, {"kid": kid, "to": to.value}))

    # Beside the requests.

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            with suppress(StoreUnavailable):
                await work()

    async def _read_feed(self) -> None:
        try:
            await self.feed.poll()
        finally:
            self.metrics.denylist_size.set(len(self.feed.revocations))
            self.metrics.feed_age.set(self.feed.age_s)

    async def _look_after_keys(self) -> None:
        await self.keys.tick()
        now_ms = self.world.now_ms()
        self.metrics.key_age.clear()
        for key in self.keys.ring.records:
            age_s = (now_ms - key.state_since_ms) / 1000
            self.metrics.key_age.labels(key.algorithm, key.state.value).set(age_s)

    async def _purge(self) -> None:
        database, now_ms = self.store.database, self.world.now_ms()
        for purge in (feed_rows.purge, opaque_rows.purge, grant_rows.purge):
            await database.run(purge(now_ms))

    async def _reset(self) -> None:
        self.clients.forget()
        await self.keys.reload()


def _claimed_client(request: OAuthRequest) -> str | None:
    """Who a refused request said it was, as far as that can be read."""
    try:
        credential = read_credential(Form(request.pairs), request.authorization)
    except AuthnError:
        return None
    client_id = getattr(credential, "client_id", None)
    return client_id[:255] if isinstance(client_id, str) and client_id.isprintable() else None


def _fetch_over_https(settings: AuthnSettings) -> Fetch:
    async def fetch(url: str) -> bytes:
        from authn.clients.https import HttpsFetch

        return await HttpsFetch(settings.key_set_networks)(url)

    return fetch
