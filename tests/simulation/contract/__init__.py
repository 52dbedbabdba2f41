"""One suite for the database in memory and for PostgreSQL: two sessions at a time."""
