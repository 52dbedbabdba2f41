"""PayPal's settings in the environment."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from random import SystemRandom

from pydantic import Field, SecretStr

from payment_providers.environment import HttpUrl, ProviderEnvironment, listed
from payment_providers.paypal.settings import CERTIFICATE_NAME, CERTIFICATE_URLS, PayPalSettings
from payment_providers.port import PaymentProvider

_FOLDER = r"https?://[^\s,]+/"


class PayPalEnvironment(ProviderEnvironment):
    """PayPal. The defaults are the live system; a sandbox has an address and certificates of its own."""

    paypal_client_id: str = ""
    """Empty: no payments at PayPal."""
    paypal_client_secret: SecretStr = SecretStr("")
    """Of the same REST application."""
    paypal_webhook_ids: str = ""
    """Of our webhooks at PayPal, separated by commas: two while one replaces the other. Without: none is
    believed."""
    paypal_api_url: HttpUrl = "https://api-m.paypal.com"
    """Where PayPal is."""
    paypal_certificate_urls: str = Field(
        default=",".join(CERTIFICATE_URLS), pattern=rf"^{_FOLDER}(\s*,\s*{_FOLDER})*$"
    )
    """What the address of a certificate must begin with, separated by commas. Each ends in a slash: else
    another host's name could begin with it."""
    paypal_certificate_name: str = Field(default=CERTIFICATE_NAME, min_length=1)
    """Whom the certificates are made out to."""
    paypal_certificate_authorities: str = Field(default="", pattern="^$|-----BEGIN CERTIFICATE-----")
    """Who may have issued them, as PEM. Empty: the public authorities."""

    def needed(self) -> Sequence[str]:
        """The credentials: only the webhook service needs the ids."""
        return ("paypal_client_id", "paypal_client_secret")

    def provider(self) -> PaymentProvider:
        """PayPal as it is set."""
        from payment_providers.paypal.provider import PayPalProvider

        settings = PayPalSettings(
            client_id=self.paypal_client_id,
            client_secret=self.paypal_client_secret.get_secret_value(),
            webhook_ids=listed(self.paypal_webhook_ids),
            api_url=self.paypal_api_url,
            certificate_urls=listed(self.paypal_certificate_urls),
            certificate_name=self.paypal_certificate_name,
            certificate_authorities_pem=self.paypal_certificate_authorities.encode(),
            limits=self.limits,
        )
        return PayPalProvider(
            settings, monotonic=time.monotonic, clock=lambda: datetime.now(UTC), chance=SystemRandom()
        )
