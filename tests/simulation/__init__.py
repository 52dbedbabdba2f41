"""The write side under a simulated clock and scheduler, on a database and a provider in memory.

`make simulate SEEDS=n`; the database's model is kept true by the suite in contract/, which asks the same
of PostgreSQL.
"""
