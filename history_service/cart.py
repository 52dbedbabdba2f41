"""What a cart costs, and why: CartHistoryService."""

from dataclasses import dataclass

from history_service.database import Database
from history_service.errors import CartNotFound
from history_service.money_text import ROUNDING_RULE
from history_service.totals import LineRow, total_steps
from serving.interceptor import ServicerContext
from shopkeeper.cart.v1.cart_history_service_pb2 import (
    ExplainCartTotalRequest,
    ExplainCartTotalResponse,
)
from shopkeeper.cart.v1.cart_history_service_pb2_grpc import CartHistoryServiceServicer
from shopkeeper.types.v1.money_pb2 import Money

# Version 0 marks a key row: no cart yet. Of one that is forgotten only its id is left.
CART = """
SELECT currency_code FROM carts WHERE cart_id = %(cart_id)s AND version > 0 AND NOT is_forgotten
"""

LINES = """
SELECT line_id, sku_id, quantity, unit_price_minor, price_list_id, price_tier_min_quantity, adjustments
FROM cart_lines WHERE cart_id = %(cart_id)s ORDER BY ordinal
"""


@dataclass(frozen=True, slots=True)
class _Cart:
    currency_code: str


class CartHistoryServicer(CartHistoryServiceServicer):
    """Explains carts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ExplainCartTotal(
        self, request: ExplainCartTotalRequest, context: ServicerContext
    ) -> ExplainCartTotalResponse:
        """Every step from list prices to the total, as of the cart's last pricing."""
        facts = {"cart_id": request.cart_id}
        async with self._database.snapshot(context.time_remaining()) as snapshot:
            cart = await snapshot.fetch_one(CART, facts, _Cart)
            if cart is None:
                raise CartNotFound(cart_id=request.cart_id)
            lines = await snapshot.fetch(LINES, facts, LineRow)
        steps = total_steps(lines, cart.currency_code)
        total_minor = sum(step.amount_minor for step in steps)
        return ExplainCartTotalResponse(
            steps=steps,
            total=Money(currency_code=cart.currency_code, amount_minor=total_minor),
            rounding_rule=ROUNDING_RULE,
        )
