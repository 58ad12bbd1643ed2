"""Alembic's entry: runs the versions over the connection that `storage.database.migrate` hands in."""

from alembic import context

from storage.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, transactional_ddl=False, user_module_prefix="tables."
)
context.run_migrations()
