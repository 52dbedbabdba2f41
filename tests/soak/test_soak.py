"""The soak itself, in short: what it measures and tells; and that it can see each kind of growth."""

import re
from pathlib import Path

import pytest

from ops.account import temporary_data_dir
from tests.conftest import memory
from tests.process_usage import Usage
from tests.soak.running import Plan, Result, soak
from tests.soak.samples import BOUNDED_TABLES, Sample, least_squares, rows_per_order, slopes
from tests.soak.servers import POSTGRES, VALKEY_KEYS_KIB, VALKEY_REST, VALKEY_UNUSED

PROCESSES = {
    *("command_service#0", "command_service#1", "query_service#0", "query_service#1"),
    *("history_service#0", "projections#0", "webhooks#0"),
}

SERVERS_KIB = (POSTGRES, VALKEY_REST, VALKEY_UNUSED)

GROSS_KIB_PER_MINUTE_MAX = 100_000.0
"""In its first minute a process still loads code and fills pools."""

PLAN = Plan(
    minutes=0.25,
    visits_per_second=5,
    sample_seconds=0.5,
    kept_seconds=2,
    leak_kib_per_minute_max=GROSS_KIB_PER_MINUTE_MAX,
)


async def test_a_shop_at_steady_load_forgets_what_it_may_and_loses_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    with temporary_data_dir(memory()) as data_dir:
        result = await soak(data_dir, PLAN, told.append)
    assert result.errors == []
    assert result.failures == {}
    assert result.leaks == []
    assert re.fullmatch(
        r"soak: minutes=0\.25 orders=\d+ slope_max_kib_per_minute=-?[\d.]+ failures=0 errors=0 leaks=0",
        result.line,
    )
    assert {each.name for each in slopes(result.samples)} == PROCESSES.union(SERVERS_KIB)
    assert result.order_count > 20
    assert 0.5 < rows_per_order(result.samples)["order_lines"] < 5
    last = result.samples[-1]
    assert last.rows["requests"] < last.rows["events"], "answers were forgotten"
    assert last.rows["carts that are kept"] < result.answers["OK"], "carts were forgotten"
    result.write(tmp_path / "soak.jsonl")
    assert len((tmp_path / "soak.jsonl").read_text().splitlines()) == len(result.samples)


def sampled(count: int = 40, **changing: int) -> list[Sample]:
    """Looks a quarter of a minute apart. changing: what grows with each, by its name."""
    rows = {**dict.fromkeys(BOUNDED_TABLES, 1_000), "orders": 0, VALKEY_KEYS_KIB: 1_000}
    return [
        Sample(
            minutes=n / 4,
            order_count=10 * n,
            usage={"p": Usage(100_000 + n * changing.get("kib", 0), 20 + n * changing.get("files", 0))},
            rows={
                name: count + n * changing.get(name, 0) + 10 * n**2 * changing.get(f"{name} squared", 0)
                for name, count in rows.items()
            },
            session_count=10 + n * changing.get("sessions", 0),
            servers_kib={name: 10_000 + n * changing.get(name, 0) for name in SERVERS_KIB},
        )
        for n in range(count)
    ]


def result_of(samples: list[Sample]) -> Result:
    return Result(Plan.of(10, 5), samples)


def test_what_does_not_grow_is_no_leak() -> None:
    result = result_of(sampled(orders=10))
    assert result.leaks == []
    assert result.is_good
    assert rows_per_order(result.samples) == {"orders": 1.0}


@pytest.mark.parametrize(
    ("changing", "told"),
    [
        ({"kib": 30}, "p grows by 120 KiB a minute"),
        ({"requests": 100}, r"requests: 3\d{3} rows, then 4\d{3}"),
        ({"orders squared": 1}, r"orders: 50\.00 more an order, then 69\.00"),
        ({f"{VALKEY_KEYS_KIB} squared": 1}, r"KiB of Valkey's keys: 50\.00 more an order, then 69\.00"),
        ({POSTGRES: 30}, "PostgreSQL, private grows by 120 KiB a minute"),
        ({VALKEY_REST: 30}, "Valkey, beside its keys grows by 120 KiB a minute"),
        ({VALKEY_UNUSED: 30}, "Valkey, resident unused grows by 120 KiB a minute"),
        ({"files": 1}, "p: 49 open files, then 59"),
        ({"sessions": 1}, "more and more sessions at the database"),
    ],
)
def test_each_kind_of_growth_is_seen(changing: dict[str, int], told: str) -> None:
    result = result_of(sampled(**changing))
    assert len(result.leaks) == 1
    assert re.fullmatch(told, result.leaks[0]), result.leaks
    assert not result.is_good
    assert result.line.endswith(" leaks=1")


def test_growth_that_ended_in_the_first_half_is_a_cache() -> None:
    samples = sampled(kib=30)
    settled = [sample.usage["p"] for sample in samples[:20]] + [samples[20].usage["p"]] * 20
    flat = [
        Sample(s.minutes, s.order_count, {"p": usage}, s.rows, s.session_count, s.servers_kib)
        for s, usage in zip(samples, settled, strict=True)
    ]
    assert result_of(flat).leaks == []


def test_a_slope_that_noise_may_have_made_is_no_leak() -> None:
    noisy = [n * 26 + (20_000 if n % 2 else 0) for n in range(40)]
    slope, error = least_squares([n / 4 for n in range(40)], noisy)
    assert slope > 100
    assert slope - 2 * error < 100
