"""Adding the hundredth line of a cart beside adding its first."""

from typing import Any

from benchmarks.bench import FIRST_LOOK_SECONDS, Bench
from benchmarks.cart_copies import CartCopies
from benchmarks.cart_supply import CartSupply
from benchmarks.load import Load, Measured
from benchmarks.reporting import Bound, Figure, Reach
from benchmarks.rounds import Compared
from benchmarks.statements import counting

ADD_CART_LINE = "/shopkeeper.cart.v1.CartCommandService/AddCartLine"
LINES_BEFORE = {"100th line": 99, "1st line": 0}
IN_FLIGHT_COUNT = 16
SERVERS = ("command_service", "postgres")


async def cart_growth(bench: Bench) -> list[Figure]:
    """add_to_cart_growth."""
    adding = {name: await Adding.to(bench, count) for name, count in LINES_BEFORE.items()}
    with counting(bench.shop.servers.database_url) as statements:
        statement_counts = {}
        for name, each in adding.items():
            await each.make_ready()
            statements.reset()
            measured = await each.one_by_one()
            statement_counts[name] = statements.each(measured.sent_count)
    results = await bench.rounds({name: each.turn for name, each in adding.items()})
    hundredth, first = ([each.processor_us(*SERVERS) for each in results[name]] for name in LINES_BEFORE)
    told: dict[str, Any] = {f"statements of the {name}": n for name, n in statement_counts.items()}
    told |= {
        f"command_us of the {name}": [each.processor_us("command_service") for each in those]
        for name, those in results.items()
    }
    fewest, most = sorted(statement_counts.values())
    return [
        Figure(
            *("add_to_cart_growth", "us CPU", Reach(Bound.UNDER, 2)),
            Compared.of(hundredth, first).value,
            "the first line",
            Compared.of(hundredth, first),
            told,
            holds=most < 2 * fewest,
        )
    ]


class Adding:
    """Turns of adding a line to carts of so many, each of which is used once."""

    def __init__(self, bench: Bench, supply: CartSupply) -> None:
        self._bench = bench
        self._supply = supply

    @classmethod
    async def to(cls, bench: Bench, line_count: int) -> "Adding":
        """Carts of a series of their own; one SKU is in none of them."""
        copies = await CartCopies.of(
            bench.shop.servers.database_url,
            bench.shop.command_address,
            f"of-{line_count}",
            line_count=line_count,
            sku_count=bench.extent.sku_count - 1,
        )
        return cls(bench, CartSupply(bench.shop.command_address, copies))

    async def make_ready(self) -> None:
        """Makes the carts that one_by_one() uses."""
        await self._load(FIRST_LOOK_SECONDS, 1)

    async def one_by_one(self) -> Measured:
        """One after the other, for a short while."""
        return await self._add(FIRST_LOOK_SECONDS, 1)

    async def turn(self) -> Measured:
        """Several at a time."""
        return await self._add(self._bench.extent.span_seconds / 2, IN_FLIGHT_COUNT)

    async def _add(self, span_seconds: float, in_flight_count: int) -> Measured:
        load = await self._load(span_seconds, in_flight_count)
        measured = await self._bench.turn(load, span_seconds=span_seconds)
        self._supply.used(measured)
        return measured

    async def _load(self, span_seconds: float, in_flight_count: int) -> Load:
        new_sku = {"sku_number": self._bench.extent.sku_count - 1}
        return await self._supply.load(
            *(ADD_CART_LINE, "cart_lines", new_sku, span_seconds),
            in_flight_count=in_flight_count,
        )
