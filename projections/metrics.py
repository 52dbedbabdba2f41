"""What the projector counts, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

LAG_EVENTS = Gauge(
    "shopkeeper_projection_lag_events", "Events in the log that the serving views do not show yet."
)
LAG_SECONDS = Gauge(
    "shopkeeper_projection_lag_seconds", "Age of the oldest event that is not shown yet; 0 if all are."
)
POSITION = Gauge("shopkeeper_projection_position", "Position that the serving views have reached.")
BATCH_EVENTS = Histogram(
    "shopkeeper_projection_batch_events",
    "Events retold at once.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
)
RETELL_SECONDS = Histogram(
    "shopkeeper_projection_batch_seconds",
    "From reading a batch to having written its views.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
CONTESTED = Counter(
    "shopkeeper_projection_contested_total", "Partitions that another projector wrote first."
)
FAILURES = Counter("shopkeeper_projection_failures_total", "Rounds that failed and are tried again.")
STUCK_GENERATIONS = Gauge(
    "shopkeeper_projection_stuck_generations",
    "Generations that cannot be fed, beside the one that serves.",
)
GENERATIONS_BEGUN = Counter(
    "shopkeeper_projection_generations_begun_total", "Generations begun because none could serve."
)
