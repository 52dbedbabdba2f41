"""SumUp."""

from payment_providers.sumup.provider import SumUpProvider
from payment_providers.sumup.settings import SumUpSettings

__all__ = ["SumUpProvider", "SumUpSettings"]
