"""What Alembic runs: migrations on the connection that it was handed."""

from alembic import context

from pdp.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
