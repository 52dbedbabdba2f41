"""What only a test may do, under `/_sandbox`: be the customer, stand at the till, look at everything."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.sandboxes.sumup.account import Account
from tests.sandboxes.sumup.callbacks import Callbacks
from tests.sandboxes.sumup.errors import ApiError, invalid
from tests.sandboxes.sumup.readers import Reader
from tests.sandboxes.sumup.transactions import Json


def acting_routes(account: Account) -> list[Route]:
    """POST /checkouts/{id}/{act}, /readers/{id}/{act}, /transactions/{id}/{act}: as named below."""

    def route(path: str, acts_on: Callable[[str], dict[str, Callable[..., Json]]]) -> Route:
        async def act(request: Request) -> Response:
            arguments = await request.json() if await request.body() else {}
            try:
                acts = acts_on(request.path_params["id"])
                if request.path_params["act"] not in acts:
                    raise invalid(f"act, one of {', '.join(acts)}")
                return JSONResponse(acts[request.path_params["act"]](**arguments))
            except ApiError as error:
                return JSONResponse(error.body, status_code=error.status)

        return Route(f"{path}/{{id}}/{{act}}", act, methods=["POST"])

    return [
        route("/checkouts", lambda id_: _on_checkout(account, id_)),
        route("/readers", lambda id_: _on_reader(account, id_)),
        route("/transactions", lambda id_: _on_transaction(account, id_)),
    ]


def callback_routes(callbacks: Callbacks) -> list[Route]:
    """POST /callbacks (url, body): one that SumUp never sent."""

    async def forge(request: Request) -> Response:
        wanted = await request.json()
        callbacks.send(wanted.get("url"), wanted["body"], label="forged")
        return JSONResponse({})

    return [Route("/callbacks", forge, methods=["POST"])]


def _on_checkout(account: Account, id_: str) -> dict[str, Callable[..., Json]]:
    """`begin` leaves the attempt under way; `settle` and `fail` end it."""
    checkouts = account.checkouts
    return {
        "pay": lambda: checkouts.shown(checkouts.attempt(id_, "SUCCESSFUL")),
        "decline": lambda: checkouts.shown(checkouts.attempt(id_, "FAILED")),
        "begin": lambda: checkouts.shown(checkouts.attempt(id_, "PENDING")),
        "settle": lambda: checkouts.shown(checkouts.settle(id_, "SUCCESSFUL")),
        "fail": lambda: checkouts.shown(checkouts.settle(id_, "FAILED")),
        "expire": lambda: checkouts.shown(checkouts.expire(id_)),
    }


def _on_reader(account: Account, id_: str) -> dict[str, Callable[..., Json]]:
    """`forget`: the sixty seconds are over and nothing was started."""
    readers = account.readers
    reader = readers.get(id_)

    def done(checkout: Any) -> Json:
        return {"client_transaction_id": checkout.client_id}

    return {
        "start": lambda: done(readers.start(id_)),
        "pay": lambda: done(readers.finish(id_, "SUCCESSFUL")),
        "decline": lambda: done(readers.finish(id_, "FAILED")),
        "cancel": lambda: done(readers.finish(id_, "CANCELLED")),
        "forget": lambda: _forget(reader),
        "go_offline": lambda: _set_online(reader, is_online=False),
        "go_online": lambda: _set_online(reader, is_online=True),
    }


def _on_transaction(account: Account, id_: str) -> dict[str, Callable[..., Json]]:
    """`refund` is by hand, in SumUp's own tools; `hide` lets the lookup lag.

    `slow_refunds` has those to come pend; `settle_refund` and `fail_refund` end the newest.
    """
    transactions = account.transactions
    transaction = transactions.get(id_)

    def change(**fields: Any) -> Json:
        for name, value in fields.items():
            setattr(transaction, name, value)
        return transaction.as_json(account.merchant_code)

    def refund(amount_units: int) -> Json:
        transactions.give_back(transaction, amount_units)
        return change()

    def end_refund(status: str) -> Json:
        transaction.refunds[-1].status = status
        return change()

    return {
        "refund": refund,
        "slow_refunds": lambda: change(are_refunds_slow=True),
        "settle_refund": lambda: end_refund("REFUNDED"),
        "fail_refund": lambda: end_refund("FAILED"),
        "hide": lambda: change(is_hidden=True),
        "show": lambda: change(is_hidden=False),
        "cancel": lambda: change(status="CANCELLED"),
    }


def _forget(reader: Reader) -> Json:
    reader.current = None
    return {}


def _set_online(reader: Reader, *, is_online: bool) -> Json:
    reader.is_online = is_online
    return {}
