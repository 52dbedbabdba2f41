"""Every way in which a query can fail here; the categories stand in serving.failures."""

from serving.failures import NotFound, Overloaded, Refusal, Unavailable


class ProductNotFound(NotFound):
    """There is no product {product_id}."""


class SkuNotFound(NotFound):
    """There is no SKU {sku_id}."""


class PricesNotFound(NotFound):
    """SKU {sku_id} never had a price."""


class StockNotFound(NotFound):
    """SKU {sku_id} never had stock."""


class CartNotFound(NotFound):
    """There is no cart {cart_id}."""


class OrderNotFound(NotFound):
    """There is no order {order_id}."""


class PaymentNotFound(NotFound):
    """There is no payment {payment_id}."""


class OrderMoneyNotFound(NotFound):
    """Order {order_id} has no payments at a provider."""


class LogIncarnationChanged(Refusal):
    """The token is of incarnation {token_incarnation}, the log of a newer one: ask without a token."""


class TooManyQueries(Overloaded):
    """Too many queries are being answered at once; ask again shortly."""


class ReadModelBehind(Unavailable):
    """The views have not reached position {position} of the log yet; ask again."""

    retry_after_seconds = 0.2


class ReadModelUnavailable(Unavailable):
    """The read models cannot be reached; ask again."""


class ReadModelRebuilding(Unavailable):
    """The read models are being rebuilt; ask again."""

    retry_after_seconds = 2.0
