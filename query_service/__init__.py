"""ANSWERS: gRPC queries from the read models, and nothing else."""
