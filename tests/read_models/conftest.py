"""The fixtures of the read side."""

from tests.read_side import (
    cluster_valkey,
    connection,
    log,
    new_projector,
    projector,
    read_models_server,
    read_models_url,
)

__all__ = [
    "cluster_valkey",
    "connection",
    "log",
    "new_projector",
    "projector",
    "read_models_server",
    "read_models_url",
]
