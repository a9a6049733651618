"""The revisions of the database, run by Alembic. Each file under ``versions`` leads from one to the next."""
