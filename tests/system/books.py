"""The shop's books as its tables have them: what is still on its way, and whether the sums are right."""

import asyncio
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.eventually import eventually
from tests.invariants import broken_invariants
from tests.sandboxes.deliveries import Deliveries

PATIENCE_SECONDS = 60.0
"""For what takes a second: the machine may be busy with other tests."""

CALM_SECONDS_MAX = 240.0
"""From the last customer to the last open question: a lease and a few growing pauses."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the money of a shop with one provider, in minor units of its one currency."""

    captured_minor: int
    refunded_minor: int
    paid_orders_minor: int
    paid_twice: int
    refunded_too_much: int
    unknown: int
    failed_refunds: int
    broken_invariants: dict[str, list[Any]]
    orders_by_state: dict[str, int]

    @property
    def is_exact(self) -> bool:
        """Whether every penny is where it must be."""
        return (
            self.captured_minor - self.refunded_minor == self.paid_orders_minor
            and not self.paid_twice
            and not self.refunded_too_much
            and not self.unknown
            and not self.broken_invariants
        )


class Books:
    """What a shop's database says."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url

    async def calm(self, deliveries: Deliveries, *, seconds_max: float = CALM_SECONDS_MAX) -> None:
        """Returns when nothing is open any more."""
        try:
            async with asyncio.timeout(seconds_max):
                while self.open_questions() or deliveries.outstanding_count:  # noqa: ASYNC110 asked of others
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise AssertionError(f"still open: {self.open_questions()}") from None

    async def until(self, expected: list[Any], sql: str, *parameters: object) -> None:
        """Returns when a query finds what is expected."""

        async def is_so() -> bool:
            return self.rows(sql, *parameters) == expected

        await eventually(is_so, seconds=PATIENCE_SECONDS)

    def open_questions(self) -> dict[str, int]:
        """What is still on its way, by kind."""
        found = {
            "errands": "SELECT count(*) FROM payments WHERE errand_task IS NOT NULL",
            "refund errands": "SELECT count(*) FROM refunds WHERE errand_task IS NOT NULL",
            "unpaid orders": "SELECT count(*) FROM orders WHERE state IN (1, 2)",
            "surplus": """SELECT count(*) FROM orders
                WHERE state IN (6, 7) AND paid_minor > refunded_minor
                   OR paid_minor - refunded_minor > total_minor""",
            "payable": """SELECT count(*) FROM payments JOIN orders USING (order_id)
                WHERE payments.state IN (2, 3, 4) AND orders.state NOT IN (1, 2)""",
        }
        counts = {name: self.number(sql) for name, sql in found.items()}
        return {name: count for name, count in counts.items() if count}

    def verdict(self, money_by_payment: dict[str, tuple[int, int]]) -> Verdict:
        """Our side beside the provider's. money_by_payment: what it has captured and refunded in all."""
        money = money_by_payment.values()
        return Verdict(
            captured_minor=sum(captured_minor for captured_minor, _ in money),
            refunded_minor=sum(refunded_minor for _, refunded_minor in money),
            paid_orders_minor=self.number(
                "SELECT coalesce(sum(total_minor), 0) FROM orders WHERE state IN (3, 4, 5)"
            ),
            paid_twice=self.number(
                """SELECT count(*) FROM orders WHERE state IN (3, 4, 5)
                   AND paid_minor - refunded_minor <> total_minor"""
            ),
            refunded_too_much=sum(
                refunded_minor > captured_minor for captured_minor, refunded_minor in money
            ),
            unknown=self.number("SELECT count(*) FROM payments WHERE state = 10")
            + self.number("SELECT count(*) FROM refunds WHERE state = 5"),
            failed_refunds=self.number("SELECT count(*) FROM refunds WHERE state = 4"),
            broken_invariants=broken_invariants(self.database_url),
            orders_by_state=dict(
                self.rows("SELECT state::text, count(*) FROM orders GROUP BY 1 ORDER BY 1")
            ),
        )

    def rest(self) -> None:
        """An hour passes in which nothing happens to any money."""
        self.execute("UPDATE payments SET update_time = now() - interval '1 hour'")
        self.execute("UPDATE refunds SET update_time = now() - interval '1 hour'")

    def number(self, sql: str, *parameters: object) -> int:
        """The one number that a query finds."""
        [(found,)] = self.rows(sql, *parameters)
        return int(found)

    def rows(self, sql: str, *parameters: object) -> list[Any]:
        """What a query finds."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(sql.encode(), parameters).fetchall()

    def execute(self, sql: str, *parameters: object) -> None:
        """Changes what no command would."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(sql.encode(), parameters)
