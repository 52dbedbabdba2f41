"""What is judged, and what a broken promise looks like."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.torture.evidence import Evidence, LoggedEvent
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

    def carried_out(self, *methods: str) -> Iterator[tuple[str, Operation]]:
        """Request ids of such commands that took effect, with a call of each, answered or not."""
        for request_id, calls in self.commands.items():
            stored = self.evidence.answers.get(request_id)
            if calls[0].method in methods and stored is not None and stored.code == 0:
                yield request_id, calls[0]


Check = Callable[[Case], Iterator[Violation]]


def shown_by(name: str, explanation: str, operations: Iterable[Operation]) -> Violation:
    """A broken promise with the operations that show it, each once and in their order."""
    once = {call.number: call for call in operations}.values()
    return Violation(name, explanation, tuple(sorted(once, key=lambda call: call.number)))


def calls_by_subject(history: Iterable[Operation]) -> dict[str, list[Operation]]:
    """The calls of commands by the order or reservation that they are about."""
    found: dict[str, list[Operation]] = defaultdict(list)
    for call in history:
        if not call.request_id:
            continue
        # A payment's id begins with its order's.
        of_payment = call.asked.get("payment_id", "").rpartition(".")[0]
        order_id = call.asked.get("order_id") or call.told.get("order_id") or of_payment
        subject = order_id or call.asked.get("reservation_id", "")
        if subject:
            found[subject].append(call)
    return found


def shown_by_subjects(case: Case, name: str, wrong: Sequence[tuple[str, str]]) -> Iterator[Violation]:
    """What is wrong, each with the calls about it. wrong: order or reservation, and explanation."""
    calls = calls_by_subject(case.history) if wrong else {}
    for subject, told in wrong:
        yield shown_by(name, told, calls.get(subject, []))


def events_told(events: Iterable[LoggedEvent]) -> str:
    """Which they are, and where."""
    return ", ".join(f"{event.type} at {event.position}" for event in events)
