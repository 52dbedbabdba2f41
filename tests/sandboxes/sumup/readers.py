"""Card readers in a shop: told to ask for money, one payment at a time."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.sandboxes.sumup.errors import ApiError, reader_error, reader_invalid, reader_not_found
from tests.sandboxes.sumup.fields import CURRENCIES, decimals_of, read_object, url
from tests.sandboxes.sumup.transactions import Json, Transaction, Transactions

ALLOWED = {
    "total_amount",
    "affiliate",
    "description",
    "return_url",
    "card_type",
    "installments",
    "tip_rates",
    "tip_timeout",
}


@dataclass(slots=True)
class ReaderCheckout:
    """A payment that a reader was told to ask for. `transaction` is None until the reader starts."""

    amount_units: int
    currency: str
    description: str
    foreign_id: str | None
    return_url: str | None
    requested_seconds: float = field(default_factory=time.monotonic)
    transaction: Transaction | None = None
    client_id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def is_over(self) -> bool:
        """Whether the reader is done with it."""
        return self.transaction is not None and self.transaction.status != "PENDING"


@dataclass(slots=True)
class Reader:
    """A device."""

    id: str
    is_online: bool = True
    current: ReaderCheckout | None = None
    past: list[ReaderCheckout] = field(default_factory=list)


class Readers:
    """All that are paired. `tell` hears of each outcome."""

    def __init__(
        self,
        reader_ids: tuple[str, ...],
        transactions: Transactions,
        tell: Callable[[ReaderCheckout], None],
        *,
        affiliate_key: str,
        start_seconds: float,
    ) -> None:
        self.by_id = {id_: Reader(id_) for id_ in reader_ids}
        self._transactions = transactions
        self._tell = tell
        self._affiliate_key = affiliate_key
        self._start_seconds = start_seconds

    def get(self, id_: str) -> Reader:
        """One; what it did not start in time it has forgotten."""
        if id_ not in self.by_id:
            raise reader_not_found()
        reader = self.by_id[id_]
        current = reader.current
        if current is not None and (current.is_over or self._is_late(current)):
            reader.past.append(current)
            reader.current = None
        return reader

    def status(self, id_: str) -> Json:
        """GET /readers/{id}/status."""
        reader = self.get(id_)
        is_waiting = reader.current is not None and reader.current.transaction is not None
        return {
            "data": {
                "status": "ONLINE" if reader.is_online else "OFFLINE",
                "state": "WAITING_FOR_CARD" if is_waiting else "IDLE",
                "battery_level": 85.5,
                "connection_type": "wifi",
                "firmware_version": "3.3.3.21",
                "last_activity": "2025-09-25T15:20:00Z",
            }
        }

    def check_out(self, id_: str, body: bytes) -> Json:
        """POST /readers/{id}/checkout."""
        reader = self.get(id_)
        wanted = self._read(body)
        if not reader.is_online:
            raise reader_error(422, "READER_OFFLINE", "The device is offline.")
        if reader.current is not None:
            raise reader_error(422, "READER_BUSY", "There is a pending checkout for the device.")
        reader.current = wanted
        return {"data": {"client_transaction_id": wanted.client_id}}

    def terminate(self, id_: str) -> None:
        """POST /readers/{id}/terminate: ends what waits for the cardholder, and never says so."""
        reader = self.get(id_)
        if not reader.is_online:
            raise reader_error(422, "READER_OFFLINE", "The device is offline.")
        if reader.current is not None and reader.current.transaction is not None:
            self._end(reader.current, "FAILED")

    # --- what happens at the device --------------------------------------------------------------

    def start(self, id_: str) -> ReaderCheckout:
        """The reader asks for a card."""
        current = self.get(id_).current
        if current is None:
            raise reader_error(409, "IDLE", "The device was asked for nothing.")
        if current.transaction is None:
            current.transaction = self._transactions.add(
                amount_units=current.amount_units,
                currency=current.currency,
                payment_type="POS",
                description=current.description,
                client_id=current.client_id,
                foreign_id=current.foreign_id,
            )
        return current

    def finish(self, id_: str, status: str) -> ReaderCheckout:
        """The customer pays, or not."""
        checkout = self.start(id_)
        self._end(checkout, status)
        return checkout

    def _end(self, checkout: ReaderCheckout, status: str) -> None:
        assert checkout.transaction is not None
        checkout.transaction.status = status
        self._tell(checkout)

    def _is_late(self, checkout: ReaderCheckout) -> bool:
        age_seconds = time.monotonic() - checkout.requested_seconds
        return checkout.transaction is None and age_seconds >= self._start_seconds

    def _read(self, body: bytes) -> ReaderCheckout:
        try:
            told = read_object(body, allowed=ALLOWED, required=("total_amount",))
            return_url = url(told, "return_url", https=True)
        except ApiError as refusal:
            raise reader_invalid("body", json.dumps(refusal.body)) from refusal
        amount_units, currency_code = _total(told["total_amount"])
        return ReaderCheckout(
            amount_units=amount_units,
            currency=currency_code,
            description=str(told.get("description") or ""),
            foreign_id=self._foreign_id(told.get("affiliate")),
            return_url=return_url,
        )

    def _foreign_id(self, affiliate: Any) -> str | None:
        if affiliate is None:
            return None
        if not isinstance(affiliate, dict) or not affiliate.get("app_id"):
            raise reader_invalid("affiliate", "is invalid")
        if affiliate.get("key") != self._affiliate_key:
            raise reader_invalid("affiliate", "key is unknown")
        foreign_id = affiliate.get("foreign_transaction_id")
        if not isinstance(foreign_id, str) or not foreign_id:
            raise reader_invalid("affiliate", "foreign_transaction_id is required")
        return foreign_id


def _total(told: Any) -> tuple[int, str]:
    """Integers and a currency, its decimals as SumUp has them."""
    if not isinstance(told, dict) or set(told) != {"value", "currency", "minor_unit"}:
        raise reader_invalid("total_amount", "is invalid")
    value, code = told["value"], told["currency"]
    if code not in CURRENCIES or told["minor_unit"] != decimals_of(code):
        raise reader_invalid("total_amount", "minor_unit is invalid")
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise reader_invalid("total_amount", "must be greater than 0")
    return value, str(code)
