"""Stripe."""

from payment_providers.stripe.provider import StripeProvider, StripeSettings

__all__ = ["StripeProvider", "StripeSettings"]
