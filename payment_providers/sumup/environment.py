"""SumUp's settings in the environment."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from random import SystemRandom

from pydantic import Field, SecretStr

from payment_providers.environment import HttpUrl, ProviderEnvironment, listed
from payment_providers.port import PaymentProvider
from payment_providers.sumup.settings import SumUpSettings


class SumUpEnvironment(ProviderEnvironment):
    """SumUp."""

    sumup_api_key: SecretStr = SecretStr("")
    """Empty: no payments at SumUp."""
    sumup_merchant_code: str = Field(default="", pattern="^[A-Za-z0-9]*$")
    """Whose money it is; it becomes part of paths."""
    sumup_webhook_url: str = Field(default="", pattern="^$|^https?://")
    """Where SumUp tells of changes: .../webhooks/sumup, as seen from outside; https for readers."""
    sumup_affiliate_app_id: str = ""
    """With the key below: SumUp's name for our application, for card readers."""
    sumup_affiliate_key: SecretStr = SecretStr("")
    """Empty: no payments at readers."""
    sumup_webhook_secrets: SecretStr = SecretStr("")
    """Of signed account events, separated by commas, if they are subscribed to."""
    sumup_api_url: HttpUrl = "https://api.sumup.com"
    """Where SumUp is; a sandbox has an address of its own."""

    def needed(self) -> Sequence[str]:
        """Key, merchant and callback; for readers the affiliate in both its parts."""
        has_readers = self.sumup_affiliate_app_id or self.sumup_affiliate_key
        affiliate = ("sumup_affiliate_app_id", "sumup_affiliate_key") if has_readers else ()
        return ("sumup_api_key", "sumup_merchant_code", "sumup_webhook_url", *affiliate)

    def provider(self) -> PaymentProvider:
        """SumUp as it is set."""
        from payment_providers.sumup.provider import SumUpProvider

        settings = SumUpSettings(
            api_key=self.sumup_api_key.get_secret_value(),
            merchant_code=self.sumup_merchant_code,
            webhook_url=self.sumup_webhook_url,
            affiliate_app_id=self.sumup_affiliate_app_id,
            affiliate_key=self.sumup_affiliate_key.get_secret_value(),
            webhook_secrets=listed(self.sumup_webhook_secrets),
            api_url=self.sumup_api_url,
            limits=self.limits,
        )
        return SumUpProvider(
            settings, monotonic=time.monotonic, chance=SystemRandom(), now=lambda: datetime.now(UTC)
        )
