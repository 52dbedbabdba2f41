"""What a projector tells of itself: its health and its metrics."""

from prometheus_client import REGISTRY


class HealthRecord:
    """Keeps what the projector says of itself."""

    def __init__(self) -> None:
        self.is_well = True
        self.unwell_count = 0

    async def say_well(self) -> None:
        """It does its work."""
        self.is_well = True

    async def say_unwell(self) -> None:
        """It does not."""
        self.is_well = False
        self.unwell_count += 1


def metric(name: str) -> float:
    """What Prometheus would be told."""
    value = REGISTRY.get_sample_value(name)
    assert value is not None, name
    return value
