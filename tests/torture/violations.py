"""What is judged, and what a broken promise looks like."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.torture.evidence import Evidence
from tests.torture.history import Operation, Pulse

SHOWN_OPERATIONS_MAX = 20


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, and the operations that show it."""

    check: str
    explanation: str
    operations: tuple[Operation, ...] = ()

    def __str__(self) -> str:
        shown = self.operations[:SHOWN_OPERATIONS_MAX]
        return "\n".join([f"{self.check}: {self.explanation}", *(f"    {each}" for each in shown)])


@dataclass(frozen=True, slots=True)
class Case:
    """All that is judged. commands: the calls of each request id."""

    history: Sequence[Operation]
    evidence: Evidence
    pulses: Sequence[Pulse]
    commands: dict[str, list[Operation]]


Check = Callable[[Case], Iterator[Violation]]


def shown_by(name: str, explanation: str, operations: Iterable[Operation]) -> Violation:
    """A broken promise with the operations that show it, each once and in their order."""
    once = {call.number: call for call in operations}.values()
    return Violation(name, explanation, tuple(sorted(once, key=lambda call: call.number)))
