"""One seed: conditions and workload are drawn, clients act while things go wrong, then all is mended."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import structlog

from command_service import committer, metrics
from command_service.checkout import expiry, payment_worker
from tests.simulation.database import Database
from tests.simulation.invariants import broken
from tests.simulation.loop import SimulatedLoop, StuckError, running_loop, sleep
from tests.simulation.order_invariants import broken_at_provider
from tests.simulation.orders import order_workload
from tests.simulation.serial import broken_serially
from tests.simulation.shop import Shop, Workload
from tests.simulation.unit_of_work import Conditions, Fault
from tests.simulation.verdicts import broken_by_verdicts
from tests.simulation.workloads import stock_workload

LATENCIES_SECONDS_MAX = (0.001, 0.001, 0.02, 0.5)
FAULT_RATES = (0.0, 0.005, 0.02, 0.1)
TRIPS_TO_FAULT_MAX = 16
"""As long as a short history: where trips may fail at all, one does."""

END_LINES_MAX = 60

DECIDED_AGAIN_SEEDS = 10
"""In one seed of so many even that is decided again which only what is not pure would decide otherwise:
it takes as long as it did the first time."""

QUIET_SECONDS = 7.0
"""After all is mended: for what lingers on the server to end."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a seed came to. kind: of its workload. trace: what happened, in order."""

    seed: int
    only: str
    kind: str
    violations: list[str]
    trace: list[tuple[Any, ...]]
    commit_count: int
    wait_count: int
    fault_count: int
    seconds: float

    names: Callable[[], Mapping[UUID, str]]

    @property
    def command(self) -> str:
        """Shows it again."""
        return f"make simulate SEED={self.seed}{self.only and f' ONLY={self.only}'}"

    @property
    def history(self) -> list[str]:
        """The trace for people; of a long end, in which everything is only asked again, a part."""
        names = self.names()
        lines = [_line(happening, names) for happening in self.trace]
        end = next((n for n, each in enumerate(self.trace) if each[0] == "mended"), len(lines))
        if len(lines) - end <= END_LINES_MAX:
            return lines
        left_out = f"... {len(lines) - end - END_LINES_MAX} lines of asking again ..."
        return [*lines[: end + END_LINES_MAX // 2], left_out, *lines[-END_LINES_MAX // 2 :]]

    @property
    def digest(self) -> str:
        """Equal for the same history."""
        return hashlib.sha256(repr(self.trace).encode()).hexdigest()[:16]


def _line(happening: tuple[Any, ...], names: Mapping[UUID, str]) -> str:
    what, seconds, *facts = happening
    words = []
    for fact in facts:
        ids = fact if isinstance(fact, list) else None
        words.append(" ".join(names.get(id_, "?") for id_ in ids) if ids is not None else str(fact))
    return f"{seconds:9.4f} {what:8} {' '.join(words)}"


class _Uncounted:
    """Stands for the metrics of a lane, which nobody reads here and which take a seventh of the time."""

    def labels(self, *names: str) -> "_Uncounted":
        return self

    def set(self, value: float) -> None:
        pass

    def inc(self, value: float = 1.0) -> None:
        pass

    def observe(self, value: float) -> None:
        pass

    def time(self) -> "_Uncounted":
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


UNCOUNTED = _Uncounted()

AT_LEISURE = (
    # Who waits for somebody else looks less often: to look in vain proves nothing.
    (committer, "IN_FLIGHT_RETRY_SECONDS", 0.1),
    (expiry, "PAUSE_SECONDS", 1.2),
    (payment_worker, "PAUSE_SECONDS", 2.0),
    *(
        (committer, name, UNCOUNTED)
        for name in ("QUEUE_LENGTH", "BATCH_SIZE", "COMMIT_SECONDS", "RETRIES")
    ),
    (asyncio, "sleep", sleep),
    (asyncio, "get_running_loop", running_loop),
    (asyncio.events, "get_running_loop", running_loop),
    (asyncio.events, "_get_running_loop", running_loop),
    (metrics, "PROVIDER_CALLS", UNCOUNTED),
    (metrics, "PROVIDER_CALL_SECONDS", UNCOUNTED),
)


@contextmanager
def at_leisure() -> Iterator[None]:
    """Without what costs time and decides nothing."""
    before = [getattr(module, name) for module, name, _ in AT_LEISURE]
    for module, name, value in AT_LEISURE:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(AT_LEISURE, before, strict=True):
            setattr(module, name, value)


_ERRORS_LOGGED: list[str] = []
"""In the seed that is being played."""


def _note(_logger: object, _level: str, said: MutableMapping[str, Any]) -> Any:
    _ERRORS_LOGGED.append(f"{said['event']}: {said.get('exc_info') or said}")
    raise structlog.DropEvent


@contextmanager
def in_silence() -> Iterator[None]:
    """Prints no log lines, which seeds that go wrong on purpose are full of; an error breaks a seed."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), processors=[_note]
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def simulate(seed: int, only: str = "") -> Result:
    """Plays a seed through. only: a kind of workload, or "" for the one that the seed draws."""
    _ERRORS_LOGGED.clear()
    with at_leisure():
        return _simulate(seed, only)


def _simulate(seed: int, only: str) -> Result:
    chance = Random(seed)
    loop = SimulatedLoop(chance, is_shuffled=chance.random() < 0.7)
    conditions = _conditions(chance)
    drawn = _kind(chance)
    kind = only or drawn
    workload = KINDS[kind](chance)
    database = Database(loop, dict(workload.rows))
    database.step_rate = 0.7 if chance.random() < 0.5 else 0.0
    shop = Shop(database, conditions, chance, workload)
    try:
        loop.run(_play(shop, workload))
    except StuckError as error:
        database.violations.append(str(error))
    except Exception as error:  # noqa: BLE001 whatever breaks, the seed has to be told
        database.violations.append(f"broken: {error!r}")
    else:
        database.violations.extend(_broken(shop, decides_all=seed % DECIDED_AGAIN_SEEDS == 0))
    database.violations.extend(f"logged: {said}" for said in _ERRORS_LOGGED)
    for context in loop.errors:
        database.violations.append(f"asyncio: {context}")
    shop.let_go()
    return Result(
        seed,
        only,
        kind,
        database.violations,
        database.trace,
        database.commit_count,
        database.wait_count,
        conditions.fault_count + shop.provider.fault_count,
        loop.time(),
        shop.names,
    )


def _broken(shop: Shop, *, decides_all: bool) -> Iterator[str]:
    database, first_rows = shop.database, shop.workload.rows
    yield from broken(database, first_rows, shop.requests)
    yield from broken_by_verdicts(database, first_rows, shop.asked)
    yield from broken_serially(database, first_rows, shop.asked, decides_all=decides_all)
    if shop.workload.is_paid_at_provider:
        yield from broken_at_provider(database, shop.provider)


def _conditions(chance: Random) -> Conditions:
    draw = chance.random
    rate = FAULT_RATES[int(draw() * len(FAULT_RATES))]
    faults = tuple(fault for fault in Fault if draw() < 0.6) or tuple(Fault)
    return Conditions(
        chance,
        latency_seconds_max=LATENCIES_SECONDS_MAX[int(draw() * len(LATENCIES_SECONDS_MAX))],
        fault_rate=rate,
        trips_to_fault=1 + int(draw() * TRIPS_TO_FAULT_MAX),
        faults=faults,
        answer_rate=0.5 if draw() < 0.3 else 0.0,
        replace_count=int(draw() * 2.5) if rate else 0,
        steps_clock=draw() < 0.15,
    )


KINDS: Mapping[str, Callable[[Random], Workload]] = {
    "stock": partial(stock_workload, is_opening=False),
    "openings": partial(stock_workload, is_opening=True),
    "orders": order_workload,
    "offers": partial(order_workload, is_offering=True),
    "payments": partial(order_workload, is_paid_at_provider=True),
}


SHARES = (("stock", 0.70), ("openings", 0.83), ("orders", 0.93), ("offers", 0.965), ("payments", 1.0))
"""How many of all seeds play which kind: up to which number from 0 to 1.

An order takes as long as two of stock, one with offers or payments as four: each kind has a tenth of the
time or more, and a million seeds are 35,000 of the rarest.
"""


def _kind(chance: Random) -> str:
    kind = chance.random()
    return next(name for name, end in SHARES if kind < end)


async def _play(shop: Shop, workload: Workload) -> None:
    await shop.open(2 if shop.chance.random() < 0.75 else 3)
    tasks = [asyncio.create_task(act(shop)) for act in workload.clients]
    for _ in range(shop.conditions.replace_count):
        await shop.database.loop.pause(shop.chance.random() * 0.1)
        await shop.replace_one()
    if shop.conditions.steps_clock:
        await shop.database.loop.pause(shop.chance.random())
        shop.step_the_clock()
    for task in tasks:
        await task
    shop.conditions.fault_rate = shop.provider.fault_rate = 0.0
    shop.say("mended")
    await shop.settle()
    if shop.conditions.fault_count:
        await shop.database.loop.pause(QUIET_SECONDS)
    if workload.expires or workload.is_paid_at_provider:
        await shop.come_to_rest()
    await shop.close()
