"""The schema's history: one Alembic version per change, plain SQL beside it. Packaged with the code that needs it."""
