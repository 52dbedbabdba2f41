"""REMEMBERS: facts in commit order, written by commands and read by everyone after."""
