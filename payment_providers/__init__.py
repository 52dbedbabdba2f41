"""The outside world of payments: one port, an adapter for each provider."""
