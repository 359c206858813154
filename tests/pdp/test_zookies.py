"""Zookies: what one names, and each way in which one is refused."""

import base64
import secrets
from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.errors import InvalidZookie
from pdp.relationships import Revision
from pdp.stores.protocol import RelationshipStore
from pdp.zookies import decode, encode


@dataclass
class _Store:
    name: str = "default"
    timeline: str = "t1"
    zookie_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))


def store(name: str = "default", timeline: str = "t1", key: bytes = b"k" * 32) -> RelationshipStore:
    """As much of a store as a zookie depends on."""
    return cast("RelationshipStore", _Store(name, timeline, key))


STORE = store()
TOKEN = encode(STORE, Revision(7))


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_token_names_its_revision(revision: int) -> None:
    """Every revision, in few characters that need no quoting."""
    token = encode(STORE, Revision(revision))
    assert decode(STORE, token) == revision
    assert len(token) <= 40
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_equal_revisions_have_equal_tokens() -> None:
    """So that a token can be compared, and be part of a cache's key."""
    assert encode(store(), Revision(7)) == TOKEN


@pytest.mark.parametrize(
    ("token", "says"),
    [
        pytest.param("", "cannot be read", id="empty"),
        pytest.param("not a token!", "cannot be read", id="not base64"),
        pytest.param("é" * 36, "cannot be read", id="not ascii"),
        pytest.param("AAAA", "cannot be read", id="too short"),
        pytest.param(TOKEN[:-4], "cannot be read", id="cut off"),
        pytest.param(TOKEN + "AAAA", "cannot be read", id="longer"),
        pytest.param(TOKEN + TOKEN, "cannot be read", id="twice"),
        pytest.param("C" + TOKEN[1:], "cannot be read", id="another version"),
        pytest.param(encode(store("other"), Revision(7)), "another store", id="of another store"),
        pytest.param(encode(store("other", key=b"o" * 32), Revision(7)), "another store", id="of an unknown store"),
        pytest.param(encode(store(timeline="t0"), Revision(7)), "restored or made anew", id="of another timeline"),
        pytest.param(
            encode(store(key=b"o" * 32), Revision(7)), "not made by this store", id="forged with another key"
        ),
    ],
)
def test_refused(token: str, says: str) -> None:
    """Each with a message of its own."""
    with pytest.raises(InvalidZookie, match=says):
        decode(STORE, token)


@pytest.mark.parametrize("position", range(len(TOKEN)))
def test_no_character_can_be_changed(position: int) -> None:
    """The whole of it is authenticated."""
    other = "B" if TOKEN[position] != "B" else "C"
    with pytest.raises(InvalidZookie):
        decode(STORE, TOKEN[:position] + other + TOKEN[position + 1 :])


@given(st.binary(min_size=27, max_size=27))
def test_nothing_made_up_is_taken(raw: bytes) -> None:
    """Right in length and even in what it begins with, and still refused."""
    head = base64.urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))[:9]
    forged = base64.urlsafe_b64encode(head + raw[9:]).decode().rstrip("=")
    if forged != TOKEN:
        with pytest.raises(InvalidZookie):
            decode(STORE, forged)
