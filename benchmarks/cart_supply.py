"""Carts that are ready, made before a clock runs and used up by the calls that follow."""

from collections.abc import Mapping

from benchmarks.cart_copies import CartCopies
from benchmarks.load import WARM_UP_SECONDS, Load, Measured

PLACE_ORDER = "/shopkeeper.ordering.v1.OrderingCommandService/PlaceOrder"
RATE_AT_FIRST = 2_500.0
RESERVE_FACTOR = 1.5
"""How much faster than before the next turn may be."""


class CartSupply:
    """A series of carts; each may be used once: ordered, or changed.

    Whoever puts on a load tells with `used` how many that took.
    """

    def __init__(self, command_address: str, copies: CartCopies) -> None:
        self._command_address = command_address
        self._copies = copies
        self._filled_count = 0
        self._used_count = 0
        self._rate = RATE_AT_FIRST

    async def orders(self, span_seconds: float, *, in_flight_count: int = Load.IN_FLIGHT) -> Load:
        """A load of orders, for which the carts are there."""
        lines = {"line_count": self._copies.line_count}
        return await self.load(
            *(PLACE_ORDER, "orders", lines, span_seconds), in_flight_count=in_flight_count
        )

    async def load(
        self,
        path: str,
        kind: str,
        arguments: Mapping[str, int],
        span_seconds: float,
        *,
        in_flight_count: int,
    ) -> Load:
        """A load that uses up a cart with each call and lasts for a span; makes the carts it lacks."""
        seconds = span_seconds + WARM_UP_SECONDS
        wanted_count = round(seconds * self._rate * RESERVE_FACTOR) + in_flight_count
        end = max(self._filled_count, self._used_count + wanted_count)
        await self._copies.make(range(self._filled_count, end))
        self._filled_count = end
        return Load(
            *(self._command_address, path, kind),
            {
                "request_count": end - self._used_count,
                "prefix": self._copies.prefix,
                "first": self._used_count,
                **arguments,
            },
            is_repeatable=False,
            in_flight_count=in_flight_count,
            connection_count=min(in_flight_count, Load.CONNECTIONS),
        )

    def used(self, measured: Measured) -> None:
        """Takes note of the carts that a load has used up."""
        self._used_count += measured.sent_count
        self._rate = max(self._rate, measured.per_second)
