"""Carts that are ready to be ordered, made before a clock runs and used up by it."""

from benchmarks.filling import fill_carts
from benchmarks.load import Load, Measured

PLACE_ORDER = "/shopkeeper.ordering.v1.OrderingCommandService/PlaceOrder"
RATE_AT_FIRST = 1_000.0
RESERVE_FACTOR = 1.4
"""How much faster than before the next turn may be."""


class CartSupply:
    """A series of carts; each may be ordered once.

    Whoever puts on a load of orders tells with `used` how many that took.
    """

    def __init__(self, command_address: str, *, line_count: int, sku_count: int, prefix: str) -> None:
        self._command_address = command_address
        self._line_count = line_count
        self._sku_count = sku_count
        self._prefix = prefix
        self._filled_count = 0
        self._used_count = 0
        self._rate = RATE_AT_FIRST

    async def orders(self, seconds: float, **load_fields: int) -> Load:
        """A load of orders that lasts for so many seconds; makes the carts that are missing."""
        wanted_count = round(seconds * self._rate * RESERVE_FACTOR)
        end = max(self._filled_count, self._used_count + wanted_count)
        if end > self._filled_count:
            await self._fill(range(self._filled_count, end))
        arguments = {
            "request_count": end - self._used_count,
            "prefix": self._prefix,
            "first": self._used_count,
            "line_count": self._line_count,
        }
        address = self._command_address
        return Load(address, PLACE_ORDER, "orders", arguments, is_repeatable=False, **load_fields)

    def used(self, measured: Measured) -> None:
        """Takes note of the carts that are orders now."""
        self._used_count += measured.sent_count
        self._rate = measured.per_second

    async def _fill(self, numbers: range) -> None:
        await fill_carts(
            self._command_address,
            self._prefix,
            numbers,
            line_count=self._line_count,
            sku_count=self._sku_count,
        )
        self._filled_count = numbers.stop
