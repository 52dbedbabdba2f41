"""Online checkouts: made once for each reference, tried until one attempt pays."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from tests.sandboxes.sumup.errors import error, forbidden, invalid, not_found
from tests.sandboxes.sumup.fields import (
    REFERENCE_CHARS_MAX,
    currency,
    iso,
    major,
    moment,
    read_object,
    text,
    units,
    url,
)
from tests.sandboxes.sumup.transactions import TOOK_MONEY, Json, Transaction, Transactions

REQUIRED = ("checkout_reference", "amount", "currency", "merchant_code")
ALLOWED = {
    *REQUIRED,
    "description",
    "return_url",
    "redirect_url",
    "valid_until",
    "customer_id",
    "purpose",
    "hosted_checkout",
}


@dataclass(slots=True)
class Checkout:
    """One."""

    reference: str
    amount_units: int
    currency: str
    description: str
    return_url: str | None
    redirect_url: str | None
    valid_until: datetime | None
    is_hosted: bool
    status: str = "PENDING"
    attempts: list[Transaction] = field(default_factory=list)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def paid_by(self) -> Transaction | None:
        """The attempt that took the money."""
        return next((each for each in self.attempts if each.status in TOOK_MONEY), None)

    @property
    def is_being_paid(self) -> bool:
        """Whether an attempt is under way."""
        return any(each.status == "PENDING" for each in self.attempts)

    def age(self) -> None:
        """Time has passed: what is not paid in time never will be."""
        is_late = self.valid_until is not None and datetime.now(UTC) >= self.valid_until
        if is_late and self.status in ("PENDING", "FAILED") and not self.is_being_paid:
            self.status = "EXPIRED"

    def as_json(self, merchant_code: str, page_url: str) -> Json:
        """As it is on the wire now."""
        shown: Json = {
            "id": self.id,
            "checkout_reference": self.reference,
            "amount": major(self.amount_units, self.currency),
            "currency": self.currency,
            "merchant_code": merchant_code,
            "merchant_country": "DE",
            "merchant_name": "Sandbox",
            "description": self.description,
            "purpose": "CHECKOUT",
            "status": self.status,
            "date": iso(self.time),
            "transactions": [each.as_attempt(merchant_code) for each in self.attempts],
        }
        optional = {
            "return_url": self.return_url,
            "redirect_url": self.redirect_url,
            "valid_until": iso(self.valid_until) if self.valid_until else None,
            "hosted_checkout": {"enabled": True} if self.is_hosted else None,
            "hosted_checkout_url": f"{page_url}/pay/{self.id}" if self.is_hosted else None,
            "transaction_id": self.paid_by.id if self.paid_by else None,
            "transaction_code": self.paid_by.code if self.paid_by else None,
        }
        return shown | {name: value for name, value in optional.items() if value is not None}


class Checkouts:
    """All of a merchant's. `tell` hears of each change."""

    def __init__(
        self, merchant_code: str, transactions: Transactions, tell: Callable[[Checkout], None]
    ) -> None:
        self.by_id: dict[str, Checkout] = {}
        self.page_url = "https://checkout.sumup.com"
        self._merchant_code = merchant_code
        self._transactions = transactions
        self._tell = tell

    def create(self, body: bytes) -> Json:
        """POST /v0.1/checkouts."""
        made = self._read(body)
        if any(each.reference == made.reference for each in self.by_id.values()):
            raise error(
                409,
                "DUPLICATED_CHECKOUT",
                "Checkout with this checkout reference and pay to email already exists",
            )
        self.by_id[made.id] = made
        return self.shown(made)

    def get(self, id_: str) -> Checkout:
        """One, by its id."""
        if id_ not in self.by_id:
            raise not_found()
        found = self.by_id[id_]
        found.age()
        return found

    def listed(self, params: dict[str, str]) -> list[Json]:
        """GET /v0.1/checkouts: all, or that with the reference."""
        wanted = params.get("checkout_reference")
        found = [each for each in self.by_id.values() if wanted in (None, each.reference)]
        return [self.shown(self.get(each.id)) for each in found]

    def deactivate(self, id_: str) -> Json:
        """DELETE /v0.1/checkouts/{id}: never after it was paid, nor while it is."""
        checkout = self.get(id_)
        if checkout.status in ("PAID", "EXPIRED") or checkout.is_being_paid:
            raise error(409, "CHECKOUT_PROCESSED", "Checkout is already processed")
        self._become(checkout, "EXPIRED")
        return self.shown(checkout)

    def attempt(self, id_: str, status: str) -> Checkout:
        """The customer tries to pay."""
        checkout = self.get(id_)
        if checkout.status in ("PAID", "EXPIRED") or checkout.is_being_paid:
            raise error(409, "CHECKOUT_PROCESSED", "Checkout is already processed")
        checkout.attempts.append(
            self._transactions.add(
                amount_units=checkout.amount_units,
                currency=checkout.currency,
                payment_type="ECOM",
                description=checkout.description,
                status=status,
            )
        )
        self._after_attempt(checkout)
        return checkout

    def settle(self, id_: str, status: str) -> Checkout:
        """The bank's word on the attempt that is under way."""
        checkout = self.get(id_)
        under_way = [each for each in checkout.attempts if each.status == "PENDING"]
        if not under_way:
            raise error(409, "CONFLICT", "No attempt is under way")
        under_way[0].status = status
        self._after_attempt(checkout)
        return checkout

    def expire(self, id_: str) -> Checkout:
        """Time is up."""
        checkout = self.get(id_)
        if checkout.status != "PAID":
            self._become(checkout, "EXPIRED")
        return checkout

    def shown(self, checkout: Checkout) -> Json:
        """As it is on the wire now."""
        return checkout.as_json(self._merchant_code, self.page_url)

    def _after_attempt(self, checkout: Checkout) -> None:
        by_attempt = {"SUCCESSFUL": "PAID", "FAILED": "FAILED", "PENDING": "PENDING"}
        self._become(checkout, by_attempt[checkout.attempts[-1].status])

    def _become(self, checkout: Checkout, status: str) -> None:
        if checkout.status != status:
            checkout.status = status
            self._tell(checkout)

    def _read(self, body: bytes) -> Checkout:
        told = read_object(body, allowed=ALLOWED, required=REQUIRED)
        reference, code = str(text(told, "checkout_reference")), currency(told)
        if len(reference) > REFERENCE_CHARS_MAX:
            raise invalid("checkout_reference")
        if told["merchant_code"] != self._merchant_code:
            raise forbidden("checkout_payments_not_allowed")
        until = text(told, "valid_until")
        return Checkout(
            reference=reference,
            amount_units=units(told, code),
            currency=code,
            description=text(told, "description") or "",
            return_url=url(told, "return_url"),
            redirect_url=url(told, "redirect_url"),
            valid_until=moment(until, "valid_until") if until else None,
            is_hosted=_is_hosted(told.get("hosted_checkout")),
        )


def _is_hosted(told: object) -> bool:
    if told is None:
        return False
    if not isinstance(told, dict) or not isinstance(told.get("enabled"), bool) or len(told) != 1:
        raise invalid("hosted_checkout.enabled")
    return bool(told["enabled"])
