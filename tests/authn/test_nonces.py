"""Nonces without memory: ours are known again, and nobody else's are (attack D22)."""

import pytest

from authn.nonces import LIFETIME_MS, Nonces

NOW = 1_800_000_000_000
NONCES = Nonces(b"s" * 32, "https://id.example")


def test_ours_are_known() -> None:
    """For five minutes, and their time of making with them; in every process that shares the secret."""
    nonce = NONCES.make(NOW)
    other_process = Nonces(b"s" * 32, "https://id.example")
    for later in (0, 1, LIFETIME_MS):
        assert other_process.made_at_ms(nonce, NOW + later) == NOW
    assert nonce != NONCES.make(NOW + 1)


@pytest.mark.parametrize(
    "nonce",
    [
        pytest.param(Nonces(b"s" * 32, "https://other.example").make(NOW), id="D22 another issuer's"),
        pytest.param(Nonces(b"t" * 32, "https://id.example").make(NOW), id="D22 another secret's"),
        pytest.param(NONCES.make(NOW - LIFETIME_MS - 1), id="D22 old"),
        pytest.param(NONCES.make(NOW + 60_000), id="D22 from the future"),
        pytest.param("A" * 30, id="D22 random"),
        pytest.param("", id="empty"),
        pytest.param(NONCES.make(NOW)[:-1], id="shortened"),
        pytest.param(NONCES.make(NOW) + "A", id="lengthened"),
        pytest.param("é" * 30, id="not ASCII"),
        pytest.param("!" * 30, id="not base64url"),
        pytest.param(NONCES.make(NOW)[:8] + NONCES.make(NOW + 1)[8:], id="another time, same MAC"),
    ],
)
def test_others_are_not(nonce: str) -> None:
    """Anything else is no nonce."""
    assert NONCES.made_at_ms(nonce, NOW) is None
