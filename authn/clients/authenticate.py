"""How a client proves who it is, as far as the request alone tells (RFC 6749, section 2.3).

One method in one request, and the one that is registered. What an unknown client, a wrong secret and a wrong method
are answered is the same, and takes about the same time.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote_plus

from authn.errors import InvalidClient, InvalidRequest
from authn.parameters import Form

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class SecretCredential:
    """A secret, and how it was sent."""

    client_id: str
    secret: str
    method: str


@dataclass(frozen=True, slots=True)
class AssertionCredential:
    """A signed assertion; ``client_id`` where the form repeats it."""

    assertion: str
    client_id: str | None


@dataclass(frozen=True, slots=True)
class NoCredential:
    """A client that only says who it is."""

    client_id: str


Credential: TypeAlias = SecretCredential | AssertionCredential | NoCredential


def read_credential(form: Form, authorization: str | None) -> Credential:
    """The one credential that a request carries.

    Raises:
        InvalidRequest: it carries two, or half of one.
        InvalidClient: it carries none, or one that cannot be read.
    """
    client_id, secret = form.get("client_id"), form.get("client_secret")
    assertion, assertion_type = form.get("client_assertion"), form.get("client_assertion_type")
    if (authorization is not None) + (secret is not None) + (assertion is not None) > 1:
        raise InvalidRequest("more than one way of client authentication is used")
    if (assertion is None) != (assertion_type is None):
        raise InvalidRequest("`client_assertion` and `client_assertion_type` go together")
    if authorization is not None:
        credential = _read_basic(authorization)
        if client_id is not None and client_id != credential.client_id:
            raise InvalidRequest("`client_id` is another than the one that authenticates")
        return credential
    if assertion is not None:
        if assertion_type != ASSERTION_TYPE:
            raise InvalidClient("another type of client assertion")
        return AssertionCredential(assertion, client_id)
    if client_id is None:
        raise InvalidClient("no client authentication")
    return NoCredential(client_id) if secret is None else SecretCredential(client_id, secret, "client_secret_post")


def _read_basic(authorization: str) -> SecretCredential:
    """RFC 6749, section 2.3.1: both halves are form-encoded before they are joined and put into base64."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("another scheme of authorization")
    try:
        decoded = base64.b64decode(encoded, validate=True)
        if base64.b64encode(decoded) != encoded.encode():
            raise InvalidClient("the credentials are not canonical base64")
        name, colon, secret = decoded.decode().partition(":")
        if not colon:
            raise InvalidClient("the credentials have no colon")
        return SecretCredential(_form_decoded(name), _form_decoded(secret), "client_secret_basic")
    except (binascii.Error, ValueError) as error:
        raise InvalidClient("the credentials cannot be decoded") from error


def _form_decoded(text: str) -> str:
    return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text
