"""PaymentIntents: what is to be paid once, through however many attempts."""

from collections.abc import Callable

from tests.sandboxes.stripe.charges import Charge, Charges
from tests.sandboxes.stripe.currencies import check_charge, check_step
from tests.sandboxes.stripe.errors import ApiError, card_error, invalid, not_found, refused
from tests.sandboxes.stripe.events import EventLog
from tests.sandboxes.stripe.intent import Attempt, PaymentIntent
from tests.sandboxes.stripe.intent_requests import (
    CancelIntent,
    CaptureIntent,
    ConfirmIntent,
    CreateIntent,
    ListIntents,
    UpdateIntent,
)
from tests.sandboxes.stripe.objects import Clock, Json, list_page, merged
from tests.sandboxes.stripe.payment_methods import (
    AUTHENTICATION_FAILED,
    AUTHENTICATION_REQUIRED,
    DEBIT_FAILED,
    Decline,
    PaymentBehaviour,
    PaymentMethod,
    PaymentMethods,
)

UNEXPECTED_STATE = "payment_intent_unexpected_state"
CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action")


class PaymentIntents:
    """All PaymentIntents, and every step that one can take."""

    def __init__(
        self,
        charges: Charges,
        methods: PaymentMethods,
        events: EventLog,
        clock: Clock,
    ) -> None:
        self.by_id: dict[str, PaymentIntent] = {}
        self._charges = charges
        self._methods = methods
        self._events = events
        self._clock = clock

    # --- what the API offers ---------------------------------------------------------------------

    def create(self, request: CreateIntent, *, session: str | None = None) -> PaymentIntent:
        """Makes an intent, and confirms it if asked to; a decline leaves it behind, unpaid."""
        method = self._methods.use(request.payment_method) if request.payment_method else None
        intent = PaymentIntent(
            amount_minor=request.amount_minor,
            currency=request.currency,
            created=self._clock(),
            capture_method=request.capture_method,
            automatic_payment_methods=request.automatic_payment_methods,
            allowed_types=request.allowed_types,
            customer=request.customer,
            details=dict(request.details),
            metadata=merged({}, request.metadata),
            session=session,
        )
        if method is not None:
            intent.payment_method, intent.status = method, "requires_confirmation"
        if request.confirmation is not None:
            self._check_return_url(intent, request.confirmation)
        self.by_id[intent.id] = intent
        self._tell(intent, "created")
        if request.confirmation is not None:
            self.attempt(intent, request.confirmation)
        return intent

    def get(self, id_: str) -> PaymentIntent:
        """One, by its id."""
        if id_ not in self.by_id:
            raise not_found("payment_intent", id_)
        return self.by_id[id_]

    def page(self, request: ListIntents) -> Json:
        """A page, newest first."""
        wanted = [
            intent for intent in self.by_id.values() if request.customer in (None, intent.customer)
        ]
        return list_page(wanted, request.query, url="/v1/payment_intents")

    def update(self, id_: str, request: UpdateIntent) -> PaymentIntent:
        """Changes metadata and details at any time, what is paid and how only before it is."""
        intent = self.get(id_)
        if request.changes_payment and intent.status not in CONFIRMABLE:
            raise self._unexpected(intent, "updated", CONFIRMABLE)
        currency = request.currency or intent.currency
        amount_minor = request.amount_minor or intent.amount_minor
        check_charge(amount_minor, currency, param="amount")
        if request.payment_method is not None:
            intent.payment_method = self._methods.use(request.payment_method)
            intent.status, intent.next_action = "requires_confirmation", None
        intent.amount_minor, intent.currency = amount_minor, currency
        intent.details |= request.details
        intent.metadata = merged(intent.metadata, request.metadata)
        return intent

    def confirm(self, id_: str, request: ConfirmIntent) -> PaymentIntent:
        """Tries to pay; a decline is raised and leaves the intent open for another attempt."""
        intent = self.get(id_)
        if intent.session is not None:
            raise self._owned_by_session(intent, "confirm")
        self.attempt(intent, request.attempt)
        return intent

    def capture(self, id_: str, request: CaptureIntent) -> PaymentIntent:
        """Takes held money, all or a part; the rest is released."""
        intent = self.get(id_)
        if intent.status != "requires_capture":
            raise self._unexpected(intent, "captured", ("requires_capture",))
        amount_minor = request.amount_minor or intent.amount_capturable_minor
        check_step(amount_minor, intent.currency, param="amount_to_capture")
        if amount_minor > intent.amount_capturable_minor:
            raise refused(
                f"The amount to capture ({amount_minor}) is greater than the amount"
                f" that can be captured ({intent.amount_capturable_minor}).",
                code="amount_too_large",
                param="amount_to_capture",
            )
        intent.metadata = merged(intent.metadata, request.metadata)
        self._charges.capture(self._latest_charge(intent), amount_minor)
        self._succeed(intent, amount_minor)
        return intent

    def cancel(self, id_: str, request: CancelIntent) -> PaymentIntent:
        """Ends an unpaid intent; held money is released."""
        intent = self.get(id_)
        if intent.status not in CANCELABLE:
            raise self._unexpected(intent, "canceled", CANCELABLE)
        if intent.session is not None and intent.status != "requires_capture":
            raise self._owned_by_session(intent, "cancel")
        self.end(intent, reason=request.reason)
        return intent

    # --- what happens besides --------------------------------------------------------------------

    def end(self, intent: PaymentIntent, *, reason: str | None) -> None:
        """Cancels, whoever wants it."""
        if intent.status == "requires_capture":
            self._charges.release(self._latest_charge(intent))
        intent.status, intent.next_action = "canceled", None
        intent.amount_capturable_minor = 0
        intent.canceled_at, intent.cancellation_reason = self._clock(), reason
        self._tell(intent, "canceled")

    def attempt(self, intent: PaymentIntent, attempt: Attempt) -> None:
        """One attempt to pay, by the merchant or by the customer."""
        if intent.status not in CONFIRMABLE:
            raise self._unexpected(intent, "confirmed", CONFIRMABLE)
        method = self._method_for(intent, attempt)
        self._check_return_url(intent, attempt)
        intent.payment_method, intent.next_action = method, None
        steps: dict[PaymentBehaviour, Callable[[], None]] = {
            PaymentBehaviour.APPROVES: lambda: self._approve(intent, method),
            PaymentBehaviour.ASKS_THE_CUSTOMER: lambda: self._ask(intent, method, attempt),
            PaymentBehaviour.TAKES_DAYS: lambda: self._begin(intent, method),
            PaymentBehaviour.DECLINES: lambda: self._decline(intent, method, method.kind.decline),
        }
        steps[method.kind.payment]()

    def authenticate(self, intent: PaymentIntent, *, succeeds: bool) -> None:
        """The customer answers the bank's question; a failure is raised like a decline."""
        if intent.status != "requires_action" or intent.payment_method is None:
            raise self._unexpected(intent, "authenticated", ("requires_action",))
        intent.next_action = None
        if succeeds:
            self._approve(intent, intent.payment_method)
        else:
            self._decline(intent, intent.payment_method, AUTHENTICATION_FAILED)

    def settle(self, intent: PaymentIntent, *, succeeds: bool) -> None:
        """A payment that takes days ends."""
        if intent.status != "processing":
            raise self._unexpected(intent, "settled", ("processing",))
        charge = self._latest_charge(intent)
        if succeeds:
            self._charges.settle(charge, decline=None)
            self._succeed(intent, intent.amount_minor)
        else:
            self._charges.settle(charge, decline=DEBIT_FAILED)
            self._fail(intent, charge.payment_method, DEBIT_FAILED)

    # --- steps -----------------------------------------------------------------------------------

    def _approve(self, intent: PaymentIntent, method: PaymentMethod) -> None:
        charge = self._charge(intent, method)
        if intent.capture_method == "manual":
            self._charges.add(charge)
            intent.status, intent.amount_capturable_minor = "requires_capture", intent.amount_minor
            self._tell(intent, "amount_capturable_updated")
        else:
            charge.is_captured, charge.amount_captured_minor = True, intent.amount_minor
            self._charges.add(charge)
            self._succeed(intent, intent.amount_minor)

    def _succeed(self, intent: PaymentIntent, amount_minor: int) -> None:
        intent.status = "succeeded"
        intent.amount_capturable_minor, intent.amount_received_minor = 0, amount_minor
        intent.last_payment_error = None
        self._tell(intent, "succeeded")

    def _ask(self, intent: PaymentIntent, method: PaymentMethod, attempt: Attempt) -> None:
        if attempt.is_off_session:
            self._decline(intent, method, AUTHENTICATION_REQUIRED)
        intent.status = "requires_action"
        intent.next_action = _next_action(intent, attempt)
        self._tell(intent, "requires_action")

    def _begin(self, intent: PaymentIntent, method: PaymentMethod) -> None:
        charge = self._charge(intent, method)
        charge.status = "pending"
        self._charges.add(charge)
        intent.status = "processing"
        self._tell(intent, "processing")

    def _decline(self, intent: PaymentIntent, method: PaymentMethod, decline: Decline | None) -> None:
        assert decline is not None
        charge = self._charge(intent, method)
        charge.status, charge.decline = "failed", decline
        self._charges.add(charge)
        self._fail(intent, method, decline)
        raise card_error(
            **_error_facts(decline, method),
            charge=charge.id,
            payment_intent=intent.as_json(),
        )

    def _fail(self, intent: PaymentIntent, method: PaymentMethod, decline: Decline) -> None:
        intent.status, intent.payment_method = "requires_payment_method", None
        intent.last_payment_error = {**_error_facts(decline, method), "type": "card_error"}
        self._tell(intent, "payment_failed")

    def _charge(self, intent: PaymentIntent, method: PaymentMethod) -> Charge:
        charge = Charge(
            amount_minor=intent.amount_minor,
            currency=intent.currency,
            payment_intent=intent.id,
            payment_method=method,
            created=self._clock(),
            description=intent.details.get("description"),
            receipt_email=intent.details.get("receipt_email"),
            metadata=dict(intent.metadata),
        )
        intent.latest_charge = charge.id
        return charge

    def _latest_charge(self, intent: PaymentIntent) -> Charge:
        assert intent.latest_charge is not None
        return self._charges.get(intent.latest_charge)

    def _method_for(self, intent: PaymentIntent, attempt: Attempt) -> PaymentMethod:
        if attempt.payment_method is not None:
            return self._methods.use(attempt.payment_method)
        if intent.payment_method is None:
            raise refused(
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
                code=UNEXPECTED_STATE,
                payment_intent=intent.as_json(),
            )
        return intent.payment_method

    def _check_return_url(self, intent: PaymentIntent, attempt: Attempt) -> None:
        """Payment methods that may redirect the customer need somewhere to come back to."""
        may_redirect = (intent.automatic_payment_methods or {}).get("allow_redirects") == "always"
        if may_redirect and intent.session is None and not attempt.has_way_back:
            raise invalid(
                "Payment methods of this PaymentIntent might redirect your customer: provide a"
                " `return_url`, or set automatic_payment_methods[allow_redirects] to never.",
                param="return_url",
            )

    # --- telling and refusing --------------------------------------------------------------------

    def _tell(self, intent: PaymentIntent, what: str) -> None:
        self._events.tell(f"payment_intent.{what}", intent.as_json())

    def _unexpected(self, intent: PaymentIntent, what: str, allowed: tuple[str, ...]) -> ApiError:
        return refused(
            f"This PaymentIntent could not be {what} because it has a status of {intent.status}. Only a"
            f" PaymentIntent with one of the following statuses may be {what}: {', '.join(allowed)}.",
            code=UNEXPECTED_STATE,
            payment_intent=intent.as_json(),
        )

    def _owned_by_session(self, intent: PaymentIntent, what: str) -> ApiError:
        return refused(
            f"You cannot {what} this PaymentIntent because it was created by Checkout:"
            " expire its Checkout Session instead.",
            code=UNEXPECTED_STATE,
            payment_intent=intent.as_json(),
        )


def _error_facts(decline: Decline, method: PaymentMethod) -> Json:
    return {
        "message": decline.message,
        "code": decline.code,
        "decline_code": decline.decline_code,
        "payment_method": method.as_json(),
    }


def _next_action(intent: PaymentIntent, attempt: Attempt) -> Json:
    if attempt.return_url is None:
        return {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
    url = f"https://hooks.stripe.com/redirect/authenticate/{intent.id}"
    return {
        "type": "redirect_to_url",
        "redirect_to_url": {"return_url": attempt.return_url, "url": url},
    }
