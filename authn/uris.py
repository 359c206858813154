"""Comparing the URL that a DPoP proof names with ours, after RFC 3986's normalisation (sections 6.2.2 and 6.2.3).

The same: letter case of scheme and host, the scheme's default port, an empty path and ``/``, dot segments, and
percent-encoding of what need not be encoded. Not the same: anything else. Query and fragment are left out of the
comparison (RFC 9449, section 4.3).
"""

import re
from urllib.parse import urlsplit

from authn.errors import MalformedJose

URL_CHARS_MAX = 2_048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_STRAY = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def normalise(url: str) -> str:
    """The one spelling of an http(s) URL, without query and fragment.

    Raises:
        MalformedJose: it is none, or names a user.
    """
    if len(url) > URL_CHARS_MAX or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise MalformedJose("the URL is not one")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise MalformedJose("the URL is not one") from error
    if parts.scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc or _STRAY.search(parts.path):
        raise MalformedJose("the URL is not one of http(s) with a host and without a user")
    if ":" in host:
        host = f"[{host}]"
    authority = host if port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{host}:{port}"
    return f"{parts.scheme}://{authority}{_remove_dots(_ENCODED.sub(_decoded, parts.path))}"


def _decoded(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()


def _remove_dots(path: str) -> str:
    """RFC 3986, section 5.2.4, for a path that is empty or begins with a slash."""
    if "/." not in path:
        return path or "/"
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        is_last = number == len(segments) - 1
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
            continue
        if is_last:
            kept.append("")
    return "/" + "/".join(kept)
