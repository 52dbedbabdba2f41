"""From a provider's call to commands: who calls, what it tells, and 2xx only once that is durable.

Each thing told is a command with a request id made of the event's name and of what it tells: a repeated
delivery finds it carried out, in whatever order deliveries come, and is answered likewise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum
from uuid import UUID, uuid5

import grpc
import structlog
from prometheus_client import Counter

from event_log.codec import to_message
from payment_providers.port import (
    MISREADINGS,
    Callback,
    CallbackRefused,
    NotAccepted,
    PaymentProvider,
    ProviderFailure,
    ProviderPayment,
    ProviderRefund,
)
from shopkeeper.payment.v1 import payment_command_service_pb2 as service
from shopkeeper.payment.v1.payment_command_service_pb2_grpc import PaymentCommandServiceStub

log = structlog.get_logger(__name__)

HEARD = Counter("shopkeeper_webhooks_total", "Calls of providers, by outcome.", ["provider", "outcome"])

NAMESPACE = UUID("7a1f2f0e-52b4-5d7c-8b2a-1d6c1f3e9a10")
"""Of the request ids made here, so that they meet nobody else's."""

COMMAND_SECONDS_MAX = 10.0
"""Unless told otherwise: providers wait 10 to 30 seconds for our answer, and then try again."""

BODY_SECONDS_MAX = 10.0
"""Likewise, for a body to arrive: providers send it at once, and wait no longer themselves."""

PAYMENT_ID_LENGTH_MAX = 80
"""As in payment_command_service.proto."""

FAILURE_CODE_LENGTH_MAX = 100
"""Likewise: a provider's word is cut off rather than its money not counted."""

NAME_LENGTH_MAX, NAME_COUNT_MAX = 200, 100
"""Likewise, of other names: they are left out rather than the money."""

_FOR_GOOD = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
}
"""Refusals that a repetition only repeats: of money in another currency, of a refund that failed though
people have recorded it, or of an event that was told differently before. A provider that never hears 200
turns the whole endpoint off after some days."""


class Heard(Enum):
    """How a call ended, with the HTTP status that the provider is told."""

    TAKEN = 200
    """It is durable, or concerns nothing of ours."""
    REFUSED = 400
    """It is not the provider's, too old or too new, or cannot be read: it need not come again."""
    NOT_NOW = 503
    """It shall come again."""


class Hearing:
    """Takes the calls of all providers.

    now: for the age of signatures. command_seconds_max: how long a command may take.
    """

    def __init__(
        self,
        providers: Mapping[str, PaymentProvider],
        commands: PaymentCommandServiceStub,
        now: Callable[[], datetime],
        *,
        command_seconds_max: float = COMMAND_SECONDS_MAX,
    ) -> None:
        self._providers = providers
        self._commands = commands
        self._now = now
        self._command_seconds_max = command_seconds_max

    def knows(self, provider: str) -> bool:
        """Whether calls of this provider are expected."""
        return provider in self._providers

    async def hear(self, provider_name: str, headers: Mapping[str, str], body: bytes) -> Heard:
        """Takes one call. headers: names in lower case. body: as it was sent, byte for byte."""
        provider = self._providers[provider_name]
        try:
            callback = await provider.verify(headers, body, self._now())
        except CallbackRefused as refused:
            return self._ended(Heard.REFUSED, provider_name, refused.reason)
        except ProviderFailure as failure:
            return self._ended(Heard.NOT_NOW, provider_name, "provider", code=failure.code)
        except MISREADINGS as error:
            return self._ended(Heard.REFUSED, provider_name, "malformed", error=ascii(error))
        facts = {"event_id": callback.event_id, "event_type": callback.event_type}
        try:
            is_ours = await self._report_all(provider, callback)
        except CallbackRefused as refused:
            return self._ended(Heard.REFUSED, provider_name, refused.reason, **facts)
        except NotAccepted as failure:
            # What it tells of is not to be seen with our key, today or tomorrow.
            return self._ended(Heard.TAKEN, provider_name, "not_ours", code=failure.code, **facts)
        except ProviderFailure as failure:
            return self._ended(Heard.NOT_NOW, provider_name, "provider", code=failure.code, **facts)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            if code in _FOR_GOOD:
                facts |= {"code": code.name, "refusal": error.details() or ""}
                return self._ended(Heard.TAKEN, provider_name, "for_people", **facts)
            return self._ended(Heard.NOT_NOW, provider_name, "command", code=code.name, **facts)
        return self._ended(Heard.TAKEN, provider_name, "taken" if is_ours else "not_ours", **facts)

    async def _report_all(self, provider: PaymentProvider, callback: Callback) -> bool:
        is_ours = False
        for request in await _requests(provider, callback):
            answer = await self._commands.ReportProviderEvent(
                request,
                timeout=self._command_seconds_max,
                metadata=(("x-actor", f"webhook of {provider.name}"),),
            )
            is_ours |= answer.is_ours
        return is_ours

    def _ended(self, heard: Heard, provider: str, outcome: str, **facts: str) -> Heard:
        HEARD.labels(provider, outcome).inc()
        if outcome == "for_people":
            log.error("an event of a provider is for people", provider=provider, **facts)
        elif heard is Heard.TAKEN:
            log.debug("heard", provider=provider, outcome=outcome, **facts)
        else:
            log.warning("not heard", provider=provider, outcome=outcome, **facts)
        return heard


async def _requests(
    provider: PaymentProvider, callback: Callback
) -> list[service.ReportProviderEventRequest]:
    """What the event tells of ours.

    Raises:
        CallbackRefused: it cannot be read.
        ProviderFailure: it takes the provider to read it, who does not answer.
    """
    try:
        requests = []
        for n, told in enumerate(await provider.interpret(callback)):
            if _may_be_ours(told.payment_id):
                request = _request(provider.name, told)
                # And of what it tells: one that says where to look is read anew when it comes again.
                told_hex = request.SerializeToString(deterministic=True).hex()
                name = f"{provider.name}:{callback.event_id}:{n}:{told_hex}"
                request.request_id = str(uuid5(NAMESPACE, name))
                requests.append(request)
    except MISREADINGS as error:
        log.exception("an event of a provider cannot be read", event_id=callback.event_id)
        raise CallbackRefused("malformed") from error
    return requests


def _may_be_ours(payment_id: str) -> bool:
    """False for what somebody else has written into the metadata of their own payments."""
    return 0 < len(payment_id) <= PAYMENT_ID_LENGTH_MAX


def _request(
    provider: str, told: ProviderPayment | ProviderRefund
) -> service.ReportProviderEventRequest:
    told = replace(told, failure_code=told.failure_code[:FAILURE_CODE_LENGTH_MAX])
    if isinstance(told, ProviderPayment):
        told = replace(told, other_names=_names_to_tell(told.other_names))
        payment = to_message(told, service.ProviderPayment)
        return service.ReportProviderEventRequest(provider=provider, payment=payment)
    refund = to_message(told, service.ProviderRefund)
    return service.ReportProviderEventRequest(provider=provider, refund=refund)


def _names_to_tell(names: Sequence[str]) -> tuple[str, ...]:
    """The newest of them: SumUp tells of each attempt at a checkout, and the last may be the money."""
    return tuple(name for name in names if 0 < len(name) <= NAME_LENGTH_MAX)[-NAME_COUNT_MAX:]
