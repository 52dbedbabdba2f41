"""The control endpoints that every sandbox has under `/_sandbox`.

They speak JSON and never fail on purpose.
"""

from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.sandboxes.calls import CallLog
from tests.sandboxes.deliveries import Deliveries
from tests.sandboxes.faults import Faults, armed_from_json, settings_from_json


class Account(Protocol):
    """What a sandbox keeps of the shop, and can tell as JSON."""

    def dump(self) -> dict[str, Any]: ...

    def totals(self) -> dict[str, Any]: ...


def looking_routes(account: Account) -> list[Route]:
    """GET /state (everything), GET /totals (captured and refunded, by currency and by payment)."""

    async def state(_request: Request) -> Response:
        return JSONResponse(account.dump())

    async def totals(_request: Request) -> Response:
        return JSONResponse(account.totals())

    return [Route("/state", state), Route("/totals", totals)]


def fault_routes(faults: Faults) -> list[Route]:
    """GET and POST /faults (settings and counts), POST /faults/armed (what the next calls meet)."""

    async def show(_request: Request) -> Response:
        return JSONResponse(faults.as_json())

    async def configure(request: Request) -> Response:
        faults.configure(settings_from_json(await request.json()))
        return JSONResponse(faults.as_json())

    async def arm(request: Request) -> Response:
        faults.arm(armed_from_json(await request.json()))
        return JSONResponse(faults.as_json())

    return [
        Route("/faults", show, methods=["GET"]),
        Route("/faults", configure, methods=["POST"]),
        Route("/faults/armed", arm, methods=["POST"]),
    ]


def delivery_routes(deliveries: Deliveries) -> list[Route]:
    """GET /deliveries (counts), POST /deliveries/hold and /deliveries/release."""

    async def show(_request: Request) -> Response:
        return JSONResponse(deliveries.as_json())

    async def hold(_request: Request) -> Response:
        deliveries.hold()
        return JSONResponse(deliveries.as_json())

    async def release(_request: Request) -> Response:
        deliveries.release()
        return JSONResponse(deliveries.as_json())

    return [
        Route("/deliveries", show, methods=["GET"]),
        Route("/deliveries/hold", hold, methods=["POST"]),
        Route("/deliveries/release", release, methods=["POST"]),
    ]


def call_routes(calls: CallLog) -> list[Route]:
    """GET /calls (counts), GET /calls/records (each call, or those with ?idempotency_key=)."""

    async def count(_request: Request) -> Response:
        return JSONResponse(calls.counts_as_json())

    async def records(request: Request) -> Response:
        key = request.query_params.get("idempotency_key")
        return JSONResponse(calls.records_as_json(idempotency_key=key))

    return [
        Route("/calls", count, methods=["GET"]),
        Route("/calls/records", records, methods=["GET"]),
    ]
