"""Client authentication at every endpoint that asks for it, and the proof of possession that may come with it.

Everything that needs no memory is checked first; only then are the proof and the assertion used up, in that order,
so that a request refused for one of them does not cost its sender the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from authn.clients.assertion import Assertion, read_assertion, verify_assertion
from authn.clients.authenticate import (
    AssertionCredential,
    Credential,
    NoCredential,
    SecretCredential,
    read_credential,
)
from authn.clients.client import Client, secret_digest
from authn.clients.key_sets import KeySets, KeySetUnavailable
from authn.clients.registry import ClientRegistry
from authn.clock import World
from authn.dpop import Proof, read_proof
from authn.errors import InvalidClient, InvalidDpopProof, InvalidRequest, UseDpopNonce
from authn.jose import Jws, VerifyKey
from authn.metrics import AuthnMetrics
from authn.nonces import Nonces
from authn.parameters import Form
from authn.replay import MadeTooEarly, ReplayStore


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


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A client that proved who it is, and the thumbprint of the key it proved possession of, if any."""

    client: Client
    jkt: str | None


class ClientAuthenticator:
    """See the module."""

    def __init__(
        self,
        registry: ClientRegistry,
        key_sets: KeySets,
        replays: ReplayStore,
        nonces: Nonces,
        metrics: AuthnMetrics,
        world: World,
    ) -> None:
        self._registry = registry
        self._key_sets = key_sets
        self._replays = replays
        self._nonces = nonces
        self._metrics = metrics
        self._world = world

    async def authenticate(self, form: Form, request: OAuthRequest, url: str) -> Authenticated:
        """The client of a request to ``url``.

        Raises:
            InvalidClient: it does not prove who it is.
            InvalidRequest: it tries in two ways.
            InvalidDpopProof, UseDpopNonce: its proof of possession is not good, or another one is wanted.
            StoreUnavailable: what is used once cannot be told from what is not.
        """
        credential = read_credential(form, request.authorization)
        client, assertion = await self._identify(credential)
        proof = self._read_proof(client, request, url)
        if proof is not None:
            await self.use_proof(proof)
        if assertion is not None:
            await self._use_assertion(assertion)
        return Authenticated(client, proof.jkt if proof is not None else None)

    async def use_proof(self, proof: Proof) -> None:
        """Let a proof be used, this once.

        Raises:
            InvalidDpopProof: it was used before.
            UseDpopNonce: nobody remembers whether it was; with a nonce it would be clear.
        """
        try:
            fresh = await self._replays.consume(
                proof.replay_key, made_at_ms=proof.made_at_ms, good_until_ms=proof.good_until_ms
            )
        except MadeTooEarly as error:
            raise UseDpopNonce(str(error), dpop_nonce=self._nonces.make(self._world.now_ms())) from error
        if not fresh:
            self._metrics.replay_rejected.labels("dpop").inc()
            raise InvalidDpopProof("the proof was used before")

    async def _use_assertion(self, assertion: Assertion) -> None:
        try:
            fresh = await self._replays.consume(
                assertion.replay_key, made_at_ms=assertion.made_at_ms, good_until_ms=assertion.good_until_ms
            )
        except MadeTooEarly as error:
            raise InvalidClient(str(error)) from error
        if not fresh:
            self._metrics.replay_rejected.labels("assertion").inc()
            raise InvalidClient("the assertion was used before")

    async def _identify(self, credential: Credential) -> tuple[Client, Assertion | None]:
        match credential:
            case AssertionCredential(text, client_id):
                jws, issuer = read_assertion(text)
                if client_id is not None and client_id != issuer:
                    raise InvalidRequest("`client_id` is another than the one that authenticates")
                client = await self._registry.find(issuer)
                if client is None or client.disabled or "private_key_jwt" not in client.auth_methods:
                    raise InvalidClient("no such client, or it is disabled or registered with another method")
                keys = await self._keys(client, jws)
                return client, verify_assertion(jws, client, keys, self._world.now_ms())
            case SecretCredential(client_id, secret, method):
                client = await self._registry.find(client_id)
                if client is None:
                    secret_digest(secret)
                    raise InvalidClient("no such client")
                right = client.has_secret(secret, self._world.now_ms())
                if client.disabled or method not in client.auth_methods or not right:
                    raise InvalidClient("wrong secret, another method than the registered one, or disabled")
                return client, None
            case NoCredential(client_id):
                client = await self._registry.find(client_id)
                if client is None or client.disabled or "none" not in client.auth_methods:
                    raise InvalidClient("no such client, or it is disabled or registered with a method")
                return client, None

    async def _keys(self, client: Client, jws: Jws) -> Sequence[VerifyKey]:
        if client.jwks_uri is None:
            return client.keys
        try:
            return await self._key_sets.keys_for(client.jwks_uri, jws)
        except KeySetUnavailable as error:
            raise InvalidClient(str(error)) from error

    def _read_proof(self, client: Client, request: OAuthRequest, url: str) -> Proof | None:
        if not request.dpop:
            if client.is_key_bound:
                raise InvalidClient("the client's key is its credential, and there is no proof of it")
            return None
        proof = read_proof(
            request.dpop,
            method="POST",
            url=url,
            now_ms=self._world.now_ms(),
            nonces=self._nonces,
            nonce_required=client.dpop_nonce_required,
        )
        if client.dpop_jkts and proof.jkt not in client.dpop_jkts:
            if client.is_key_bound:
                raise InvalidClient("the proof is of a key that is not registered for the client")
            raise InvalidDpopProof("the proof is of a key that is not registered for the client")
        return proof
