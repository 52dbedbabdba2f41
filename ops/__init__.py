"""RUNS: the `shopkeeper` command line and the servers a fresh machine lacks."""
