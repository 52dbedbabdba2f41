"""SumUp."""
