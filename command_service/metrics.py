"""What the command service counts, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

QUEUE_LENGTH = Gauge("shopkeeper_queue_length", "Commands waiting for a batch.", ["lane"])
BATCH_SIZE = Histogram(
    "shopkeeper_batch_size",
    "Commands a transaction.",
    ["lane"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200),
)
COMMIT_SECONDS = Histogram(
    "shopkeeper_commit_seconds",
    "From claim to COMMIT of one batch, retries included.",
    ["lane"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 20),
)
RETRIES = Counter("shopkeeper_batch_retries_total", "Batches tried again.", ["lane", "sqlstate_class"])
