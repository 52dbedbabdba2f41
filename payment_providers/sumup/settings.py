"""How to reach SumUp."""

from dataclasses import dataclass, field

from payment_providers.calls import CallLimits


@dataclass(frozen=True, slots=True)
class SumUpSettings:
    """One merchant's account.

    webhook_url: where SumUp tells of changes; it is sent along with each payment, and must be https for
    readers. affiliate_app_id, affiliate_key: SumUp's names for our application, without which a reader's
    payment cannot bear our id. webhook_secrets: of signed account events, if they are subscribed to; two
    while one is being rolled.
    """

    api_key: str = field(repr=False)
    merchant_code: str
    webhook_url: str
    affiliate_app_id: str = ""
    affiliate_key: str = field(default="", repr=False)
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    api_url: str = "https://api.sumup.com"
    limits: CallLimits = field(default_factory=CallLimits)
