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


def names_told(told: ProviderPayment, own_name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Every name of the payment but the one that we hold it by, those that were known first.

    Names of its money, such as SumUp has for each attempt at it, count once there is money.
    """
    of_money = told.other_names if told.captured_minor else ()
    names = dict.fromkeys((*known, told.provider_reference, *of_money))
    return tuple(name for name in names if name not in ("", own_name or told.provider_reference))
