"""The paths of the API: what each does to the account, and how it answers."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sandboxes.sumup.account import Account

Perform = Callable[[list[str], dict[str, str], bytes], Any]
"""Takes the ids in the path, the query and the body."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path, and the status of its good answer."""

    method: str
    template: str
    status: int
    perform: Perform
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pattern = re.compile(self.template.replace("{id}", "([^/]+)"))
        object.__setattr__(self, "pattern", pattern)


class Endpoints:
    """All of them, for one account."""

    def __init__(self, account: Account, *, refund_status: int) -> None:
        checkouts, readers, transactions = account.checkouts, account.readers, account.transactions
        reader = f"/v0.1/merchants/{account.merchant_code}/readers/{{id}}"
        listing = f"/v2.1/merchants/{account.merchant_code}/transactions"
        paying = f"/v1.0/merchants/{account.merchant_code}/payments/{{id}}"
        online = "/v0.1/checkouts"

        def refund(ids: list[str], body: bytes) -> Any:
            event = transactions.refund(ids[0], body)
            return {"id": event.id} if refund_status == 201 else None

        self._all = [
            Endpoint("POST", online, 201, lambda _, __, body: checkouts.create(body)),
            Endpoint("GET", online, 200, lambda _, query, __: checkouts.listed(query)),
            Endpoint(
                "GET", f"{online}/{{id}}", 200, lambda ids, *_: checkouts.shown(checkouts.get(ids[0]))
            ),
            Endpoint("DELETE", f"{online}/{{id}}", 200, lambda ids, *_: checkouts.deactivate(ids[0])),
            Endpoint("GET", f"{reader}/status", 200, lambda ids, *_: readers.status(ids[0])),
            Endpoint(
                "POST", f"{reader}/checkout", 201, lambda ids, _, body: readers.check_out(ids[0], body)
            ),
            Endpoint("POST", f"{reader}/terminate", 202, lambda ids, *_: readers.terminate(ids[0])),
            Endpoint("GET", listing, 200, lambda _, query, __: transactions.lookup(query)),
            Endpoint("GET", f"{listing}/history", 200, lambda _, query, __: transactions.history(query)),
            Endpoint("POST", f"{paying}/refunds", refund_status, lambda ids, _, body: refund(ids, body)),
        ]

    def find(self, method: str, path: str) -> tuple[Endpoint, list[str]] | None:
        """The endpoint of a path, and the ids in it."""
        for endpoint in self._all:
            found = endpoint.pattern.fullmatch(path)
            if found is not None and endpoint.method == method:
                return endpoint, list(found.groups())
        return None
