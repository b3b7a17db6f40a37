"""Alembic's entry: runs the versions on the connection it is given."""

from alembic import context

from bastide.store.password_tables import password_switch

connection = context.config.attributes["connection"]
# Batch mode: SQLite cannot alter a table in place.
context.configure(
    connection=connection, target_metadata=password_switch.metadata, render_as_batch=True, compare_type=True
)
with context.begin_transaction():
    context.run_migrations()
