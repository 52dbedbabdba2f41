"""What only a test may do, under `/_sandbox`: be the customer, be PayPal, look at everything."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.sandboxes.paypal.account import Account
from tests.sandboxes.paypal.customers import Customers
from tests.sandboxes.paypal.errors import ApiError
from tests.sandboxes.paypal.objects import Json
from tests.sandboxes.paypal.request_ids import RequestIds
from tests.sandboxes.paypal.settings import Webhook
from tests.sandboxes.paypal.tokens import Tokens
from tests.sandboxes.paypal.webhook_delivery import Webhooks


def acting_routes(account: Account) -> list[Route]:
    """POST /orders/{id}/{act}, and likewise /captures, /refunds, /authorizations: see `Customers`."""
    customers = Customers(account)

    def route(path: str, perform: Callable[[str, str], Json]) -> Route:
        async def act(request: Request) -> Response:
            try:
                return JSONResponse(perform(request.path_params["id"], request.path_params["act"]))
            except ApiError as error:
                return JSONResponse(error.as_json("sandbox"), status_code=error.status)

        return Route(f"{path}/{{id}}/{{act}}", act, methods=["POST"])

    return [
        route("/orders", customers.act_on_order),
        route("/captures", customers.act_on_capture),
        route("/refunds", customers.act_on_refund),
        route("/authorizations", customers.act_on_authorization),
    ]


def event_routes(account: Account, webhooks: Webhooks) -> list[Route]:
    """POST /events (event_type and resource: tells of anything), /events/{id}/resend."""

    async def tell(request: Request) -> Response:
        wanted = await request.json()
        return JSONResponse(account.events.tell_json(wanted["event_type"], wanted["resource"]).as_json())

    async def resend(request: Request) -> Response:
        event = account.events.by_id[request.path_params["id"]]
        webhooks.resend(event)
        return JSONResponse(event.as_json())

    return [
        Route("/events", tell, methods=["POST"]),
        Route("/events/{id}/resend", resend, methods=["POST"]),
    ]


def setting_routes(webhooks: Webhooks, request_ids: RequestIds, tokens: Tokens) -> list[Route]:
    """POST /webhooks (url, webhook_id), /request_ids/forget (request_id), /tokens/revoke."""

    async def add_webhook(request: Request) -> Response:
        wanted = await request.json()
        webhooks.all.append(Webhook(wanted["url"], wanted["webhook_id"]))
        return JSONResponse({"webhooks": [each.url for each in webhooks.all]})

    async def forget(request: Request) -> Response:
        request_ids.forget((await request.json())["request_id"])
        return JSONResponse({})

    async def revoke(_request: Request) -> Response:
        tokens.revoke_all()
        return JSONResponse({})

    return [
        Route("/webhooks", add_webhook, methods=["POST"]),
        Route("/request_ids/forget", forget, methods=["POST"]),
        Route("/tokens/revoke", revoke, methods=["POST"]),
    ]
