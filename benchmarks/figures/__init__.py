"""The figures, a module for those that are measured together."""
