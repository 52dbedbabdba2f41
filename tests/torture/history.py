"""What clients asked, when, and what came of it: all that the checker believes without proof."""

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, TextIO


class Outcome(StrEnum):
    """As in Jepsen: what a client that got no answer may not guess at is unknown."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


DIGEST_SHOWN = 12
"""Characters of it, where people read."""


def span_told(begin_seconds: float, end_seconds: float | None, *, since: float) -> str:
    """From when until when, counted from that Unix time on; always of one width."""
    end = "..." if end_seconds is None else f"{end_seconds - since:.3f}"
    return f"{begin_seconds - since:9.3f} -{end:>9}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one client.

    number: in the order of the calls' beginnings. door: the process that was asked. method: the RPC.
    request_id: of a command, else "". begin_seconds, end_seconds: Unix time; the end of what is under
    way is not known, and its outcome neither. code: gRPC's, of an answer 0. reason: of a refusal or a
    failure. fresh_as: the token that a query had to reach. asked, told: what matters of request and
    answer. units: by SKU, what the command adds to the shelf, or takes off, if it takes effect. digest:
    of the answer's bytes without its token.
    """

    number: int
    actor: str
    door: str
    method: str
    request_id: str = ""
    begin_seconds: float = 0.0
    end_seconds: float | None = None
    outcome: Outcome = Outcome.UNKNOWN
    code: int = 0
    reason: str = ""
    token: str = ""
    fresh_as: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""

    @property
    def is_decided(self) -> bool:
        """Whether the client knows what came of it."""
        return self.outcome is not Outcome.UNKNOWN

    def as_json(self) -> str:
        """One line."""
        return json.dumps(self.as_told(), default=str)

    def as_told(self) -> dict[str, Any]:
        """Its facts by name, without those that are empty."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value not in ("", {})}

    def __str__(self) -> str:
        return self.told_since(0.0)

    def told_since(self, begun_seconds: float) -> str:
        """One line, its times counted from that Unix time on."""
        span = span_told(self.begin_seconds, self.end_seconds, since=begun_seconds)
        return f"{span} {self.facts_told()}"

    def facts_told(self) -> str:
        """What it is without its times."""
        came = self.outcome if not self.reason else f"{self.outcome} {self.reason}"
        parts = [self.actor, self.door, self.method, str(came)]
        parts += [f"{name}={value}" for name, value in self._named().items() if value]
        return " ".join(parts)

    def _named(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "token": self.token,
            "fresh_as": self.fresh_as,
            "asked": dict(self.asked),
            "told": dict(self.told),
            "units": dict(self.units),
            "bytes": self.digest[:DIGEST_SHOWN],
        }


_UNDECIDED: dict[str, Any] = {
    "outcome": Outcome.UNKNOWN,
    "code": 0,
    "reason": "",
    "token": "",
    "told": {},
    "digest": "",
}
"""What a client knows of a call before its end."""


class Pulse(NamedTuple):
    """A span of Unix time, and whether every process for commands answered in it at once."""

    begin_seconds: float
    end_seconds: float
    is_well: bool


class Struck(NamedTuple):
    """A fault that struck, in Unix time. end_seconds: when it was healed, None before.

    is_met: whether it hit anybody; taken for granted before its end.
    """

    fault: str
    begin_seconds: float
    end_seconds: float | None = None
    is_met: bool = True


class Beginning(NamedTuple):
    """Of a run. minutes: that it was to last. begun_seconds: Unix time."""

    seed: int = 0
    minutes: float = 0.0
    begun_seconds: float = 0.0


class History:
    """Grows while clients call; each operation is written to a file as it ends, and each pulse.

    A fault is written as it strikes, and again as it is healed.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._next_number = 1
        self._under_way: dict[int, Operation] = {}
        self.ended: list[Operation] = []
        self.pulses: list[Pulse] = []

    def open(self, *, seed: int, minutes: float) -> None:
        """Notes what run this is, and that it begins now."""
        self._write("run", Beginning(seed, minutes, time.time()))

    def begin(self, operation: Operation) -> Operation:
        """Numbers and times a call that is about to be made."""
        begun = dataclasses.replace(operation, number=self._next_number, begin_seconds=time.time())
        self._next_number += 1
        self._under_way[begun.number] = begun
        return begun

    def end(self, begun: Operation, **came: Any) -> Operation:
        """Notes what came of it."""
        ended = dataclasses.replace(begun, end_seconds=time.time(), **came)
        del self._under_way[begun.number]
        self.ended.append(ended)
        self._file.write(f"{ended.as_json()}\n")
        return ended

    def beat(self, pulse: Pulse) -> None:
        """Notes how the services were."""
        self.pulses.append(pulse)
        self._write("pulse", pulse)

    def strike(self, fault: str) -> Struck:
        """Notes a fault that strikes now."""
        struck = Struck(fault, time.time())
        self._write("fault", struck)
        return struck

    def heal(self, struck: Struck, *, is_met: bool) -> None:
        """Notes its end."""
        self._write("fault", struck._replace(end_seconds=time.time(), is_met=is_met))

    def mark(self) -> int:
        """This moment, for `as_of`."""
        return len(self.ended)

    def as_of(self, mark: int) -> list[Operation]:
        """All operations; what has ended since is shown as under way, for evidence that is older."""
        since = [dataclasses.replace(each, end_seconds=None, **_UNDECIDED) for each in self.ended[mark:]]
        return [*self.ended[:mark], *since, *self._under_way.values()]

    def _write(self, name: str, told: tuple[Any, ...]) -> None:
        self._file.write(f"{json.dumps({name: told})}\n")


@dataclass(slots=True)
class Record:
    """What a run has written. operations: in the order of their ends."""

    beginning: Beginning = field(default_factory=Beginning)
    operations: list[Operation] = field(default_factory=list)
    pulses: list[Pulse] = field(default_factory=list)
    faults: list[Struck] = field(default_factory=list)


def read(path: Path) -> Record:
    """All of a file that a run has written."""
    record, faults = Record(), dict[tuple[str, float], Struck]()
    with path.open(encoding="utf-8") as file:
        for line in file:
            match json.loads(line):
                case {"run": told}:
                    record.beginning = Beginning(*told)
                case {"pulse": told}:
                    record.pulses.append(Pulse(*told))
                case {"fault": [fault, begin_seconds, *rest]}:
                    faults[fault, begin_seconds] = Struck(fault, begin_seconds, *rest)
                case told:
                    record.operations.append(operation_of(told))
    record.faults = list(faults.values())
    return record


def operation_of(told: Mapping[str, Any]) -> Operation:
    """An operation from its JSON."""
    return Operation(**{**told, "outcome": Outcome(told["outcome"])})


def commands_by_request(history: Iterable[Operation]) -> dict[str, list[Operation]]:
    """The calls of each command: a request id may have been sent several times."""
    found: dict[str, list[Operation]] = {}
    for operation in history:
        if operation.request_id:
            found.setdefault(operation.request_id, []).append(operation)
    return found
