"""What the settings of every provider have in common: all that one needs is set, or nothing of it."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from payment_providers.breaker import OPEN_SECONDS
from payment_providers.calls import CallLimits
from payment_providers.port import PaymentProvider

HttpUrl = Annotated[str, Field(pattern="^https?://")]
"""An address; http is for sandboxes."""


class ProviderEnvironment(BaseSettings):
    """One provider's settings: each field is read from the environment variable of its name in capitals.

    A field that is not empty unless told is an option. The others are what makes a provider of ours:
    none of them set, it is not at work; some of them, it is half set.

    Raises:
        ValidationError: it is half set, or a value is malformed. Names variables, never values.
    """

    model_config = SettingsConfigDict(hide_input_in_errors=True)

    provider_attempt_seconds_max: float = Field(default=10.0, gt=0, le=10)
    """Of one call; see CallLimits. With its repetitions it may take one and a half times as long."""

    provider_breaker_seconds: float = Field(default=OPEN_SECONDS, ge=0.001, le=1_000_000)
    """How long a provider is left alone after several calls in a row have failed."""

    @abstractmethod
    def needed(self) -> Sequence[str]:
        """Fields without which it cannot work, given the others."""

    @abstractmethod
    def provider(self) -> PaymentProvider:
        """The provider as it is set.

        Its adapter is imported here and not above: with the libraries of all providers a service takes
        half as long again to start, and few shops use them all.
        """

    @property
    def limits(self) -> CallLimits:
        """How long calls may take."""
        seconds = self.provider_attempt_seconds_max
        return CallLimits(
            attempt_seconds_max=seconds,
            attempt_seconds_min=seconds / 10,
            total_seconds_max=1.5 * seconds,
            breaker_open_seconds=self.provider_breaker_seconds,
        )

    @property
    def is_at_work(self) -> bool:
        """True when it is set."""
        return bool(self._set_names())

    def _set_names(self) -> list[str]:
        return [
            name
            for name, field in type(self).model_fields.items()
            if not field.default and getattr(self, name)
        ]

    @field_validator("*", mode="before")
    @classmethod
    def _stripped(cls, value: object) -> object:
        """Files of secrets end in a newline, which no HTTP header may have."""
        return value.strip() if isinstance(value, str) else value

    @field_validator("*")
    @classmethod
    def _can_be_sent(cls, value: object) -> object:
        if isinstance(value, SecretStr) and (secret := value.get_secret_value()):
            if not (secret.isascii() and secret.isprintable()):
                raise PydanticCustomError("not_ascii", "must be printable ASCII")
            if not listed(value):
                raise PydanticCustomError("empty_list", "must name something")
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        set_names = self._set_names()
        missing = [name for name in self.needed() if name not in set_names]
        if set_names and missing:
            known = ", ".join(name.upper() for name in set_names)
            raise ValidationError.from_exception_data(
                type(self).__name__, [_lack_of(name, known) for name in missing]
            )
        return self


def _lack_of(name: str, known: str) -> InitErrorDetails:
    error = PydanticCustomError("half_set", "is missing, while there is {known}", {"known": known})
    return InitErrorDetails(type=error, loc=(name,), input=None)


def listed(text: SecretStr | str) -> tuple[str, ...]:
    """The parts between commas."""
    whole = text.get_secret_value() if isinstance(text, SecretStr) else text
    return tuple(part.strip() for part in whole.split(",") if part.strip())
