"""Alembic's entry point: renders versions as SQL, which `pdp.stores.migrate` runs on a connection of its own."""

from alembic import context

from pdp.stores.tables import metadata

context.configure(
    dialect_name=context.config.get_main_option("dialect_name"),
    target_metadata=metadata,
    version_table="pdp_version",
    literal_binds=True,
    transactional_ddl=False,
    output_buffer=context.config.output_buffer,
)
with context.begin_transaction():
    context.run_migrations()
