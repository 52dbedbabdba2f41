"""SELLS: five real days of an online shop, replayed by clients of the public gRPC API."""
