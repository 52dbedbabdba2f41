"""DECIDES: gRPC commands become pure decisions, and a batch of decisions one PostgreSQL transaction."""
