"""RECALLS: explains, past states and the event stream, from read-only PostgreSQL."""
