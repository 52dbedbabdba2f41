"""What the command service counts, for Prometheus."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

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

PROVIDER_CALLS = Counter(
    "shopkeeper_provider_calls_total",
    "Errands run at a payment provider, by what they came to.",
    ["provider", "task", "outcome"],
)
PROVIDER_CALL_SECONDS = Histogram(
    "shopkeeper_provider_call_seconds",
    "From the call to a payment provider to its outcome, repetitions included.",
    ["provider", "task"],
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
)

AnswerT = TypeVar("AnswerT")


async def of_provider_call(
    call: Awaitable[AnswerT], *, provider: str, task: str, outcome_of: Callable[[AnswerT], str]
) -> AnswerT:
    """The answer of a call to a provider, counted and timed. One that breaks is counted as broken."""
    outcome = "broken"
    try:
        with PROVIDER_CALL_SECONDS.labels(provider, task).time():
            answer = await call
        outcome = outcome_of(answer)
    finally:
        PROVIDER_CALLS.labels(provider, task, outcome).inc()
    return answer
