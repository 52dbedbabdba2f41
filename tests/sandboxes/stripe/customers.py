"""The people outside: a customer at a checkout or an intent, and the bank with its last word."""

from collections.abc import Callable

from tests.sandboxes.stripe.account import Account
from tests.sandboxes.stripe.errors import ApiError, invalid
from tests.sandboxes.stripe.intent import Attempt
from tests.sandboxes.stripe.objects import Json
from tests.sandboxes.stripe.payment_methods import APPROVED, DECLINED
from tests.sandboxes.stripe.refunds import FAILURE_REASON

DECLINED_STATUS = 402


class Customers:
    """Acts by name. A decline is what was wanted here, so it is no error."""

    def __init__(self, account: Account) -> None:
        self._intents = account.intents
        self._sessions = account.sessions
        self._refunds = account.refunds

    def act_on_intent(self, id_: str, act: str, *, payment_method: str | None = None) -> Json:
        """`pay`, `decline`, `authenticate`, `fail_authentication`, `settle` or `fail`."""
        intent = self._intents.get(id_)
        if intent.session is not None:
            self.act_on_session(intent.session, act, payment_method=payment_method)
            return intent.as_json()

        def pay(name: str) -> None:
            self._intents.attempt(intent, Attempt(payment_method or name, is_by_customer=True))

        acts: dict[str, Callable[[], object]] = {
            "pay": lambda: pay(APPROVED),
            "decline": lambda: pay(DECLINED),
            "authenticate": lambda: self._intents.authenticate(intent, succeeds=True),
            "fail_authentication": lambda: self._intents.authenticate(intent, succeeds=False),
            "settle": lambda: self._intents.settle(intent, succeeds=True),
            "fail": lambda: self._intents.settle(intent, succeeds=False),
        }
        _perform(acts, act)
        return intent.as_json()

    def act_on_session(self, id_: str, act: str, *, payment_method: str | None = None) -> Json:
        """As on an intent, and `leave` (walks away) and `expire` (time is up).

        Answers with the session, and with where the browser is sent: None while the page stays.
        """
        session = self._sessions.get(id_)
        acts: dict[str, Callable[[], object]] = {
            "pay": lambda: self._sessions.pay(id_, payment_method=payment_method or APPROVED),
            "decline": lambda: self._sessions.pay(id_, payment_method=payment_method or DECLINED),
            "authenticate": lambda: self._sessions.authenticate(id_, succeeds=True),
            "fail_authentication": lambda: self._sessions.authenticate(id_, succeeds=False),
            "settle": lambda: self._sessions.settle(id_, succeeds=True),
            "fail": lambda: self._sessions.settle(id_, succeeds=False),
            "leave": lambda: None,
            "expire": lambda: self._sessions.expire(id_),
        }
        _perform(acts, act)
        return_url = session.redirect_url if session.status == "complete" else None
        goes_to = session.request.cancel_url if act == "leave" else return_url
        return {"session": session.as_json(), "redirect_url": goes_to}

    def act_on_refund(self, id_: str, act: str, *, failure_reason: str = FAILURE_REASON) -> Json:
        """`succeed` or `fail`."""
        refund = self._refunds.get(id_)
        acts: dict[str, Callable[[], object]] = {
            "succeed": lambda: self._refunds.settle(refund, failure_reason=None),
            "fail": lambda: self._refunds.settle(refund, failure_reason=failure_reason),
        }
        _perform(acts, act)
        return refund.as_json()


def _perform(acts: dict[str, Callable[[], object]], act: str) -> None:
    if act not in acts:
        raise invalid(f"There is no act {act}, only {', '.join(acts)}.", param="act")
    try:
        acts[act]()
    except ApiError as error:
        if error.status != DECLINED_STATUS:
            raise
