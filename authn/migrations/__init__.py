"""The history of ``authn``'s tables, for Alembic; `authn.stores.migrate` runs it."""
