"""Authorization details (RFC 9396): read from a request, held against what may be granted."""

from collections.abc import Sequence

from authn.clients.client import Client
from authn.errors import InvalidAuthorizationDetails, MalformedJose
from authn.jose import loads_object
from authn.rights import Detail, Rights

DETAILS_MAX = 32
DETAILS_CHARS_MAX = 16 * 1024


def read_details(text: str | None) -> Sequence[Detail]:
    """The details of a request parameter; none where there is no parameter.

    Raises:
        InvalidAuthorizationDetails: it is no JSON array of objects that each have a ``type``.
    """
    if text is None:
        return ()
    if len(text) > DETAILS_CHARS_MAX:
        raise InvalidAuthorizationDetails("the authorization details are too long")
    try:
        members = loads_object(b'{"all":' + text.encode("utf-8", "surrogatepass") + b"}")
    except MalformedJose as error:
        raise InvalidAuthorizationDetails("the authorization details are no JSON") from error
    details = members["all"]
    if len(members) > 1 or not isinstance(details, list) or not 0 < len(details) <= DETAILS_MAX:
        raise InvalidAuthorizationDetails(f"the authorization details are no array of 1 to {DETAILS_MAX}")
    for detail in details:
        if not isinstance(detail, dict) or not isinstance(detail.get("type"), str):
            raise InvalidAuthorizationDetails("an authorization detail is no object with a `type`")
    return details


async def granted_details(
    details: Sequence[Detail], client: Client, subject: str, rights: Rights, carried_types: Sequence[str]
) -> Sequence[Detail]:
    """As much of the details as may be granted now.

    Args:
        carried_types: types that are not judged here but by whoever receives the token.

    Raises:
        InvalidAuthorizationDetails: one is of a type that is unknown or not the client's, or nothing is left.
    """
    if not details:
        return ()
    known = {*rights.details_types, *carried_types}
    for detail in details:
        if detail["type"] not in known or detail["type"] not in client.details_types:
            raise InvalidAuthorizationDetails("a type of authorization details is unknown or not the client's")
    judged = [detail for detail in details if detail["type"] in rights.details_types]
    allowed = list(await rights.granted(subject, judged)) if judged else []
    granted = [detail for detail in details if detail not in judged or detail in allowed]
    if not granted:
        raise InvalidAuthorizationDetails("none of the authorization details may be granted")
    return granted
