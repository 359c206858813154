"""The API over an empty store in memory."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.api.wire import Wire, serving


@pytest_asyncio.fixture
async def empty_wire() -> AsyncIterator[Wire]:
    """A caller of the API over a store without a schema."""
    async with serving() as wire:
        yield wire


@pytest_asyncio.fixture
async def wire(empty_wire: Wire) -> Wire:
    """A caller of the API over a store with `SCHEMA` and no relationships."""
    await empty_wire.schema()
    return empty_wire
