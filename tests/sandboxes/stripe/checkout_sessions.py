"""Checkout Sessions: a page of Stripe's on which a customer pays, is declined, or walks away from."""

from dataclasses import dataclass, field
from typing import Self

from tests.sandboxes.stripe.currencies import check_charge, check_currency
from tests.sandboxes.stripe.errors import ApiError, invalid, missing, not_found, refused, required
from tests.sandboxes.stripe.events import EventLog
from tests.sandboxes.stripe.forms import Params
from tests.sandboxes.stripe.intent import TYPES_OFFERED, Attempt, PaymentIntent
from tests.sandboxes.stripe.intent_requests import CreateIntent, read_capture_method, read_details
from tests.sandboxes.stripe.objects import (
    Clock,
    Json,
    ListQuery,
    list_page,
    new_id,
    read_list_query,
    read_metadata,
)
from tests.sandboxes.stripe.payment_intents import PaymentIntents
from tests.sandboxes.stripe.payment_methods import APPROVED

LINE_ITEMS_MAX = 100
OPEN_SECONDS_MIN = 30 * 60
OPEN_SECONDS_MAX = 24 * 3600
UI_MODES = ("hosted_page", "embedded_page", "elements", "form")


@dataclass(frozen=True, slots=True)
class LineItem:
    """So many of something at a price."""

    name: str
    currency: str
    unit_amount_minor: int
    quantity: int
    id: str = field(default_factory=lambda: new_id("li"))

    @property
    def amount_minor(self) -> int:
        """Of all pieces."""
        return self.unit_amount_minor * self.quantity

    def as_json(self) -> Json:
        """As it is on the wire."""
        return {
            "id": self.id,
            "object": "item",
            "amount_discount": 0,
            "amount_subtotal": self.amount_minor,
            "amount_tax": 0,
            "amount_total": self.amount_minor,
            "currency": self.currency,
            "description": self.name,
            "price": {
                "object": "price",
                "currency": self.currency,
                "unit_amount": self.unit_amount_minor,
            },
            "quantity": self.quantity,
        }


@dataclass(frozen=True, slots=True)
class IntentData:
    """payment_intent_data: what the session's PaymentIntent will have."""

    capture_method: str
    details: Json
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class CreateSession:
    """POST /v1/checkout/sessions."""

    line_items: list[LineItem]
    success_url: str
    cancel_url: str | None
    client_reference_id: str | None
    customer: str | None
    customer_email: str | None
    expires_at: int | None
    intent_data: IntentData
    metadata: dict[str, str]
    allowed_types: list[str]

    @classmethod
    def read(cls, params: Params) -> Self:
        """Reads its parameters."""
        _read_mode(params)
        return cls(
            line_items=_read_line_items(params),
            success_url=params.required_string("success_url"),
            cancel_url=params.string("cancel_url"),
            client_reference_id=params.string("client_reference_id", chars_max=200),
            customer=params.string("customer"),
            customer_email=params.string("customer_email"),
            expires_at=params.integer("expires_at"),
            intent_data=_read_intent_data(params),
            metadata=read_metadata(params),
            allowed_types=params.strings("allowed_payment_method_types"),
        )


def _read_mode(params: Params) -> None:
    if params.required_string("mode") != "payment":
        raise invalid("This sandbox has mode=payment only.", param="mode")
    if params.choice("ui_mode", *UI_MODES) not in (None, "hosted_page"):
        raise invalid("This sandbox has ui_mode=hosted_page only.", param="ui_mode")


def _read_line_items(params: Params) -> list[LineItem]:
    items = [_read_line_item(item) for item in params.items("line_items", count_max=LINE_ITEMS_MAX)]
    if not items:
        raise required("line_items")
    currencies = {item.currency for item in items}
    if len(currencies) > 1:
        raise invalid(
            "The Checkout Session expects all line items to have one currency.", param="line_items"
        )
    total_minor = sum(item.amount_minor for item in items)
    if total_minor:
        check_charge(total_minor, items[0].currency, param="line_items")
    return items


def _read_line_item(item: Params) -> LineItem:
    if (price_id := item.string("price")) is not None:
        raise missing("price", price_id, param=item.name("price"))
    price = item.required_mapping("price_data")
    product = price.required_mapping("product_data")
    name = product.required_string("name")
    for kept in ("description", "tax_code"):
        product.string(kept)
    product.strings("images")
    read_metadata(product)
    return LineItem(
        name=name,
        currency=check_currency(price.required_string("currency"), param=price.name("currency")),
        unit_amount_minor=price.required_integer("unit_amount", minimum=0),
        quantity=item.required_integer("quantity", minimum=1),
    )


def _read_intent_data(params: Params) -> IntentData:
    given = params.mapping("payment_intent_data") or Params({})
    return IntentData(
        capture_method=read_capture_method(given) or "automatic_async",
        details=read_details(given),
        metadata=read_metadata(given),
    )


@dataclass(frozen=True, slots=True)
class ListSessions:
    """GET /v1/checkout/sessions."""

    query: ListQuery
    payment_intent: str | None
    status: str | None

    @classmethod
    def read(cls, params: Params) -> Self:
        """Reads its parameters."""
        return cls(
            query=read_list_query(params),
            payment_intent=params.string("payment_intent"),
            status=params.choice("status", "open", "complete", "expired"),
        )


@dataclass(slots=True)
class CheckoutSession:
    """A visit to the page."""

    request: CreateSession
    created: int
    expires_at: int
    page_url: str
    status: str = "open"
    intent: PaymentIntent | None = None
    id: str = field(default_factory=lambda: new_id("cs_test"))

    @property
    def total_minor(self) -> int:
        """What is to be paid."""
        return sum(item.amount_minor for item in self.request.line_items)

    @property
    def currency(self) -> str:
        """Of all lines."""
        return self.request.line_items[0].currency

    @property
    def payment_status(self) -> str:
        """Fulfil only if it is not `unpaid`: held money and a debit on its way are unpaid."""
        if self.total_minor == 0:
            return "no_payment_required"
        return "paid" if self.intent is not None and self.intent.status == "succeeded" else "unpaid"

    @property
    def redirect_url(self) -> str:
        """Where the customer is sent after paying."""
        return self.request.success_url.replace("{CHECKOUT_SESSION_ID}", self.id)

    def as_json(self) -> Json:
        """As it is on the wire now. The URL leads nowhere once the session is over."""
        return {
            "id": self.id,
            "object": "checkout.session",
            "amount_subtotal": self.total_minor,
            "amount_total": self.total_minor,
            "cancel_url": self.request.cancel_url,
            "client_reference_id": self.request.client_reference_id,
            "client_secret": None,
            "created": self.created,
            "currency": self.currency,
            "customer": self.request.customer,
            "customer_email": self.request.customer_email,
            "expires_at": self.expires_at,
            "livemode": False,
            "metadata": dict(self.request.metadata),
            "mode": "payment",
            "payment_intent": self.intent.id if self.intent else None,
            "payment_method_types": self.request.allowed_types or list(TYPES_OFFERED),
            "payment_status": self.payment_status,
            "status": self.status,
            "success_url": self.request.success_url,
            "ui_mode": "hosted_page",
            "url": f"{self.page_url}/c/pay/{self.id}" if self.status == "open" else None,
        }

    def line_items_as_json(self) -> Json:
        """All lines, as one list."""
        return {
            "object": "list",
            "data": [item.as_json() for item in self.request.line_items],
            "has_more": False,
            "url": f"/v1/checkout/sessions/{self.id}/line_items",
        }


class CheckoutSessions:
    """All sessions: what the merchant does by the API, and what the customer does on the page."""

    def __init__(
        self,
        intents: PaymentIntents,
        events: EventLog,
        clock: Clock,
        *,
        is_intent_made_at_once: bool,
    ) -> None:
        self.by_id: dict[str, CheckoutSession] = {}
        self.page_url = "https://checkout.stripe.com"
        self._intents = intents
        self._events = events
        self._clock = clock
        self._is_intent_made_at_once = is_intent_made_at_once

    # --- what the API offers ---------------------------------------------------------------------

    def create(self, request: CreateSession) -> CheckoutSession:
        """Opens a page for a customer."""
        now = self._clock()
        session = CheckoutSession(request, now, self._expiry(request, now), self.page_url)
        self.by_id[session.id] = session
        if self._is_intent_made_at_once and session.total_minor:
            self._intent_of(session)
        return session

    def get(self, id_: str) -> CheckoutSession:
        """One, by its id."""
        if id_ not in self.by_id:
            raise not_found("checkout.session", id_)
        return self.by_id[id_]

    def page(self, request: ListSessions) -> Json:
        """A page, newest first."""
        wanted = [
            session
            for session in self.by_id.values()
            if request.status in (None, session.status)
            and request.payment_intent in (None, session.intent and session.intent.id)
        ]
        return list_page(wanted, request.query, url="/v1/checkout/sessions")

    def expire(self, id_: str) -> CheckoutSession:
        """Closes an open page: nobody can pay on it any more."""
        session = self.get(id_)
        self._check_open(session, "expired")
        session.status = "expired"
        if session.intent is not None:
            self._intents.end(session.intent, reason="expired")
        self._tell(session, "expired")
        return session

    # --- what the customer does ------------------------------------------------------------------

    def pay(self, id_: str, *, payment_method: str = APPROVED) -> CheckoutSession:
        """Tries to pay on the page; a decline is raised and leaves the page open."""
        session = self.get(id_)
        self._check_open(session, "paid")
        if session.total_minor == 0:
            return self._complete(session)
        intent = self._intent_of(session)
        self._intents.attempt(intent, Attempt(payment_method, is_by_customer=True))
        return session if intent.status == "requires_action" else self._complete(session)

    def authenticate(self, id_: str, *, succeeds: bool) -> CheckoutSession:
        """Answers the bank's question on the page; a failure is raised like a decline."""
        session = self.get(id_)
        self._check_open(session, "authenticated")
        self._intents.authenticate(self._intent_of(session), succeeds=succeeds)
        return self._complete(session)

    def settle(self, id_: str, *, succeeds: bool) -> CheckoutSession:
        """A payment that takes days ends after the session has been completed."""
        session = self.get(id_)
        self._intents.settle(self._intent_of(session), succeeds=succeeds)
        self._tell(session, f"async_payment_{'succeeded' if succeeds else 'failed'}")
        return session

    def _complete(self, session: CheckoutSession) -> CheckoutSession:
        session.status = "complete"
        self._tell(session, "completed")
        return session

    def _intent_of(self, session: CheckoutSession) -> PaymentIntent:
        """The session's PaymentIntent, made when the customer first acts, unless it is there already."""
        if session.intent is None:
            wanted = session.request.intent_data
            session.intent = self._intents.create(
                CreateIntent(
                    amount_minor=session.total_minor,
                    currency=session.currency,
                    capture_method=wanted.capture_method,
                    automatic_payment_methods=None,
                    allowed_types=session.request.allowed_types,
                    customer=session.request.customer,
                    details=wanted.details,
                    metadata=wanted.metadata,
                ),
                session=session.id,
            )
        return session.intent

    def _expiry(self, request: CreateSession, now: int) -> int:
        if request.expires_at is None:
            return now + OPEN_SECONDS_MAX
        if not OPEN_SECONDS_MIN <= request.expires_at - now <= OPEN_SECONDS_MAX:
            raise invalid(
                "The `expires_at` timestamp must be at least 30 minutes and at most 24 hours from"
                " Checkout Session creation.",
                param="expires_at",
            )
        return request.expires_at

    def _check_open(self, session: CheckoutSession, what: str) -> None:
        if session.status != "open":
            raise self._not_open(session, what)

    def _not_open(self, session: CheckoutSession, what: str) -> ApiError:
        return refused(
            f'Only Checkout Sessions with a status in ["open"] can be {what}.'
            f" This Checkout Session has a status of `{session.status}`."
        )

    def _tell(self, session: CheckoutSession, what: str) -> None:
        self._events.tell(f"checkout.session.{what}", session.as_json())
