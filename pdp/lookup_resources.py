"""Every resource of a type on which a subject has a permission."""

from typing import NamedTuple

from pdp.evaluate import Permissionship


class FoundResource(NamedTuple):
    """A resource on which the subject has the permission, or may have it once what is ``missing`` is given."""

    id: str
    permissionship: Permissionship
    missing: tuple[str, ...] = ()
