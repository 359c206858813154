"""Which scopes and which audience a request gets, of those that it may have."""

import re
from collections.abc import Sequence

from authn.clients.client import Client
from authn.clients.metadata import SCOPE_TOKEN, is_resource
from authn.errors import InvalidScope, InvalidTarget

SCOPE_CHARS_MAX = 4_096
_SPACES = re.compile(r" +")


def granted_scopes(requested: str | None, allowed: Sequence[str]) -> tuple[str, ...]:
    """The scopes asked for, or all that are allowed where none are asked for (RFC 6749, section 3.3).

    Raises:
        InvalidScope: one is malformed or not allowed. A part of what was asked for is not given silently.
    """
    if requested is None:
        return tuple(allowed)
    if len(requested) > SCOPE_CHARS_MAX:
        raise InvalidScope("the scope is too long")
    scopes = tuple(dict.fromkeys(token for token in _SPACES.split(requested) if token))
    if not scopes or not all(SCOPE_TOKEN.fullmatch(scope) for scope in scopes):
        raise InvalidScope("the scope is malformed")
    if not set(scopes) <= set(allowed):
        raise InvalidScope("a scope is asked for that may not be granted")
    return scopes


def granted_audience(resources: Sequence[str], client: Client, own_audience: str) -> str:
    """The one audience of a token: the resource asked for, or our own API (RFC 8707, section 2).

    Raises:
        InvalidTarget: more than one is asked for, or one that is malformed or not the client's.
    """
    if not resources:
        return own_audience
    if len(resources) > 1:
        raise InvalidTarget("a token has one audience")
    resource = resources[0]
    if not is_resource(resource):
        raise InvalidTarget("the resource is no absolute URI without a fragment")
    if resource != own_audience and resource not in client.resources:
        raise InvalidTarget("the resource is not one of the client's")
    return resource
