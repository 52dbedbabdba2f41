"""Every way in which a question can fail here; the categories stand in serving.failures."""

from serving.failures import NotFound, Overloaded, Refusal, Unavailable


class StockNotFound(NotFound):
    """SKU {sku_id} never had stock."""


class ReservationNotFound(NotFound):
    """There is no reservation {reservation_id}."""


class CartNotFound(NotFound):
    """There is no cart {cart_id}."""


class OrderNotFound(NotFound):
    """There is no order {order_id}."""


class LogIncarnationChanged(Refusal):
    """The log is now of incarnation {incarnation}, the token is of another: read from the start."""


class DatabaseUnavailable(Unavailable):
    """The database cannot be read; send the same request again."""


class ReadersBusy(Overloaded):
    """All connections to the database are in use; send the same request again shortly."""


class StreamEnded(Unavailable):
    """The service is shutting down; go on with the token of the last event."""
