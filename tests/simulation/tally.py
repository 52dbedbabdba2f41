"""How much seeds have in them: those in which nobody waits and nothing fails would prove nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.simulation.simulation import Result


@dataclass(slots=True)
class Tally:
    """Of seeds that were played. cpu_seconds: of this process; it plays on one core."""

    seed_count: int = 0
    faulty_count: int = 0
    """Seeds in which a trip or a call had a fault."""
    waiting_count: int = 0
    """Seeds in which a transaction waited for a lock."""
    eventful_count: int = 0
    """Seeds with either."""
    commit_count: int = 0
    wait_count: int = 0
    fault_count: int = 0
    virtual_seconds: float = 0.0
    cpu_seconds: float = 0.0

    def add(self, result: Result, *, cpu_seconds: float = 0.0) -> None:
        """Counts a seed in."""
        is_faulty, is_waiting = result.fault_count > 0, result.wait_count > 0
        self.seed_count += 1
        self.faulty_count += is_faulty
        self.waiting_count += is_waiting
        self.eventful_count += is_faulty or is_waiting
        self.commit_count += result.commit_count
        self.wait_count += result.wait_count
        self.fault_count += result.fault_count
        self.virtual_seconds += result.seconds
        self.cpu_seconds += cpu_seconds

    def merge(self, other: "Tally") -> None:
        """Counts in what another one has counted."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def shares(self) -> str:
        """Of all seeds, from 0 to 1."""
        return (
            f"with_faults={self._share(self.faulty_count)} with_waits={self._share(self.waiting_count)}"
            f" with_either={self._share(self.eventful_count)}"
        )

    @property
    def seeds_per_second(self) -> str:
        """Of one core's time."""
        return f"{self.seed_count / self.cpu_seconds:.0f}" if self.cpu_seconds else "0"

    def _share(self, count: int) -> str:
        return f"{count / max(1, self.seed_count):.2f}"


def tally_of(results: Iterable[Result]) -> Tally:
    tally = Tally()
    for result in results:
        tally.add(result)
    return tally
