"""One run: rounds of faults while customers come and go, each healed and judged; and the verdict."""

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg

import ops.verify
from ops.verify import verify
from ops.verify.invariants import check_invariants
from tests.system.books import Books
from tests.system.client import Client
from tests.torture.calls import Caller, ClientFault
from tests.torture.checker import healthy_seconds
from tests.torture.faults import FAULTS, NO_ROOM
from tests.torture.heartbeat import PERIOD_SECONDS, Heartbeat
from tests.torture.history import History
from tests.torture.kept import HISTORY, Keeper
from tests.torture.nemesis import Nemesis, schedule
from tests.torture.proof import Sight, sight, unproven, untried
from tests.torture.shop import COMMAND, Shop, WholeShop, open_shop
from tests.torture.staff import Cashier, Clerk, furnish, give_back
from tests.torture.till import StripeTill
from tests.torture.violations import Violation
from tests.torture.workload import OPENING_STOCK, SKU_IDS, Buyer, Market, Person, Reader

PEOPLE: tuple[type[Person], ...] = (*(Buyer,) * 5, *(Clerk,) * 2, Cashier, *(Reader,) * 2)
PATIENCE_SECONDS = 3.0
"""Of a client for one attempt: shorter than most faults last."""
ROUND_SECONDS = 45.0
"""Of faults, before they are healed and everything is judged."""
QUIET_HEALTHY_SECONDS = 5.0
"""At the end of each round, while people go on: holds run out, and would be seen to be overdue."""
QUIET_SECONDS_MAX = 30.0
"""On a machine so busy that little of it is healthy; what was judged is reported."""
CONVERGED_SECONDS_MAX = 60.0
"""From healing to calm, on a machine that is busy with other tests; what it takes is reported."""
CALM_SECONDS_MAX = 300.0
"""From the last customer to the last call to the provider: a lease, and a few growing pauses."""
CONVERGED_SECONDS_USUAL = 1.0
REBUILT_EVENTS_PER_SECOND = 1_000.0
"""At least, however busy the machine is."""
PROGRESS_SECONDS = 5.0
INSPECTION_PAUSE_SECONDS = (3.0, 15.0)
INSPECTION_RETRY_SECONDS = 1.0
"""Where the database was away."""
INSPECTION_PAUSE_SHARE = 5.0
"""Of the time that an inspection took: none in it."""

Tell = Callable[[str], None]

# What lies at a provider goes back by itself, and who did it in the worker's place would hide that.
SURPLUS = """
SELECT order_id, greatest(paid_minor - refunded_minor - total_minor, CASE WHEN state IN (6, 7)
    THEN paid_minor - refunded_minor ELSE 0 END)
FROM orders
WHERE (state IN (6, 7) AND paid_minor > refunded_minor OR paid_minor - refunded_minor > total_minor)
  AND NOT EXISTS (SELECT FROM payments WHERE payments.order_id = orders.order_id
      AND payments.captured_minor > payments.refunded_minor)
"""

UNDER_WAY = """
SELECT payment_id, state, errand_task, errand_due_time, provider_reference, failure_code
FROM payments WHERE errand_task IS NOT NULL
UNION ALL
SELECT refund_id, state, errand_task, errand_due_time, provider_reference, failure_code
FROM refunds WHERE errand_task IS NOT NULL
LIMIT 10
"""

OVERDUE = """
SELECT (SELECT count(*) FROM reservations WHERE state = 1 AND expire_time < now() - interval '1 second')
     + (SELECT count(*) FROM orders WHERE state IN (1, 2) AND expire_time < now() - interval '1 second')
"""


@dataclass(slots=True)
class Result:
    """What came of a run. minutes: that were played, fewer than were wished where it broke off."""

    seed: int
    minutes: float
    faults: Counter[str] = field(default_factory=Counter)
    missed_faults: Counter[str] = field(default_factory=Counter)
    command_count: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    converged_seconds: list[float] = field(default_factory=list)
    calm_seconds: float = 0.0
    inspection_count: int = 0
    provider_fault_count: int = 0
    violations: list[Violation] = field(default_factory=list)

    @property
    def line(self) -> str:
        """The last line of a run."""
        return (
            f"torture: seed={self.seed} minutes={self.minutes:g} faults={self.faults.total()}"
            f" commands={self.command_count} violations={len(self.violations)}"
        )


class Run:
    """One run over a shop that is open."""

    def __init__(
        self,
        whole: WholeShop,
        till: StripeTill,
        history: History,
        keeper: Keeper,
        *,
        seed: int,
        tell: Tell,
    ) -> None:
        shop = self._shop = whole.shop
        self._history = history
        self._keeper = keeper
        self._seed = seed
        self._tell = tell
        self._till = till
        self._market = Market(till)
        self._nemesis = Nemesis(whole, history, lambda fault: self._say(f"  {fault}"))
        self._heartbeat = Heartbeat(shop.doors, history, deciders=shop.deciders)
        self._callers: list[Caller] = []
        self._begun = time.monotonic()
        self.converged_seconds: list[float] = []
        self.calm_seconds = 0.0
        self.inspection_count = 0
        self.sight = Sight()
        self.violations: list[Violation] = []
        self.is_whole = False

    async def torture(self, seconds: float) -> None:
        """Rounds of faults until time is up or something is broken; then peace, and the last word."""
        async with self._at_work():
            round_count = max(1, round(seconds / ROUND_SECONDS))
            for number in range(round_count):
                await self._round(number, seconds / round_count)
                if self.violations:
                    return
                if self.seconds > seconds:
                    # To judge takes longer as the shop grows: that time counts as well.
                    break
            self.is_whole = True
        await self._calm()
        await self._judge(self._till.money())

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begun

    @property
    def faults(self) -> Counter[str]:
        """That hit somebody so far, by kind."""
        return self._nemesis.counts

    @property
    def client_faults(self) -> Counter[str]:
        """What clients did to make it hard, by kind."""
        return sum((caller.faults for caller in self._callers), Counter())

    @property
    def missed_faults(self) -> Counter[str]:
        """That nobody met."""
        return self._nemesis.missed

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        """People come and go while the block runs."""
        await self._open()
        async with AsyncExitStack() as stack:
            for task in (self._heartbeat.beat(), self._report(), self._inspect()):
                stack.push_async_callback(_ended, asyncio.create_task(task))
            people = [
                asyncio.create_task((await self._person(stack, number, kind)).live())
                for number, kind in enumerate(PEOPLE)
            ]
            try:
                yield
            finally:
                self._market.is_over = True
                await asyncio.gather(*people)

    async def _open(self) -> None:
        members = self._shop.members_of(COMMAND)
        async with Client(members[0].address) as client:
            await client.open_shop(SKU_IDS, OPENING_STOCK)
            await furnish(client)

    async def _person(self, stack: AsyncExitStack, number: int, kind: type[Person]) -> Person:
        caller = self._caller(f"{kind.__name__.lower()} {number}")
        return kind(await stack.enter_async_context(caller), self._market)

    def _caller(self, actor: str) -> Caller:
        chance = Random(f"{self._seed} {actor}")
        caller = Caller(
            actor, self._shop.doors, self._history, chance, patience_seconds=PATIENCE_SECONDS
        )
        self._callers.append(caller)
        return caller

    async def _round(self, number: int, seconds: float) -> None:
        targets = self._nemesis.targets
        planned = schedule(self._seed, seconds, targets, round_number=number)
        self._say(f"round {number + 1}: {len(planned)} faults in {seconds:.0f} s")
        await self._nemesis.strike(planned)
        await self._converge()
        await self._keep_quiet()
        await self._judge()

    async def _keep_quiet(self) -> None:
        """Lets holds run out while nothing goes wrong."""
        begin_seconds, begun, seconds = time.time(), time.monotonic(), 0.0
        while seconds < QUIET_HEALTHY_SECONDS and time.monotonic() - begun < QUIET_SECONDS_MAX:
            await asyncio.sleep(PERIOD_SECONDS)
            seconds = healthy_seconds(self._history.pulses, begin_seconds, time.time())
        self._say(f"quiet: {seconds:.1f} s of {time.monotonic() - begun:.1f} s were healthy")

    async def _converge(self) -> None:
        """Waits, after healing, until everything has caught up; notes how long that takes."""
        await self._shop.until_well()
        begun, last_left = time.monotonic(), ""
        while left := await self._left_behind():
            last_left = "; ".join(left)
            # Views that were lost are told anew, from the first event on.
            seconds_max = CONVERGED_SECONDS_MAX + self._market.position / REBUILT_EVENTS_PER_SECOND
            if time.monotonic() - begun > seconds_max:
                told = f"{seconds_max:.0f} s after healing: {last_left}"
                self.violations.append(Violation("stuck", told))
                return
            await asyncio.sleep(0.02)
        seconds = time.monotonic() - begun
        self.converged_seconds.append(seconds)
        why = f"; the last was {last_left}" if seconds > CONVERGED_SECONDS_USUAL else ""
        self._say(f"healed: everything had caught up after {seconds:.2f} s{why}")

    async def _left_behind(self) -> list[str]:
        """Who does not answer, what was told and is not shown, and what is held beyond its time."""
        left = await self._heartbeat.unwell(seconds_max=1.0, fresh_as=self._market.newest_token)
        overdue_count = await asyncio.to_thread(_overdue_count, self._shop.database_url)
        return [*left, f"{overdue_count} overdue holds"] if overdue_count else left

    async def _calm(self) -> None:
        """Waits until nothing is under way any more, and gives back what only people can."""
        self._till.heal()
        begun = time.monotonic()
        books = Books(self._shop.database_url)
        async with self._caller("manager") as caller:
            while left := self._left(books):
                if time.monotonic() - begun > CALM_SECONDS_MAX:
                    told = f"still open: {left}; calls: {books.rows(UNDER_WAY)}"
                    self.violations.append(Violation("stuck", told))
                    return
                if set(left) == {"surplus"}:
                    await give_back(caller, dict(books.rows(SURPLUS)))
                await asyncio.sleep(0.2)
        self.calm_seconds = time.monotonic() - begun
        self._say(f"calm: nothing was under way any more after {self.calm_seconds:.1f} s")

    def _left(self, books: Books) -> dict[str, int]:
        left = books.open_questions()
        webhooks = self._till.outstanding_count
        return {**left, "webhooks": webhooks} if webhooks else left

    async def _judge(self, provider_money: dict[str, tuple[int, int]] | None = None) -> None:
        """Holds everything that is known now against everything that was promised."""
        judged, broken = await self._keeper.judge(provider_money)
        self.violations += broken
        self.sight = sight(judged.evidence, judged.pulses)
        # Amid traffic a view may change at every look; at the end none does.
        found = await self._verify(is_final=provider_money is not None)
        if provider_money is None:
            # People are at work, and the machine may be: holds are judged by the time that was healthy.
            found = [each for each in found if "overdue" not in each.check]
        self.violations += found
        self.violations += complaints_of(self._shop)
        self._say(f"judged {len(judged.history)} operations: {len(self.violations)} violations")

    async def _verify(self, *, is_final: bool) -> list[Violation]:
        found = await verify(self._shop.database_url, self._shop.valkey.url, on_progress=lambda *_: None)
        return [_as_violation(each) for each in found if each.is_proven or is_final]

    async def _inspect(self) -> None:
        """Looks at random moments, whatever is striking, at all that holds at every moment."""
        chance = Random(f"{self._seed} inspector")
        pause_seconds = chance.uniform(*INSPECTION_PAUSE_SECONDS)
        while True:
            await asyncio.sleep(pause_seconds)
            pause_seconds = chance.uniform(*INSPECTION_PAUSE_SECONDS)
            begun = time.monotonic()
            try:
                await self._look()
            except psycopg.Error as error:
                if not is_away(error):
                    raise
                self._say("inspection: the database is away")
                pause_seconds = INSPECTION_RETRY_SECONDS
            # A long history takes its time: no more than a part of the machine is ours.
            await asyncio.sleep(INSPECTION_PAUSE_SHARE * (time.monotonic() - begun))

    async def _look(self) -> None:
        judged, found = await self._keeper.judge()
        rules = await check_invariants(self._shop.database_url, lambda *_: None)
        found += [_as_violation(each) for each in rules.violations if "overdue" not in each.check]
        self.violations += found
        self.inspection_count += 1
        if found:
            self._say(f"inspection of {len(judged.history)} operations: {len(found)} violations")

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            await self._shop.note_deaths()
            active = ", ".join(sorted(self._nemesis.active)) or "none"
            self._say(f"{len(self._history.ended)} calls, {self.faults.total()} faults; now: {active}")

    def _say(self, text: str) -> None:
        self._tell(f"[{self.seconds:6.1f} s] {text}")


def is_away(error: psycopg.Error) -> bool:
    """Whether faults can have caused it, and not who asks."""
    return isinstance(error, psycopg.OperationalError) or any(words in str(error) for words in NO_ROOM)


def complaints_of(shop: Shop) -> list[Violation]:
    """Who has ended as it should not, and what was logged as a mistake of ours; once."""
    found = [Violation("a process ended", death) for death in shop.deaths]
    found += [Violation("an error was logged", error) for error in shop.errors]
    shop.deaths.clear()
    shop.errors.clear()
    return found


def _as_violation(found: ops.verify.Violation) -> Violation:
    return Violation(found.check, f"{found.subject}: {found.explanation}")


def _overdue_count(database_url: str) -> int:
    with psycopg.connect(database_url, autocommit=True, connect_timeout=5) as connection:
        row = connection.execute(OVERDUE.encode()).fetchone()
    assert row is not None
    return int(row[0])


async def _ended(task: asyncio.Task[None]) -> None:
    """Ends it; what has ended it before is raised."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def minutes_played(wished_seconds: float, seconds: float, *, is_whole: bool) -> float:
    """How long a run was: as was wished, or where it broke off what it took till then. Two digits."""
    return round((wished_seconds if is_whole else min(wished_seconds, seconds)) / 60, 2)


async def torture(data_dir: Path, kept_dir: Path, *, seed: int, seconds: float, tell: Tell) -> Result:
    """A run on servers of its own, in `data_dir`. kept_dir: what is to be known of it is there then."""
    with (kept_dir / HISTORY).open("w", encoding="utf-8") as file:
        return await _torture(data_dir, kept_dir, History(file), seed=seed, seconds=seconds, tell=tell)


async def _torture(
    data_dir: Path, kept_dir: Path, history: History, *, seed: int, seconds: float, tell: Tell
) -> Result:
    async with (
        open_shop(data_dir, kept_dir, seed=seed) as whole,
        StripeTill(whole.provider, whole.shop.provider_url) as till,
    ):
        tell(f"disk: {type(whole.disk).__name__}")
        keeper = Keeper(kept_dir, history, whole.shop.database_url)
        history.open(seed=seed, minutes=seconds / 60)
        run = Run(whole, till, history, keeper, seed=seed, tell=tell)
        try:
            await run.torture(seconds)
            if not run.violations:
                run.violations += unproven(history, till.money(), seconds=seconds)
                run.violations += untried(
                    {**run.faults, **run.client_faults},
                    inspection_count=run.inspection_count,
                    judged_hold_count=run.sight.judged_count,
                    seconds=seconds,
                )
        except Exception:  # noqa: BLE001 told as what it is: nothing was proven
            run.violations.append(Violation("no verdict", traceback.format_exc()))
        minutes = minutes_played(seconds, run.seconds, is_whole=run.is_whole)
    # Until its last process has drained.
    run.violations += complaints_of(whole.shop)
    if run.violations:
        keeper.keep_last()
    tell(str(run.sight))
    for kind in sorted(ClientFault):
        tell(f"{run.client_faults[kind]:6} {kind}")
    commands = {operation.request_id for operation in history.ended if operation.request_id}
    return Result(
        seed,
        minutes,
        run.faults,
        # All kinds, so that those that never came are told as well.
        Counter({**dict.fromkeys((kind.kind for kind in FAULTS), 0), **run.missed_faults}),
        len(commands),
        Counter(f"{each.method} {each.outcome}" for each in history.ended),
        run.converged_seconds,
        run.calm_seconds,
        run.inspection_count,
        till.fault_count,
        # What an inspection has seen the next one sees again.
        list({str(each): each for each in run.violations}.values()),
    )
