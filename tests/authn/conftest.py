"""Databases for the tests of the identity part."""

import pytest


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each kind of database, empty."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
