"""Every subject of a type that has a permission on a resource."""

from collections.abc import Sequence
from typing import NamedTuple

from pdp.evaluate import Permissionship


class ExcludedSubject(NamedTuple):
    """A subject that ``*`` does not cover, or, where conditional, may not cover."""

    id: str
    permissionship: Permissionship
    missing: tuple[str, ...] = ()


class FoundSubject(NamedTuple):
    """A subject that has the permission, or may have it; ``*`` is everybody but the ``excluded``, sorted by id."""

    id: str
    permissionship: Permissionship
    missing: tuple[str, ...] = ()
    excluded: Sequence[ExcludedSubject] = ()
