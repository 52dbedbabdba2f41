"""The paths of the API: what each reads, and what it does to the account."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.sandboxes.stripe.account import Account
from tests.sandboxes.stripe.charges import ListCharges
from tests.sandboxes.stripe.checkout_sessions import CreateSession, ListSessions
from tests.sandboxes.stripe.events import ListEvents
from tests.sandboxes.stripe.expansion import check_expansions, expanded
from tests.sandboxes.stripe.forms import Params
from tests.sandboxes.stripe.intent_requests import (
    CancelIntent,
    CaptureIntent,
    ConfirmIntent,
    CreateIntent,
    ListIntents,
    UpdateIntent,
)
from tests.sandboxes.stripe.objects import Json, read_list_query
from tests.sandboxes.stripe.refunds import CreateRefund, ListRefunds, UpdateRefund

Act = Callable[[], Json]
RequestT = TypeVar("RequestT")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `prepare` reads and checks; the act that it returns has the effect."""

    method: str
    template: str
    prepare: Callable[[Params, list[str]], Act]
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pattern = re.compile(self.template.replace("{id}", "([^/]+)"))
        object.__setattr__(self, "pattern", pattern)


class Endpoints:
    """All of them, for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._all: list[Endpoint] = []
        self._add_intents()
        self._add_sessions()
        self._add_refunds()
        self._add_events()

    def find(self, method: str, path: str) -> tuple[Endpoint, list[str]] | None:
        """The endpoint of a path, and the ids in it."""
        for endpoint in self._all:
            found = endpoint.pattern.fullmatch(path)
            if found is not None and endpoint.method == method:
                return endpoint, list(found.groups())
        return None

    def _add_intents(self) -> None:
        intents = self._account.intents
        path = "/v1/payment_intents"
        self._add("GET", path, "payment_intent", ListIntents.read, intents.page)
        self._add(
            "POST", path, "payment_intent", CreateIntent.read, lambda r: intents.create(r).as_json()
        )
        self._add(
            "GET", f"{path}/{{id}}", "payment_intent", _nothing, lambda i, _: intents.get(i).as_json()
        )
        for ending, read, act in (
            ("", UpdateIntent.read, intents.update),
            ("/confirm", ConfirmIntent.read, intents.confirm),
            ("/capture", CaptureIntent.read, intents.capture),
            ("/cancel", CancelIntent.read, intents.cancel),
        ):
            self._add("POST", f"{path}/{{id}}{ending}", "payment_intent", read, _shown(act))

    def _add_sessions(self) -> None:
        sessions = self._account.sessions
        path = "/v1/checkout/sessions"
        type_ = "checkout.session"
        self._add("GET", path, type_, ListSessions.read, sessions.page)
        self._add("POST", path, type_, CreateSession.read, lambda r: sessions.create(r).as_json())
        self._add("GET", f"{path}/{{id}}", type_, _nothing, lambda i, _: sessions.get(i).as_json())
        self._add(
            "POST", f"{path}/{{id}}/expire", type_, _nothing, lambda i, _: sessions.expire(i).as_json()
        )
        self._add(
            "GET",
            f"{path}/{{id}}/line_items",
            "item",
            lambda params: read_list_query(params, with_created=False),
            lambda i, _: sessions.get(i).line_items_as_json(),
        )

    def _add_refunds(self) -> None:
        refunds, charges = self._account.refunds, self._account.charges
        path = "/v1/refunds"
        self._add("GET", path, "refund", ListRefunds.read, refunds.page)
        self._add("POST", path, "refund", CreateRefund.read, lambda r: refunds.create(r).as_json())
        self._add("GET", f"{path}/{{id}}", "refund", _nothing, lambda i, _: refunds.get(i).as_json())
        self._add("POST", f"{path}/{{id}}", "refund", UpdateRefund.read, _shown(refunds.update))
        self._add(
            "POST", f"{path}/{{id}}/cancel", "refund", _nothing, lambda i, _: refunds.cancel(i).as_json()
        )
        self._add("GET", "/v1/charges", "charge", ListCharges.read, charges.page)
        self._add("GET", "/v1/charges/{id}", "charge", _nothing, lambda i, _: charges.get(i).as_json())

    def _add_events(self) -> None:
        events = self._account.events
        self._add("GET", "/v1/events", "event", ListEvents.read, events.page)
        self._add("GET", "/v1/events/{id}", "event", _nothing, lambda i, _: events.get(i).as_json())

    def _add(
        self,
        method: str,
        template: str,
        answer_type: str,
        read: Callable[[Params], RequestT],
        perform: Callable[..., Json],
    ) -> None:
        """An endpoint: `perform` takes the ids of its path and what `read` made of its parameters."""
        is_list = method == "GET" and not template.endswith("{id}")

        def prepare(params: Params, ids: list[str]) -> Act:
            expansions = params.strings("expand")
            request = read(params)
            params.refuse_unknown()
            check_expansions(expansions, answer_type, is_list=is_list)
            return lambda: expanded(perform(*ids, request), expansions, self._account.find)

        self._all.append(Endpoint(method, template, prepare))


def _nothing(_params: Params) -> None:
    """For endpoints without parameters of their own."""


def _shown(act: Callable[[str, Any], Any]) -> Callable[[str, Any], Json]:
    def perform(id_: str, request: Any) -> Json:
        shown: Json = act(id_, request).as_json()
        return shown

    return perform
