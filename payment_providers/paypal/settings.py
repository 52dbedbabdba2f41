"""How to reach PayPal, and whose word counts as PayPal's."""

from dataclasses import dataclass, field

from payment_providers.calls import CallLimits

CERTIFICATE_URLS = (
    "https://api.paypal.com/v1/notifications/certs/",
    "https://api-m.paypal.com/v1/notifications/certs/",
)
"""Where PayPal keeps the certificates that its webhooks name."""
CERTIFICATE_NAME = "messageverificationcerts.paypal.com"


@dataclass(frozen=True, slots=True)
class PayPalSettings:
    """How to reach PayPal; the defaults are the live system, whose sandbox has its own of each.

    webhook_ids: of our webhooks as configured at PayPal; two while one replaces the other.
    certificate_urls: what the address of a certificate must begin with. certificate_name: whom it must
    be made out to. certificate_authorities_pem: who may have issued it; the public ones unless given.
    """

    client_id: str
    client_secret: str = field(repr=False)
    webhook_ids: tuple[str, ...]
    api_url: str = "https://api-m.paypal.com"
    certificate_urls: tuple[str, ...] = CERTIFICATE_URLS
    certificate_name: str = CERTIFICATE_NAME
    certificate_authorities_pem: bytes = b""
    limits: CallLimits = field(default_factory=CallLimits)
