"""PayPal."""

from payment_providers.paypal.provider import PayPalProvider
from payment_providers.paypal.settings import PayPalSettings

__all__ = ["PayPalProvider", "PayPalSettings"]
