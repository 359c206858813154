"""Which URLs a DPoP proof may name for ours, and which are another's."""

import pytest

from authn.errors import MalformedJose
from authn.uris import normalise

OURS = "https://id.example/oauth2/token"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://id.example/oauth2/token", id="the same"),
        pytest.param("HTTPS://ID.EXAMPLE/oauth2/token", id="letter case of scheme and host"),
        pytest.param("https://id.example:443/oauth2/token", id="default port"),
        pytest.param("https://id.example:/oauth2/token", id="empty port"),
        pytest.param("https://id.example/oauth2/token?a=b", id="query"),
        pytest.param("https://id.example/oauth2/token#x", id="fragment"),
        pytest.param("https://id.example/oauth2/token?#", id="empty query and fragment"),
        pytest.param("https://id.example/oauth2/%74oken", id="what need not be encoded"),
        pytest.param("https://id.example/a/../oauth2/./token", id="dot segments"),
        pytest.param("https://id.example/../oauth2/token", id="above the root"),
        pytest.param("https://id.example/%2E%2E/oauth2/token", id="encoded dots"),
    ],
)
def test_the_same(url: str) -> None:
    """Spellings that RFC 3986 calls the same."""
    assert normalise(url) == OURS


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://id.example/oauth2/token", id="scheme"),
        pytest.param("https://id.example:8443/oauth2/token", id="port"),
        pytest.param("https://id.example/oauth2/Token", id="letter case of the path"),
        pytest.param("https://id.example/oauth2/token/", id="slash at the end"),
        pytest.param("https://id.example//oauth2/token", id="double slash"),
        pytest.param("https://id.example/oauth2%2Ftoken", id="encoded slash"),
        pytest.param("https://id.example/oauth2/token;x", id="path parameter"),
        pytest.param("https://id.example.evil.example/oauth2/token", id="longer host"),
        pytest.param("https://id.example./oauth2/token", id="dot at the host's end"),
        pytest.param("https://xn--d-gya.example/oauth2/token", id="punycode"),
        pytest.param("https://id.example/oauth2/token/..", id="dots at the end"),
        pytest.param("https://id.example", id="no path"),
    ],
)
def test_another(url: str) -> None:
    """URLs that are good and not ours."""
    assert normalise(url) != OURS


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/oauth2/token",
        "id.example/oauth2/token",
        "ftp://id.example/",
        "javascript:alert(1)",
        "https:///oauth2/token",
        "https://ann@id.example/oauth2/token",
        "https://id.example@evil.example/oauth2/token",
        "https://id.example\\@evil.example/",
        "https://id.example/oauth2/token\n",
        "https://id.example/oauth2/ token",
        "https://id.example/%zz",
        "https://id.example/%2",
        "https://id.example:port/",
        "https://[::1/",
        "https://é.example/",
        "https://id.example/" + "a" * 2048,
    ],
)
def test_refused(url: str) -> None:
    """What is no URL of a host on the web."""
    with pytest.raises(MalformedJose):
        normalise(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://[::1]:80", "http://[::1]/"),
        ("http://127.0.0.1:8080/a%c3%a4", "http://127.0.0.1:8080/a%C3%A4"),
        ("https://a.example/b/..", "https://a.example/"),
        ("https://a.example/b/c/.", "https://a.example/b/c/"),
    ],
)
def test_spelling(url: str, expected: str) -> None:
    """The one spelling."""
    assert normalise(url) == expected
    assert normalise(expected) == expected
