"""What is counted. Labels come from closed sets; no client, subject or token ever is one."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SIGNING_BUCKETS_S = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05)


class AuthnMetrics:
    """The metrics of the identity part."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self._issued = counter(
            "authn_tokens_issued_total", "Access tokens issued, by what they are bound to.", "grant", "alg", "bound"
        )
        self._issued_by: dict[tuple[str, str, str], Counter] = {}
        self.token_errors = counter("authn_token_errors_total", "Refusals, by error code.", "endpoint", "error")
        self.replay_rejected = counter("authn_replay_rejected_total", "What came a second time.", "kind")
        self.refresh_reuse = counter("authn_refresh_reuse_total", "Refresh tokens that came after their use.")
        self.introspections = counter("authn_introspections_total", "Tokens looked into.", "active")
        self.unknown_kid = counter("authn_jwks_unknown_kid_total", "Tokens that no key of ours signed.")
        self.events = counter("authn_events_total", "Audit events.", "name")
        self.key_age = gauge("authn_key_age_seconds", "How long keys are in their state.", "alg", "kid_state")
        self.denylist_size = gauge("authn_denylist_size", "Revocations that are remembered.")
        self.feed_age = gauge("authn_feed_age_seconds", "How long ago the revocation feed was last read.")
        self._signing = Histogram(
            "authn_signing_seconds", "Time to sign a token.", ["alg"], buckets=_SIGNING_BUCKETS_S, registry=registry
        )
        self._signing_by: dict[str, Histogram] = {}

    def token_issued(self, grant: str, alg: str, bound: str) -> None:
        """An access token was issued. As `token_signed`: finding a child by its labels costs as much as the rest."""
        key = (grant, alg, bound)
        child = self._issued_by.get(key)
        if child is None:
            child = self._issued_by[key] = self._issued.labels(*key)
        child.inc()

    def token_signed(self, alg: str, seconds: float) -> None:
        """An access token was signed."""
        child = self._signing_by.get(alg)
        if child is None:
            child = self._signing_by[alg] = self._signing.labels(alg)
        child.observe(seconds)
