"""Where customers of a torture pay: the sandbox of Stripe, and what its account holds."""

from typing import Self

import httpx

from command_service.payment.domain import order_id_of
from payment_providers.stripe.objects import PAYMENT_ID
from shopkeeper.payment.v1.payment_pb2 import PAYMENT_FLOW_HOSTED, Payment
from tests.sandboxes.faults import FaultSettings
from tests.sandboxes.stripe.server import StripeSandbox

ACT_SECONDS_MAX = 60.0


class StripeTill:
    """What customers do at the provider: straight, for their way there is not ours to spoil."""

    def __init__(self, sandbox: StripeSandbox, url: str) -> None:
        self._sandbox = sandbox
        self._http = httpx.AsyncClient(base_url=url, timeout=ACT_SECONDS_MAX)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._http.aclose()

    async def act(self, payment: Payment, act: str) -> None:
        """What the customer does; the provider may have closed the payment meanwhile."""
        kind = "checkout/sessions" if payment.flow == PAYMENT_FLOW_HOSTED else "payment_intents"
        await self._http.post(f"/_sandbox/{kind}/{payment.provider_reference}/{act}", json={})

    def newest_refund(self, order_id: str) -> tuple[str, int] | None:
        """Its name there, and how much, as people see it in the provider's tools."""
        found = [
            (refund.id, refund.amount_minor)
            for refund in self._sandbox.account.refunds.by_id.values()
            if order_id_of(refund.metadata.get(PAYMENT_ID, "")) == order_id
        ]
        return found[-1] if found else None

    def heal(self) -> None:
        """From now on the provider answers every call."""
        self._sandbox.faults.configure(FaultSettings())

    @property
    def outstanding_count(self) -> int:
        """Webhooks on their way."""
        return self._sandbox.deliveries.outstanding_count

    @property
    def fault_count(self) -> int:
        """Calls to the provider that went wrong by its own doing."""
        return self._sandbox.faults.counts.total()

    def money(self) -> dict[str, tuple[int, int]]:
        """What was captured and refunded, by the name that the provider gave us."""
        found: dict[str, tuple[int, int]] = {}
        for each in self._sandbox.account.totals()["payment_intents"]:
            # Of a page at the provider we know the name of the page.
            reference = each["session"] or each["id"]
            captured_minor, refunded_minor = found.get(reference, (0, 0))
            found[reference] = (
                captured_minor + each["captured_minor"],
                refunded_minor + each["refunded_minor"],
            )
        return found
