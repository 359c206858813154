"""Reading access tokens of ours, of either format, with what was revoked taken into account.

A token once found good is remembered by its digest, so that the next request with it costs no signature; its time,
its key and what was revoked are looked at every time.
"""

import hashlib
from collections.abc import Callable

from authn.cache import BoundedCache
from authn.clock import World
from authn.errors import InvalidToken, MalformedJose, NeedsStore
from authn.feed import Feed
from authn.jose import TOKEN_BYTES_MAX
from authn.keys.ring import KeyRing
from authn.metrics import AuthnMetrics
from authn.stores import opaque
from authn.stores.statements import Database
from authn.tokens.access import Caller, UnknownKey, read_claims, read_token, require_current
from authn.tokens.issue import OPAQUE_PREFIX

TOKENS_CACHED_MAX = 50_000


class TokenReader:
    """See the module."""

    def __init__(
        self,
        database: Database,
        issuer: str,
        feed: Feed,
        world: World,
        metrics: AuthnMetrics,
        *,
        ring: Callable[[], KeyRing],
    ) -> None:
        self._database = database
        self._issuer = issuer
        self._feed = feed
        self._world = world
        self._metrics = metrics
        self._ring = ring
        self._known: BoundedCache[bytes, Caller] = BoundedCache(TOKENS_CACHED_MAX)

    def read_now(self, token: str) -> Caller:
        """The caller of a token, without waiting. For whom it is meant is the asker's to look at.

        Raises:
            InvalidToken: it is not good.
            NeedsStore: memory alone cannot tell; ask `read`.
        """
        self._feed.require_fresh()
        return self._judged(token)

    def _judged(self, token: str) -> Caller:
        """The caller of a token, by what memory holds now."""
        digest = _digest(token)
        caller = self._known.get(digest)
        if caller is None:
            if token.startswith(OPAQUE_PREFIX):
                raise NeedsStore("an opaque token that is not remembered")
            caller = self._read_jwt(token)
            self._known.put(digest, caller)
        self._judge(caller)
        return caller

    async def read(self, token: str) -> Caller:
        """As `read_now`, asking the database where that is needed.

        Raises:
            InvalidToken: it is not good.
            StoreUnavailable: the database does not answer, so nobody can tell.
        """
        try:
            return self.read_now(token)
        except NeedsStore:
            await self._feed.catch_up()
        if token.startswith(OPAQUE_PREFIX):
            digest = _digest(token)
            if digest not in self._known:
                self._known.put(digest, await self._read_opaque(digest))
        # Read after this was asked, so it is fresh enough, however long the answer took to get its turn here.
        return self._judged(token)

    def forget(self, token: str) -> None:
        """Drop a token from memory."""
        self._known.drop(_digest(token))

    def _read_jwt(self, token: str) -> Caller:
        try:
            return read_token(token, self._ring().verifiers, self._issuer)
        except UnknownKey:
            self._metrics.unknown_kid.inc()
            raise

    async def _read_opaque(self, digest: bytes) -> Caller:
        claims = await opaque.get(self._database, digest)
        if claims is None:
            raise InvalidToken("no such token")
        try:
            return read_claims(claims, self._issuer, kid=None)
        except MalformedJose as error:
            raise InvalidToken(str(error)) from error

    def _judge(self, caller: Caller) -> None:
        if caller.kid is not None and caller.kid not in self._ring().verifiers:
            raise UnknownKey("signed by a key that is not published any more")
        require_current(caller, self._world.now_ms())
        self._feed.revocations.check(caller)


def _digest(token: str) -> bytes:
    if len(token) > TOKEN_BYTES_MAX:
        raise InvalidToken("longer than any token")
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
