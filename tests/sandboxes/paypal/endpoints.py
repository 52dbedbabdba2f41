"""The paths of the API: what each reads, and what it does to the account."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sandboxes.paypal.account import Account
from tests.sandboxes.paypal.events import Shown
from tests.sandboxes.paypal.fields import Fields
from tests.sandboxes.paypal.orders import CreateOrder
from tests.sandboxes.paypal.payments import CaptureAuthorization, RefundCapture

Act = Callable[[], Shown]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `prepare` reads and checks; the act that it returns has the effect."""

    method: str
    template: str
    prepare: Callable[[Fields, list[str]], Act]
    status: int
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pattern = re.compile(self.template.replace("{id}", "([^/]+)"))
        object.__setattr__(self, "pattern", pattern)


class Endpoints:
    """All that speak of orders and payments, for one account."""

    def __init__(self, account: Account) -> None:
        self._all: list[Endpoint] = []
        self._add_orders(account)
        self._add_payments(account)

    def find(self, method: str, path: str) -> tuple[Endpoint, list[str]] | None:
        """The endpoint of a path, and the ids in it."""
        for endpoint in self._all:
            found = endpoint.pattern.fullmatch(path)
            if found is not None and endpoint.method == method:
                return endpoint, list(found.groups())
        return None

    def _add_orders(self, account: Account) -> None:
        orders = account.orders
        path = "/v2/checkout/orders"
        self._add("POST", path, CreateOrder.read, orders.create)
        self._add("GET", f"{path}/{{id}}", _nothing, lambda id_, _: orders.get(id_))
        self._add("POST", f"{path}/{{id}}/capture", _nothing, lambda id_, _: orders.capture(id_))
        self._add("POST", f"{path}/{{id}}/authorize", _nothing, lambda id_, _: orders.authorize(id_))

    def _add_payments(self, account: Account) -> None:
        payments = account.payments
        path = "/v2/payments"
        authorization = f"{path}/authorizations/{{id}}"
        self._add("GET", authorization, _nothing, lambda id_, _: payments.authorization(id_))
        self._add(
            "POST",
            f"{authorization}/capture",
            CaptureAuthorization.read,
            payments.capture_authorization,
        )
        self._add("POST", f"{authorization}/void", _nothing, lambda id_, _: payments.void(id_), 200)
        self._add(
            "POST",
            f"{authorization}/reauthorize",
            lambda fields: fields.money("amount"),
            payments.reauthorize,
        )
        capture = f"{path}/captures/{{id}}"
        self._add("GET", capture, _nothing, lambda id_, _: payments.capture(id_))
        self._add("POST", f"{capture}/refund", RefundCapture.read, payments.refund_capture)
        self._add("GET", f"{path}/refunds/{{id}}", _nothing, lambda id_, _: payments.refund(id_))

    def _add(
        self,
        method: str,
        template: str,
        read: Callable[[Fields], Any],
        perform: Callable[..., Shown],
        status: int | None = None,
    ) -> None:
        """An endpoint: `perform` takes the ids of its path and what `read` made of its fields."""

        def prepare(fields: Fields, ids: list[str]) -> Act:
            request = read(fields)
            fields.refuse_unknown()
            return lambda: perform(*ids, request)

        is_reading = method == "GET"
        self._all.append(Endpoint(method, template, prepare, status or (200 if is_reading else 201)))


def _nothing(_fields: Fields) -> None:
    """For endpoints without fields of their own."""
