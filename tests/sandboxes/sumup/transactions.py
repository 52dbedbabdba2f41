"""Transactions: attempts to pay, what came of them, and what was given back."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from tests.sandboxes.sumup.errors import error, invalid, not_found
from tests.sandboxes.sumup.fields import iso, major, moment, read_object, units

Json = dict[str, Any]

TOOK_MONEY = ("SUCCESSFUL", "REFUNDED")
NAMES = ("id", "transaction_code", "foreign_transaction_id", "client_transaction_id")
PAGE_SIZE = 10
HISTORY_PARAMS = {
    "limit",
    "order",
    "oldest_time",
    "newest_time",
    "oldest_ref",
    "types[]",
    "statuses[]",
}


@dataclass(slots=True)
class RefundEvent:
    """Money given back."""

    id: int
    amount_units: int
    time: datetime
    status: str = "REFUNDED"


@dataclass(slots=True)
class Transaction:
    """One attempt."""

    amount_units: int
    currency: str
    payment_type: str
    description: str
    code: str
    client_id: str
    foreign_id: str | None = None
    status: str = "PENDING"
    is_hidden: bool = False
    """Whether the lookup does not find it yet: SumUp's is known to lag."""
    are_refunds_slow: bool = False
    """Whether what is given back is PENDING until the test settles it, of which SumUp tells nobody."""
    refunds: list[RefundEvent] = field(default_factory=list)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def captured_units(self) -> int:
        """What was taken."""
        return self.amount_units if self.status in TOOK_MONEY else 0

    @property
    def refunded_units(self) -> int:
        """What was given back."""
        return sum(each.amount_units for each in self.refunds if each.status != "FAILED")

    def as_attempt(self, merchant_code: str) -> Json:
        """As a checkout tells of it."""
        return {
            "id": self.id,
            "transaction_code": self.code,
            "amount": major(self.amount_units, self.currency),
            "currency": self.currency,
            "timestamp": iso(self.time),
            "status": self.status,
            "payment_type": self.payment_type,
            "installments_count": 1,
            "merchant_code": merchant_code,
            "vat_amount": 0,
            "tip_amount": 0,
            "entry_mode": "CUSTOMER_ENTRY",
            "auth_code": "053201",
        }

    def as_json(self, merchant_code: str) -> Json:
        """In full."""
        shown = self.as_attempt(merchant_code) | {
            "client_transaction_id": self.client_id,
            "product_summary": self.description,
            "simple_status": self.status,
            "events": [self._event(each) for each in self.refunds],
            "transaction_events": [self._detailed_event(each) for each in self.refunds],
            "links": [],
        }
        return shown | ({"foreign_transaction_id": self.foreign_id} if self.foreign_id else {})

    def as_history(self) -> Json:
        """In the list."""
        return {
            "transaction_id": self.id,
            "transaction_code": self.code,
            "client_transaction_id": self.client_id,
            "amount": major(self.amount_units, self.currency),
            "currency": self.currency,
            "timestamp": iso(self.time),
            "status": self.status,
            "payment_type": self.payment_type,
            "installments_count": 1,
            "product_summary": self.description,
            "user": "merchant@example.com",
            "type": "PAYMENT",
            "refunded_amount": major(self.refunded_units, self.currency),
        }

    def _event(self, refund: RefundEvent) -> Json:
        return {
            "id": refund.id,
            "transaction_id": self.id,
            "type": "REFUND",
            "status": refund.status,
            "amount": major(refund.amount_units, self.currency),
            "timestamp": iso(refund.time),
        }

    def _detailed_event(self, refund: RefundEvent) -> Json:
        event = self._event(refund)
        del event["transaction_id"]
        event["event_type"] = event.pop("type")
        return event | {"date": refund.time.date().isoformat()}


class Transactions:
    """All of a merchant's."""

    def __init__(self, merchant_code: str, seed: int) -> None:
        self.by_id: dict[str, Transaction] = {}
        self._merchant_code = merchant_code
        self._random = Random(seed)
        self._event_ids = itertools.count(1_000_001)

    def add(self, **facts: Any) -> Transaction:
        """A new one."""
        code = "T" + "".join(self._random.choices("ABCDEFGHJKMNPQRSTUVWXYZ23456789", k=9))
        facts.setdefault("client_id", str(uuid4()))
        made = Transaction(code=code, **facts)
        self.by_id[made.id] = made
        return made

    def get(self, id_: str) -> Transaction:
        """One, by its id."""
        if id_ not in self.by_id:
            raise not_found()
        return self.by_id[id_]

    def lookup(self, params: dict[str, str]) -> Json:
        """GET /transactions: by exactly one of its names."""
        given = [(name, value) for name, value in params.items() if name in NAMES]
        if len(given) != 1 or len(params) != 1:
            raise invalid("id", "MISSING")
        (name, value) = given[0]
        for each in reversed(self.by_id.values()):
            if not each.is_hidden and _named(each, name) == value:
                return each.as_json(self._merchant_code)
        raise not_found()

    def history(self, params: dict[str, str]) -> Json:
        """GET /transactions/history: a page, with a link to the next."""
        unknown = set(params) - HISTORY_PARAMS
        if unknown:
            raise invalid(min(unknown), "UNKNOWN")
        limit = _limit(params.get("limit"))
        found = [each for each in self._in_order(params) if _wanted(each, params)]
        page, rest = found[:limit], found[limit:]
        links = []
        if rest:
            query = {
                "limit": limit,
                "order": params.get("order", "ascending"),
                "oldest_ref": page[-1].id,
            }
            links.append({"rel": "next", "href": urlencode(query)})
        return {"items": [each.as_history() for each in page], "links": links}

    def refund(self, id_: str, body: bytes) -> RefundEvent:
        """POST /refunds: some of it, or all that is left."""
        transaction = self.get(id_)
        told = read_object(body, allowed={"amount"})
        left_units = transaction.captured_units - transaction.refunded_units
        is_part = "amount" in told
        amount_units = units(told, transaction.currency) if is_part else transaction.amount_units
        if transaction.status not in TOOK_MONEY or not 0 < amount_units <= left_units:
            raise error(409, "CONFLICT", "The transaction is not refundable in its current state")
        return self.give_back(transaction, amount_units)

    def give_back(self, transaction: Transaction, amount_units: int) -> RefundEvent:
        """The refund itself."""
        status = "PENDING" if transaction.are_refunds_slow else "REFUNDED"
        event = RefundEvent(next(self._event_ids), amount_units, datetime.now(UTC), status)
        transaction.refunds.append(event)
        transaction.status = "REFUNDED"
        return event

    def _in_order(self, params: dict[str, str]) -> list[Transaction]:
        oldest_first = list(self.by_id.values())
        if "oldest_ref" in params:
            ids = [each.id for each in oldest_first]
            if params["oldest_ref"] not in ids:
                raise invalid("oldest_ref")
            oldest_first = oldest_first[ids.index(params["oldest_ref"]) + 1 :]
        return oldest_first if params.get("order") != "descending" else oldest_first[::-1]


def _named(transaction: Transaction, name: str) -> str | None:
    names: dict[str, Callable[[], str | None]] = {
        "id": lambda: transaction.id,
        "transaction_code": lambda: transaction.code,
        "foreign_transaction_id": lambda: transaction.foreign_id,
        "client_transaction_id": lambda: transaction.client_id,
    }
    return names[name]()


def _wanted(transaction: Transaction, params: dict[str, str]) -> bool:
    if "oldest_time" in params and transaction.time < moment(params["oldest_time"], "oldest_time"):
        return False
    if "newest_time" in params and transaction.time >= moment(params["newest_time"], "newest_time"):
        return False
    if params.get("types[]", "PAYMENT") != "PAYMENT":
        return False
    return params.get("statuses[]", transaction.status) == transaction.status


def _limit(given: str | None) -> int:
    if given is None:
        return PAGE_SIZE
    if not given.isdigit() or int(given) < 1:
        raise invalid("limit")
    return int(given)
