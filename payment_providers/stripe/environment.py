"""Stripe's settings in the environment."""

import time
from collections.abc import Sequence
from random import SystemRandom

from pydantic import SecretStr

from payment_providers.environment import HttpUrl, ProviderEnvironment, listed
from payment_providers.port import PaymentProvider


class StripeEnvironment(ProviderEnvironment):
    """Stripe."""

    stripe_api_key: SecretStr = SecretStr("")
    """Empty: no payments at Stripe."""
    stripe_webhook_secrets: SecretStr = SecretStr("")
    """Of the endpoint, separated by commas: two while one is being rolled. Without: none is believed."""
    stripe_api_url: HttpUrl = "https://api.stripe.com"
    """Where Stripe is; a sandbox has an address of its own."""

    def needed(self) -> Sequence[str]:
        """The key alone: only the webhook service needs the secrets."""
        return ("stripe_api_key",)

    def provider(self) -> PaymentProvider:
        """Stripe as it is set."""
        from payment_providers.stripe.provider import StripeProvider, StripeSettings

        settings = StripeSettings(
            api_key=self.stripe_api_key.get_secret_value(),
            webhook_secrets=listed(self.stripe_webhook_secrets),
            api_url=self.stripe_api_url,
            limits=self.limits,
        )
        return StripeProvider(settings, monotonic=time.monotonic, chance=SystemRandom())
