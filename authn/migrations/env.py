"""Alembic's entry point: renders the steps as SQL, which `authn.stores.migrate` runs on a connection of its own."""

from alembic import context

from authn.stores.tables import METADATA

context.configure(
    dialect_name=context.config.get_main_option("dialect_name"),
    target_metadata=METADATA,
    version_table="authn_version",
    literal_binds=True,
    transactional_ddl=False,
    output_buffer=context.config.output_buffer,
)
with context.begin_transaction():
    context.run_migrations()
