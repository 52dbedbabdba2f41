"""What the calls on PaymentIntents say, read strictly from their parameters."""

from dataclasses import dataclass
from typing import Self

from tests.sandboxes.stripe.currencies import check_charge, check_currency
from tests.sandboxes.stripe.errors import invalid
from tests.sandboxes.stripe.forms import Params
from tests.sandboxes.stripe.intent import Attempt
from tests.sandboxes.stripe.objects import Json, ListQuery, read_list_query, read_metadata

CANCELLATION_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")


@dataclass(frozen=True, slots=True)
class CreateIntent:
    """POST /v1/payment_intents."""

    amount_minor: int
    currency: str
    capture_method: str
    automatic_payment_methods: Json | None
    allowed_types: list[str]
    customer: str | None
    details: Json
    metadata: dict[str, str]
    payment_method: str | None = None
    confirmation: Attempt | None = None

    @classmethod
    def read(cls, params: Params) -> Self:
        """Reads its parameters."""
        amount_minor = params.required_integer("amount", minimum=1)
        currency = check_currency(params.required_string("currency"), param="currency")
        check_charge(amount_minor, currency, param="amount")
        types = params.strings("allowed_payment_method_types")
        payment_method = params.string("payment_method")
        return cls(
            amount_minor=amount_minor,
            currency=currency,
            capture_method=read_capture_method(params) or "automatic_async",
            automatic_payment_methods=_read_automatic_methods(params, types),
            allowed_types=types,
            customer=params.string("customer"),
            details=read_details(params),
            metadata=read_metadata(params),
            payment_method=payment_method,
            confirmation=_read_confirmation(params, payment_method),
        )


@dataclass(frozen=True, slots=True)
class UpdateIntent:
    """POST /v1/payment_intents/{id}."""

    amount_minor: int | None
    currency: str | None
    payment_method: str | None
    details: Json
    metadata: dict[str, str]

    @classmethod
    def read(cls, params: Params) -> Self:
        """Reads its parameters."""
        currency = params.string("currency")
        return cls(
            amount_minor=params.integer("amount", minimum=1),
            currency=None if currency is None else check_currency(currency, param="currency"),
            payment_method=params.string("payment_method"),
            details=read_details(params),
            metadata=read_metadata(params),
        )

    @property
    def changes_payment(self) -> bool:
        """Whether it is about what is paid or how."""
        return any(part is not None for part in (self.amount_minor, self.currency, self.payment_method))


@dataclass(frozen=True, slots=True)
class ConfirmIntent:
    """POST /v1/payment_intents/{id}/confirm."""

    attempt: Attempt

    @classmethod
    def read(cls, params: Params) -> Self:
        """Reads its parameters."""
        return cls(_read_attempt(params, params.string("payment_method")))


@dataclass(frozen=True, slots=True)
class CaptureIntent:
    """POST /v1/payment_intents/{id}/capture."""

    amount_minor: int | None
    metadata: dict[str, str]

    @classmethod
    def read(cls, params: Params) -> Self:
        """Reads its parameters."""
        return cls(params.integer("amount_to_capture", minimum=1), read_metadata(params))


@dataclass(frozen=True, slots=True)
class CancelIntent:
    """POST /v1/payment_intents/{id}/cancel."""

    reason: str | None

    @classmethod
    def read(cls, params: Params) -> Self:
        """Reads its parameters."""
        return cls(params.choice("cancellation_reason", *CANCELLATION_REASONS))


@dataclass(frozen=True, slots=True)
class ListIntents:
    """GET /v1/payment_intents."""

    query: ListQuery
    customer: str | None

    @classmethod
    def read(cls, params: Params) -> Self:
        """Reads its parameters."""
        return cls(read_list_query(params), params.string("customer"))


def read_capture_method(params: Params) -> str | None:
    """When the money is taken: at once, or by a call of its own."""
    return params.choice("capture_method", "automatic", "automatic_async", "manual")


def read_details(params: Params) -> Json:
    """What is given of the fields that are only kept."""
    found = {
        "description": params.string("description"),
        "receipt_email": params.string("receipt_email"),
        "shipping": params.whole("shipping"),
        "statement_descriptor_suffix": params.string("statement_descriptor_suffix", chars_max=22),
    }
    return {name: value for name, value in found.items() if value is not None}


def _read_automatic_methods(params: Params, types: list[str]) -> Json | None:
    """What the account offers, which is the default; or only the types that are allowed."""
    given = params.mapping("automatic_payment_methods")
    if given is None:
        return None if types else {"enabled": True, "allow_redirects": "always"}
    allow_redirects = given.choice("allow_redirects", "always", "never") or "always"
    return {"enabled": True, "allow_redirects": allow_redirects} if given.boolean("enabled") else None


def _read_confirmation(params: Params, payment_method: str | None) -> Attempt | None:
    """The attempt that a creation asks for; what belongs to one is refused without it."""
    if params.boolean("confirm"):
        if payment_method is None:
            raise invalid("confirm=true needs a payment_method.", param="payment_method")
        return _read_attempt(params, payment_method)
    for name in ("off_session", "return_url"):
        if params.string(name) is not None:
            raise invalid(f"{name} may only be given with confirm=true.", param=name)
    return None


def _read_attempt(params: Params, payment_method: str | None) -> Attempt:
    return Attempt(
        payment_method=payment_method,
        return_url=params.string("return_url"),
        is_off_session=bool(params.boolean("off_session")),
    )
