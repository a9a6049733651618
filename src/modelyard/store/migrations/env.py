"""What Alembic runs: the revisions, on the connection and in the transaction that ``Database`` opened."""

from alembic import context

from modelyard.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can roll schema changes back; Alembic only does not expect it to.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
