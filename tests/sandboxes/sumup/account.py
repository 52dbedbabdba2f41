"""Everything that one merchant of SumUp holds, in memory."""

from collections import defaultdict
from collections.abc import Callable

from tests.sandboxes.sumup.checkouts import Checkout, Checkouts
from tests.sandboxes.sumup.fields import decimals_of
from tests.sandboxes.sumup.readers import ReaderCheckout, Readers
from tests.sandboxes.sumup.settings import SumUpSettings
from tests.sandboxes.sumup.transactions import Json, Transaction, Transactions


class Account:
    """The state, with plain methods: nothing here waits, so each call is atomic."""

    def __init__(
        self,
        settings: SumUpSettings,
        *,
        tell_checkout: Callable[[Checkout], None] = lambda _checkout: None,
        tell_reader: Callable[[ReaderCheckout], None] = lambda _checkout: None,
    ) -> None:
        self.merchant_code = settings.merchant_code
        self.transactions = Transactions(settings.merchant_code, settings.seed)
        self.checkouts = Checkouts(settings.merchant_code, self.transactions, tell_checkout)
        self.readers = Readers(
            settings.reader_ids,
            self.transactions,
            tell_reader,
            affiliate_key=settings.affiliate_key,
            start_seconds=settings.reader_start_seconds,
        )

    def dump(self) -> Json:
        """Everything, oldest first."""
        transactions = self.transactions.by_id.values()
        return {
            "checkouts": [self.checkouts.shown(each) for each in self.checkouts.by_id.values()],
            "transactions": [each.as_json(self.merchant_code) for each in transactions],
            "readers": [self.readers.status(id_) | {"id": id_} for id_ in self.readers.by_id],
        }

    def totals(self) -> Json:
        """What was captured and refunded, in ISO 4217 minor units, by currency and by our reference."""
        by_currency: dict[str, dict[str, int]] = defaultdict(
            lambda: {"captured_minor": 0, "refunded_minor": 0}
        )
        payments = [self._totals_of(each) for each in self.transactions.by_id.values()]
        for payment in payments:
            for what in ("captured_minor", "refunded_minor"):
                by_currency[payment["currency"]][what] += payment[what]
        return {"by_currency": dict(by_currency), "transactions": payments}

    def _totals_of(self, transaction: Transaction) -> Json:
        factor = _minor_units_in_one(transaction.currency)
        return {
            "id": transaction.id,
            "reference": self._reference_of(transaction),
            "status": transaction.status,
            "currency": transaction.currency,
            "captured_minor": transaction.captured_units * factor,
            "refunded_minor": transaction.refunded_units * factor,
        }

    def _reference_of(self, transaction: Transaction) -> str | None:
        for checkout in self.checkouts.by_id.values():
            if transaction in checkout.attempts:
                return checkout.reference
        return transaction.foreign_id


def _minor_units_in_one(currency: str) -> int:
    """COP and HUF have decimals by ISO 4217, and none at SumUp."""
    return 100 if currency in ("COP", "HUF") and decimals_of(currency) == 0 else 1
