"""Where customers pay besides Stripe: the sandboxes of SumUp and PayPal, behind one set of words."""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import httpx

from ops.services import SERVICES, free_addresses
from ops.supervisor import Deployment
from payment_providers.amounts import to_decimal
from shopkeeper.ordering.v1.ordering_pb2 import Order
from shopkeeper.payment.v1.payment_pb2 import PAYMENT_FLOW_READER, Payment
from tests.eventually import eventually
from tests.ops.command_line import Ended, run
from tests.sandboxes.deliveries import Deliveries, DeliverySettings
from tests.sandboxes.faults import Faults, FaultSettings
from tests.sandboxes.paypal.certificates import NAME as CERTIFICATE_NAME
from tests.sandboxes.paypal.connection import Connection as PayPalConnection
from tests.sandboxes.paypal.connection import connected as paypal_connected
from tests.sandboxes.paypal.objects import Capture
from tests.sandboxes.paypal.server import CERTIFICATES_PATH
from tests.sandboxes.paypal.settings import PayPalSettings, Webhook
from tests.sandboxes.sumup.connection import SumUpConnection
from tests.sandboxes.sumup.connection import connected as sumup_connected
from tests.sandboxes.sumup.settings import FAULT_KINDS, SumUpSettings
from tests.system.books import PATIENCE_SECONDS, Books

CURRENCY = "GBP"
PAYPAL_WEBHOOK_ID = "WEBHOOKOFTHESHOP"
SUMUP_CALLBACK = "https://shop.example/webhooks/sumup"
"""As SumUp sees us: its readers insist on https. The sandbox calls where the service really is."""


class Till(ABC):
    """One provider's sandbox: what customers do there, what somebody does by hand, and its sums."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def deliveries(self) -> Deliveries:
        """Its webhooks on their way."""

    @property
    @abstractmethod
    def faults(self) -> Faults:
        """What goes wrong with calls to it."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """What services are told of it."""

    @abstractmethod
    async def pay(self, payment: Payment) -> bool:
        """The customer pays; False if the provider does not let them."""

    @abstractmethod
    async def decline(self, payment: Payment) -> None:
        """The customer tries to pay with something that the provider refuses."""

    async def turn_up(self, payment: Payment) -> None:  # noqa: B027 most providers see nobody come
        """The customer is where they are to pay; only a reader takes notice."""

    @abstractmethod
    async def begin_to_pay(self, payment: Payment) -> None:
        """The customer does their part; the money is not there before `settle`."""

    async def until_begun(self, payment: Payment) -> None:  # noqa: B027 most begin at once
        """Returns when the provider has begun as well."""

    @abstractmethod
    async def settle(self, payment: Payment) -> None:
        """The money comes, of what was begun."""

    @abstractmethod
    async def refund_by_hand(self, payment: Payment, amount_minor: int) -> str:
        """Somebody gives money back in the provider's own tools; the provider's name for it."""

    @abstractmethod
    async def pay_by_hand(self, amount_minor: int) -> str:
        """Somebody has a customer pay in the provider's own tools; its name in the provider's list."""

    @abstractmethod
    async def have_refunds_pend(self, payment: Payment) -> None:
        """From now on money takes its time to go back."""

    @abstractmethod
    async def end_refund(self, payment: Payment, *, succeeds: bool) -> None:
        """The money that was on its way back arrives, or does not."""

    @abstractmethod
    def money_by_payment(self) -> dict[str, tuple[int, int]]:
        """What was captured and refunded in all, of each payment of ours by our name for it."""

    def money_of(self, order: Order) -> tuple[int, int]:
        """What was captured and refunded, of all payments of an order."""
        found = self.money_by_payment().items()
        ours = [money for name, money in found if name.startswith(f"{order.order_id}.")]
        return sum(captured for captured, _ in ours), sum(refunded for _, refunded in ours)

    async def all_delivered(self) -> None:
        """Returns when no webhook is on its way."""

        async def is_quiet() -> bool:
            return not self.deliveries.outstanding_count

        await eventually(is_quiet, seconds=PATIENCE_SECONDS)


class SumUpTill(Till):
    """SumUp's page, and card readers in the shop."""

    name = "sumup"

    def __init__(self, sumup: SumUpConnection) -> None:
        self._sumup = sumup
        self._account = sumup.sandbox.account

    @property
    def deliveries(self) -> Deliveries:
        return self._sumup.sandbox.deliveries

    @property
    def faults(self) -> Faults:
        return self._sumup.sandbox.faults

    def environment(self) -> dict[str, str]:
        settings = self._sumup.sandbox.settings
        return {
            "SUMUP_API_KEY": settings.api_key,
            "SUMUP_MERCHANT_CODE": settings.merchant_code,
            "SUMUP_WEBHOOK_URL": SUMUP_CALLBACK,
            "SUMUP_AFFILIATE_APP_ID": "com.example.shop",
            "SUMUP_AFFILIATE_KEY": settings.affiliate_key,
            "SUMUP_API_URL": self._sumup.url,
        }

    async def pay(self, payment: Payment) -> bool:
        return (await self._act(payment, "pay")).is_success

    async def decline(self, payment: Payment) -> None:
        await self._act(payment, "decline")

    async def turn_up(self, payment: Payment) -> None:
        if payment.flow == PAYMENT_FLOW_READER:
            (await self._act(payment, "start")).raise_for_status()

    async def begin_to_pay(self, payment: Payment) -> None:
        # A reader that has begun can be told to give up, one that is about to begin cannot.
        if payment.flow != PAYMENT_FLOW_READER:
            (await self._act(payment, "begin")).raise_for_status()

    async def settle(self, payment: Payment) -> None:
        act = "pay" if payment.flow == PAYMENT_FLOW_READER else "settle"
        (await self._act(payment, act)).raise_for_status()

    async def refund_by_hand(self, payment: Payment, amount_minor: int) -> str:
        id_ = self._transaction_id_of(payment)
        told = await self._sumup.act(f"transactions/{id_}/refund", amount_units=amount_minor)
        return f"{id_}:{told['events'][-1]['id']}"

    async def have_refunds_pend(self, payment: Payment) -> None:
        await self._sumup.act(f"transactions/{self._transaction_id_of(payment)}/slow_refunds")

    async def end_refund(self, payment: Payment, *, succeeds: bool) -> None:
        act = "settle_refund" if succeeds else "fail_refund"
        await self._sumup.act(f"transactions/{self._transaction_id_of(payment)}/{act}")

    async def pay_by_hand(self, amount_minor: int) -> str:
        wanted = {
            "checkout_reference": "somebody else's",
            "amount": float(to_decimal(amount_minor, CURRENCY)),
            "currency": CURRENCY,
            "merchant_code": self._account.merchant_code,
        }
        made = (await self._sumup.http.post("/v0.1/checkouts", json=wanted)).raise_for_status()
        told = await self._sumup.act(f"checkouts/{made.json()['id']}/pay")
        return self._account.transactions.get(told["transaction_id"]).client_id

    def money_by_payment(self) -> dict[str, tuple[int, int]]:
        return _added_up(self._account.totals()["transactions"], "reference")

    def code_of(self, payment: Payment) -> str:
        """The name of an attempt to pay that SumUp's own tools show."""
        return self._account.transactions.get(self._transaction_id_of(payment)).code

    def _transaction_id_of(self, payment: Payment) -> str:
        names = (payment.payment_id, payment.provider_reference)
        transactions = self._account.totals()["transactions"]
        [transaction_id] = [each["id"] for each in transactions if each["reference"] in names]
        return str(transaction_id)

    async def _act(self, payment: Payment, act: str) -> httpx.Response:
        reader_id = self._reader_of(payment)
        path = f"readers/{reader_id}" if reader_id else f"checkouts/{payment.provider_reference}"
        return await self._sumup.http.post(f"/_sandbox/{path}/{act}", json={})

    def _reader_of(self, payment: Payment) -> str:
        """The reader that was told to ask for this payment, or ""."""
        for reader in self._account.readers.by_id.values():
            if reader.current is not None and reader.current.client_id == payment.provider_reference:
                return reader.id
        return ""


class PayPalTill(Till):
    """PayPal's page."""

    name = "paypal"

    def __init__(self, paypal: PayPalConnection) -> None:
        self._paypal = paypal
        self._account = paypal.sandbox.account

    @property
    def deliveries(self) -> Deliveries:
        return self._paypal.sandbox.deliveries

    @property
    def faults(self) -> Faults:
        return self._paypal.sandbox.faults

    def environment(self) -> dict[str, str]:
        sandbox = self._paypal.sandbox
        return {
            "PAYPAL_CLIENT_ID": sandbox.settings.client_id,
            "PAYPAL_CLIENT_SECRET": sandbox.settings.client_secret,
            "PAYPAL_WEBHOOK_IDS": PAYPAL_WEBHOOK_ID,
            "PAYPAL_API_URL": self._paypal.url,
            "PAYPAL_CERTIFICATE_URLS": f"{self._paypal.url}{CERTIFICATES_PATH}",
            "PAYPAL_CERTIFICATE_NAME": CERTIFICATE_NAME,
            "PAYPAL_CERTIFICATE_AUTHORITIES": sandbox.authority.pem.decode(),
        }

    async def pay(self, payment: Payment) -> bool:
        return (await self._act(payment, "approve")).is_success

    async def decline(self, payment: Payment) -> None:
        await self._act(payment, "decline")

    async def begin_to_pay(self, payment: Payment) -> None:
        (await self._act(payment, "approve_slowly")).raise_for_status()

    async def until_begun(self, payment: Payment) -> None:
        async def is_begun() -> bool:
            return bool(self._captures_of(payment))

        await eventually(is_begun, seconds=PATIENCE_SECONDS)

    async def settle(self, payment: Payment) -> None:
        await self.until_begun(payment)
        [capture] = self._captures_of(payment)
        await self._paypal.act(f"captures/{capture.id}/settle")

    async def refund_by_hand(self, payment: Payment, amount_minor: int) -> str:
        [capture] = self._captures_of(payment)
        answer = await self._paypal.send(
            "POST", f"/v2/payments/captures/{capture.id}/refund", {"amount": _amount(amount_minor)}
        )
        return str(answer.raise_for_status().json()["id"])

    async def pay_by_hand(self, amount_minor: int) -> str:
        path, unit = "/v2/checkout/orders", {"amount": _amount(amount_minor)}
        wanted = {"intent": "CAPTURE", "purchase_units": [unit]}
        made = (await self._paypal.send("POST", path, wanted)).raise_for_status().json()
        await self._paypal.act(f"orders/{made['id']}/approve")
        (await self._paypal.send("POST", f"{path}/{made['id']}/capture", {})).raise_for_status()
        return ""

    async def have_refunds_pend(self, payment: Payment) -> None:
        [capture] = self._captures_of(payment)
        await self._paypal.act(f"captures/{capture.id}/slow_refunds")

    async def end_refund(self, payment: Payment, *, succeeds: bool) -> None:
        [refund] = self._account.orders.get(payment.provider_reference).refunds
        await self._paypal.act(f"refunds/{refund.id}/{'settle' if succeeds else 'fail'}")

    def money_by_payment(self) -> dict[str, tuple[int, int]]:
        return _added_up(self._account.totals()["orders"], "custom_id")

    def _captures_of(self, payment: Payment) -> list[Capture]:
        return self._account.orders.get(payment.provider_reference).captures

    async def _act(self, payment: Payment, act: str) -> httpx.Response:
        path = f"/_sandbox/orders/{payment.provider_reference}/{act}"
        return await self._paypal.http.post(path, json={})


def _amount(amount_minor: int) -> dict[str, str]:
    return {"currency_code": CURRENCY, "value": str(to_decimal(amount_minor, CURRENCY))}


def _added_up(totals: list[dict[str, Any]], name: str) -> dict[str, tuple[int, int]]:
    """By our name; what has none of ours is not ours."""
    found: dict[str, tuple[int, int]] = {}
    for each in totals:
        if each[name] is not None:
            captured_minor, refunded_minor = found.get(each[name], (0, 0))
            found[each[name]] = (
                captured_minor + each["captured_minor"],
                refunded_minor + each["refunded_minor"],
            )
    return found


@dataclass(frozen=True, slots=True)
class Tills:
    """Both."""

    sumup: SumUpTill
    paypal: PayPalTill

    def __getitem__(self, provider: str) -> Till:
        return self.sumup if provider == "sumup" else self.paypal

    def environment(self) -> dict[str, str]:
        """What services are told of them."""
        return self.sumup.environment() | self.paypal.environment()


@asynccontextmanager
async def shop_with_tills(
    database_url: str,
    deliveries: DeliverySettings,
    faults: FaultSettings | None = None,
    *,
    reader_ids: tuple[str, ...] = (),
    attempt_seconds_max: float = 10.0,
) -> AsyncIterator[tuple[Deployment, Tills]]:
    """Processes of the command and the webhook service, and both providers, each set to the other.

    attempt_seconds_max: of our calls to them.
    """
    services = [each for each in SERVICES if each.module in {"command_service", "webhooks"}]
    addresses = free_addresses()
    webhooks_url = f"http://{addresses['WEBHOOKS_ADDRESS']}/webhooks"
    faults = faults or FaultSettings()
    sumup = SumUpSettings(
        reader_ids=reader_ids,
        callback_url=f"{webhooks_url}/sumup",
        faults=replace(faults, kinds=FAULT_KINDS),
        deliveries=deliveries,
    )
    webhook = Webhook(f"{webhooks_url}/paypal", PAYPAL_WEBHOOK_ID)
    paypal = PayPalSettings(faults=faults, deliveries=deliveries, webhooks=(webhook,))
    async with sumup_connected(sumup) as at_sumup, paypal_connected(paypal) as at_paypal:
        tills = Tills(SumUpTill(at_sumup), PayPalTill(at_paypal))
        servers = {"DATABASE_URL": database_url, **addresses}
        limits = {"PROVIDER_ATTEMPT_SECONDS_MAX": str(attempt_seconds_max)}
        environment = {**os.environ, **servers, **tills.environment(), **limits}
        async with Deployment(environment, workers=2, services=services) as deployment:
            yield deployment, tills


async def reconciled(till: Till, books: Books, cwd: Path) -> Ended:
    """`shopkeeper reconcile`, after an hour's rest; in a thread, for this one serves the till."""
    books.rest()
    known = {**till.environment(), "DATABASE_URL": books.database_url}
    since = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    arguments = ("reconcile", "--provider", till.name, "--since", since)
    return await asyncio.to_thread(lambda: run(*arguments, cwd=cwd, **known))
