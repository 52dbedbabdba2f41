"""One soak: servers and services of its own, steady visitors, and a look at everything now and then."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from ops.migrate import migrate
from ops.service_process import LogLine
from ops.verify import verify
from tests.process_usage import usage_of
from tests.sandboxes.stripe.server import StripeSandbox
from tests.soak.samples import (
    Sample,
    grown,
    grown_faster,
    has_more_sessions,
    more_files,
    slopes,
)
from tests.soak.servers import Servers
from tests.soak.visits import Visits
from tests.system.conftest import WholeShop, listened_shop

LEAK_KIB_PER_MINUTE_MAX = 100.0
"""144 MiB a day: what a weekly deployment would live with. A slope counts as far as it is certain."""

POSTGRES_SETTINGS = {"max_wal_size": "256MB"}

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how much, and how often to look.

    kept_seconds: how long answers and closed carts are kept, far shorter than in a shop, so that what
    is forgotten can be seen to go. leak_kib_per_minute_max: what a slope is judged by.
    """

    minutes: float
    visits_per_second: float
    sample_seconds: float
    kept_seconds: int
    leak_kib_per_minute_max: float = LEAK_KIB_PER_MINUTE_MAX

    @classmethod
    def of(cls, minutes: float, visits_per_second: float) -> "Plan":
        """In proportion: a tenth of the time things are kept, and there are a few hundred looks."""
        seconds = minutes * 60
        return cls(
            minutes,
            visits_per_second,
            sample_seconds=min(5.0, max(0.5, seconds / 240)),
            kept_seconds=max(2, int(seconds / 10)),
        )

    @property
    def settings(self) -> dict[str, str]:
        """Of the services."""
        return {
            "REQUEST_RETENTION_SECONDS": str(self.kept_seconds),
            "CART_RETENTION_SECONDS": str(self.kept_seconds),
            # Visitors go on with a cart for so long, on however busy a machine.
            "CART_IDLE_SECONDS": str(max(6, self.kept_seconds)),
            "ORDER_HOLD_SECONDS": str(max(5, self.kept_seconds // 4)),
            "QUERY_REDIS_ANSWER_SECONDS_MAX": "10",
        }


@dataclass(slots=True)
class Result:
    """What came of it."""

    plan: Plan
    samples: list[Sample] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    order_count: int = 0
    errors: list[str] = field(default_factory=list)
    """Log lines of mistakes of ours, processes that ended, and what `verify` finds."""

    @property
    def leaks(self) -> list[str]:
        """Whatever grew that must not, a sentence each."""
        limit = self.plan.leak_kib_per_minute_max
        return [
            *(
                f"{each.name} grows by {each.kib_per_minute:.0f} KiB a minute"
                for each in slopes(self.samples)
                if each.kib_per_minute - 2 * each.error_kib_per_minute > limit
            ),
            *(
                f"{name}: {before:.0f} rows, then {after:.0f}"
                for name, (before, after) in grown(self.samples).items()
            ),
            *(
                f"{name}: {before:.2f} more an order, then {after:.2f}"
                for name, (before, after) in grown_faster(self.samples).items()
            ),
            *(
                f"{name}: {before} open files, then {after}"
                for name, (before, after) in more_files(self.samples).items()
            ),
            *(["more and more sessions at the database"] if has_more_sessions(self.samples) else []),
        ]

    @property
    def failures(self) -> dict[str, int]:
        """Answers that a shop with stock and a steady load has no reason to give."""
        return {answer: count for answer, count in self.answers.items() if answer != "OK"}

    @property
    def is_good(self) -> bool:
        """Whether nothing grew and nothing failed."""
        return not self.leaks and not self.errors and not self.failures

    @property
    def line(self) -> str:
        """The last line of a run."""
        steepest = max((each.kib_per_minute for each in slopes(self.samples)), default=0.0)
        return (
            f"soak: minutes={self.plan.minutes:g} orders={self.order_count}"
            f" slope_max_kib_per_minute={steepest:.1f} failures={sum(self.failures.values())}"
            f" errors={len(self.errors)} leaks={len(self.leaks)}"
        )

    def write(self, path: Path) -> None:
        """All samples, a JSON object a line, for whoever wants to draw them."""
        lines = [
            {
                "minutes": round(sample.minutes, 3),
                "orders": sample.order_count,
                "sessions": sample.session_count,
                "resident_kib": {name: each.resident_kib for name, each in sample.usage.items()},
                "files": {name: each.file_count for name, each in sample.usage.items()},
                "rows": dict(sample.rows),
                "servers_kib": dict(sample.servers_kib),
            }
            for sample in self.samples
        ]
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


async def soak(data_dir: Path, plan: Plan, tell: Tell, *, seed: int = 0) -> Result:
    """A run on servers of its own, in `data_dir`."""
    result = Result(plan)
    servers = (
        EmbeddedPostgres(data_dir / "postgres", settings=POSTGRES_SETTINGS),
        EmbeddedValkey(data_dir / "valkey"),
    )
    with servers[0] as postgres, servers[1] as valkey:
        await asyncio.to_thread(migrate, postgres.url())
        async with StripeSandbox().running() as stripe_url:
            stripe = {"STRIPE_API_KEY": "sk_test_sandbox", "STRIPE_API_URL": stripe_url}

            def hear(line: LogLine) -> None:
                result.errors += _mistakes(line)

            running = listened_shop(postgres.url(), valkey.url, {**plan.settings, **stripe}, hear)
            async with running as shop:
                watched = Servers(postgres.url(), valkey.url, postgres.pid, valkey.pid)
                await _load(shop, watched, result, tell, seed)
    return result


def _mistakes(line: LogLine) -> list[str]:
    try:
        entry = json.loads(line.text)
    except ValueError:
        return [f"{line.source}: {line.text}"]
    return [f"{line.source}: {line.text}"] if entry.get("level") in {"error", "critical"} else []


async def _load(shop: WholeShop, servers: Servers, result: Result, tell: Tell, seed: int) -> None:
    pids = _pids(shop)
    visits = Visits(shop, seed)
    await visits.open()
    seconds = result.plan.minutes * 60
    coming = asyncio.create_task(visits.come(seconds=seconds, per_second=result.plan.visits_per_second))
    await _watch(shop, servers, result, visits, coming, tell)
    await coming
    await visits.close()
    result.answers, result.order_count = visits.answers, visits.order_count
    if _pids(shop) != pids:
        result.errors.append("a process ended by itself")
    found = await verify(shop.database_url, shop.redis_url, on_progress=lambda *_: None)
    result.errors += [f"{each.check}: {each.subject}: {each.explanation}" for each in found]


def _pids(shop: WholeShop) -> list[int]:
    return [process.pid for process in shop.deployment.processes]


async def _watch(
    shop: WholeShop,
    servers: Servers,
    result: Result,
    visits: Visits,
    coming: asyncio.Task[None],
    tell: Tell,
) -> None:
    """Looks at everything until nobody comes any more."""
    loop = asyncio.get_running_loop()
    begun, told_minute = loop.time(), 0
    while not coming.done():
        await asyncio.wait({coming}, timeout=result.plan.sample_seconds)
        seen = await asyncio.to_thread(servers.look)
        usage = {each.name: usage_of(each.pid) for each in shop.deployment.processes}
        minutes = (loop.time() - begun) / 60
        sample = Sample(
            minutes, visits.order_count, usage, seen.rows, seen.session_count, seen.memory_kib
        )
        result.samples.append(sample)
        if int(minutes) > told_minute:
            told_minute = int(minutes)
            tell(_progress(sample))


def _progress(sample: Sample) -> str:
    mib = sum(each.resident_kib for each in sample.usage.values()) / 1024
    kept = ", ".join(f"{sample.rows[name]:,} {name}" for name in ("requests", "carts that are kept"))
    return f"[{sample.minutes:5.1f} min] {sample.order_count:,} orders, {mib:.0f} MiB in all, {kept}"
