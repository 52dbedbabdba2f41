"""What only a test may do, under `/_sandbox`: be the customer, be the bank, look at everything."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.sandboxes.stripe.account import Account
from tests.sandboxes.stripe.customers import Customers
from tests.sandboxes.stripe.errors import ApiError
from tests.sandboxes.stripe.idempotency import IdempotencyKeys
from tests.sandboxes.stripe.objects import Json
from tests.sandboxes.stripe.settings import WebhookEndpoint
from tests.sandboxes.stripe.webhook_delivery import Webhooks


def acting_routes(account: Account) -> list[Route]:
    """POST /payment_intents/{id}/{act}, /checkout/sessions/{id}/{act}, /refunds/{id}/{act}.

    The acts are those of `Customers`; the body may be empty or hold their arguments.
    """
    customers = Customers(account)

    def route(path: str, perform: Callable[..., Json]) -> Route:
        async def act(request: Request) -> Response:
            arguments = await request.json() if await request.body() else {}
            try:
                answer = perform(request.path_params["id"], request.path_params["act"], **arguments)
            except ApiError as error:
                return JSONResponse({"error": error.error}, status_code=error.status)
            return JSONResponse(answer)

        return Route(f"{path}/{{id}}/{{act}}", act, methods=["POST"])

    return [
        route("/payment_intents", customers.act_on_intent),
        route("/checkout/sessions", customers.act_on_session),
        route("/refunds", customers.act_on_refund),
    ]


def event_routes(account: Account, webhooks: Webhooks) -> list[Route]:
    """POST /events (type and object: tells of anything, known here or not), /events/{id}/resend."""

    async def tell(request: Request) -> Response:
        wanted = await request.json()
        return JSONResponse(account.events.tell(wanted["type"], wanted["object"]).as_json())

    async def resend(request: Request) -> Response:
        event = account.events.by_id[request.path_params["id"]]
        webhooks.resend(event)
        return JSONResponse(event.as_json())

    return [
        Route("/events", tell, methods=["POST"]),
        Route("/events/{id}/resend", resend, methods=["POST"]),
    ]


def setting_routes(webhooks: Webhooks, keys: IdempotencyKeys) -> list[Route]:
    """POST /webhook_endpoints (url, secrets, enabled_events), /idempotency_keys/forget (key)."""

    async def add_endpoint(request: Request) -> Response:
        wanted = await request.json()
        lists = {name: tuple(value) for name, value in wanted.items() if name != "url"}
        webhooks.endpoints.append(WebhookEndpoint(wanted["url"], **lists))
        return JSONResponse({"webhook_endpoints": [each.url for each in webhooks.endpoints]})

    async def forget_key(request: Request) -> Response:
        keys.forget((await request.json())["key"])
        return JSONResponse({})

    return [
        Route("/webhook_endpoints", add_endpoint, methods=["POST"]),
        Route("/idempotency_keys/forget", forget_key, methods=["POST"]),
    ]
