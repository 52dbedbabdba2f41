"""Which providers there are: one line each. Those whose credentials are set are at work.

To add one: its adapter in a package beside stripe/, with its environment, and its line here.
"""

from collections.abc import Mapping

from payment_providers.environment import ProviderEnvironment
from payment_providers.paypal.environment import PayPalEnvironment
from payment_providers.port import PaymentProvider
from payment_providers.stripe.environment import StripeEnvironment
from payment_providers.sumup.environment import SumUpEnvironment

_ENVIRONMENTS: tuple[type[ProviderEnvironment], ...] = (
    StripeEnvironment,
    SumUpEnvironment,
    PayPalEnvironment,
)


class ProviderSettings:
    """What the environment says of all providers.

    Raises:
        ValidationError: of the first that is half set or malformed.
    """

    def __init__(self) -> None:
        self.environments = [environment() for environment in _ENVIRONMENTS]


def providers_of(settings: ProviderSettings) -> Mapping[str, PaymentProvider]:
    """The providers whose credentials are set, by name. Made inside the event loop that uses them."""
    made = [each.provider() for each in settings.environments if each.is_at_work]
    return {provider.name: provider for provider in made}
