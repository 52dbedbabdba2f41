"""What a call to a provider came to. Pure."""

from dataclasses import dataclass

from payment_providers.port import ProviderPayment, ProviderRefund


@dataclass(frozen=True, slots=True)
class Told:
    """The provider told how the payment, or the refund, is now."""

    by_provider: ProviderPayment | ProviderRefund


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider refused for good. by_provider: the payment as it is; None if there is none."""

    code: str
    by_provider: ProviderPayment | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """Nothing happened; it may be tried again."""

    code: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The call ended without an answer."""

    code: str
    is_key_spent: bool = False


@dataclass(frozen=True, slots=True)
class NoTrace:
    """The provider knows nothing of it, and the key is spent."""


Report = Told | Refused | Postponed | Lost | NoTrace
