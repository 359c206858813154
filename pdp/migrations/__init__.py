"""Migrations of the relationship tables; `upgrade` runs those that a database lacks."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

VERSION_TABLE = "pdp_version"


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: sa.Connection) -> None:
    """Bring the database behind a connection to the newest schema."""
    command.upgrade(_config(connection), "head")
