"""PaymentCommandService: intent committed, provider called, outcome committed, caller answered.

A request that is sent again finds its intent answered already: then the rest is taken up where it was
left, and what is a secret is asked for again.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from google.protobuf.message import Message

from command_service.checkout.capture_payment import CapturePayment, VoidPayment
from command_service.checkout.payment_driver import Driven, PaymentDriver
from command_service.checkout.refund_payment import AskedBack, RefundPayment
from command_service.checkout.report_payment import ReportProviderEvent
from command_service.checkout.start_payment import StartPayment
from command_service.errors import InvalidField, PaymentProviderUnavailable
from command_service.money import Money
from command_service.ordering.lines import Units
from command_service.payment.gateway import NOTHING_TO_HAND_OVER
from command_service.payment.payments import CaptureMode, Payment, PaymentState, Wish
from command_service.payment.refunds import Refund
from command_service.payment.reports import Told
from command_service.servicing import Door
from command_service.world import AnswerT, Command
from event_log.codec import to_message
from payment_providers.port import (
    Flow,
    PaymentProvider,
    ProviderPayment,
    ProviderRefund,
    ProviderState,
)
from serving.interceptor import ServicerContext
from shopkeeper.payment.v1 import payment_command_service_pb2 as service
from shopkeeper.payment.v1 import payment_command_service_pb2_grpc, payment_pb2
from shopkeeper.types.v1 import money_pb2

_CARD_NUMBER = re.compile(r"(\d[ -]?){11,18}\d")
"""12 to 19 digits, as ISO/IEC 7812 has them; no provider's token looks like that."""

_BEGUN = frozenset({PaymentState.AWAITING_CUSTOMER, PaymentState.PROCESSING})
"""States in which the customer may need something to go on with."""

_PaymentResponseT = TypeVar(
    "_PaymentResponseT",
    service.StartPaymentResponse,
    service.CapturePaymentResponse,
    service.VoidPaymentResponse,
)


class PaymentServicer(payment_command_service_pb2_grpc.PaymentCommandServiceServicer):
    """Has orders paid and money given back at providers."""

    def __init__(self, door: Door, driver: PaymentDriver) -> None:
        self._door = door
        self._driver = driver

    async def StartPayment(
        self, request: service.StartPaymentRequest, context: ServicerContext
    ) -> service.StartPaymentResponse:
        """Starts a payment and has its provider begin it."""
        command = _start_command(request, self._driver.providers, self._driver.lease)
        driven = await self._driven(request, context, command, service.StartPaymentResponse)
        payment, handover = driven.payment, driven.handover
        if not request.validate_only:
            if payment.errand is not None:
                raise PaymentProviderUnavailable
            if payment.state in _BEGUN and handover is NOTHING_TO_HAND_OVER:
                handover = await self._driver.hand_over(payment)
        response = service.StartPaymentResponse(
            payment=_message(payment),
            client_secret=handover.client_secret,
            redirect_url=handover.redirect_url,
        )
        return self._door.reply(response, driven.token, context)

    async def CapturePayment(
        self, request: service.CapturePaymentRequest, context: ServicerContext
    ) -> service.CapturePaymentResponse:
        """Has authorized money captured."""
        amount = _amount(request.amount) if request.HasField("amount") else None
        command = CapturePayment(request.payment_id, amount=amount, lease=self._driver.lease)
        driven = await self._driven(request, context, command, service.CapturePaymentResponse)
        response = service.CapturePaymentResponse(payment=_message(driven.payment))
        return self._door.reply(response, driven.token, context)

    async def VoidPayment(
        self, request: service.VoidPaymentRequest, context: ServicerContext
    ) -> service.VoidPaymentResponse:
        """Has a payment called off."""
        command = VoidPayment(request.payment_id, self._driver.lease)
        driven = await self._driven(request, context, command, service.VoidPaymentResponse)
        response = service.VoidPaymentResponse(payment=_message(driven.payment))
        return self._door.reply(response, driven.token, context)

    async def RefundPayment(
        self, request: service.RefundPaymentRequest, context: ServicerContext
    ) -> service.RefundPaymentResponse:
        """Has money given back."""
        if request.HasField("amount") and request.lines:
            raise InvalidField(field="amount", description="give either an amount or lines")
        command = RefundPayment(
            order_id=request.order_id,
            payment_id=request.payment_id,
            amount=_amount(request.amount) if request.HasField("amount") else None,
            units=tuple(Units(line.line_id, line.quantity) for line in request.lines),
            lease=self._driver.lease,
        )
        decided = _Decided[AskedBack](lambda asked: _refunds_response(asked.refunds))
        answer = await self._door.settle(request, context, command, decided.respond)
        stored = service.RefundPaymentResponse.FromString(answer.body)
        if request.validate_only:
            return self._door.reply(stored, answer.token, context)
        asked = decided.answered(stored)
        if asked is not None:
            refunds, token = await self._driver.drive_refunds(asked, claimed_seconds=decided.seconds)
        else:
            refund_ids = {refund.refund_id for refund in stored.refunds}
            refunds, token = await self._driver.take_up_refunds(request.order_id, refund_ids)
        return self._door.reply(_refunds_response(refunds), token, context)

    async def ReportProviderEvent(
        self, request: service.ReportProviderEventRequest, context: ServicerContext
    ) -> service.ReportProviderEventResponse:
        """Takes note of what a provider told."""
        command = ReportProviderEvent(request.provider, _told(request))
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda is_ours: service.ReportProviderEventResponse(is_ours=is_ours),
        )

    async def _driven(
        self,
        request: Any,
        context: ServicerContext,
        command: Command[Payment],
        response_type: type[_PaymentResponseT],
    ) -> Driven:
        """The payment after its call, made by the request that decided it; any later one takes it up."""
        decided = _Decided[Payment](lambda payment: response_type(payment=_message(payment)))
        answer = await self._door.settle(request, context, command, decided.respond)
        stored = response_type.FromString(answer.body)
        payment = decided.answered(stored)
        if payment is None:
            return await self._driver.take_up(stored.payment.payment_id)
        if request.validate_only or payment.errand is None:
            return Driven(payment, NOTHING_TO_HAND_OVER, answer.token)
        return await self._driver.drive(payment, claimed_seconds=decided.seconds)


class _Decided(Generic[AnswerT]):
    """What a request decided in this process, last. seconds: when, by the loop's clock."""

    def __init__(self, response_of: Callable[[AnswerT], Message]) -> None:
        self._response_of = response_of
        self._last: tuple[AnswerT, Message] | None = None
        self.seconds = 0.0

    def respond(self, answer: AnswerT) -> Message:
        """The response, of whose answer note is taken."""
        response = self._response_of(answer)
        self._last = answer, response
        self.seconds = asyncio.get_running_loop().time()
        return response

    def answered(self, stored: Message) -> AnswerT | None:
        """The answer, if it is the one that was stored.

        What was decided here may have been rolled back, and decided anew by another process: its calls
        are not ours to make.
        """
        return self._last[0] if self._last is not None and self._last[1] == stored else None


def _start_command(
    request: service.StartPaymentRequest, providers: Mapping[str, PaymentProvider], lease: timedelta
) -> StartPayment:
    provider = providers.get(request.provider)
    if provider is None:
        known = ", ".join(sorted(providers)) or "none is configured"
        raise InvalidField(field="provider", description=f"is none of ours: {known}")
    flow = Flow(request.flow or Flow.EMBEDDED)
    capture_mode = CaptureMode(request.capture_mode or CaptureMode.AT_ONCE)
    _check_supported(provider, flow, capture_mode)
    if flow is Flow.HOSTED or request.customer_return_url:
        _check_url("customer_return_url", request.customer_return_url)
    if request.customer_cancel_url:
        _check_url("customer_cancel_url", request.customer_cancel_url)
    if flow is Flow.READER and not request.reader_id:
        raise InvalidField(field="reader_id", description="is required for READER")
    if _CARD_NUMBER.fullmatch(request.payment_method):
        raise InvalidField(
            field="payment_method", description="must be a token of the provider's, never a card number"
        )
    return StartPayment(
        order_id=request.order_id,
        provider=request.provider,
        flow=flow,
        capture_mode=capture_mode,
        amount=_amount(request.amount) if request.HasField("amount") else None,
        wish=Wish(
            customer_return_url=request.customer_return_url,
            customer_cancel_url=request.customer_cancel_url,
            reader_id=request.reader_id,
            payment_method=request.payment_method,
        ),
        lease=lease,
    )


def _check_supported(provider: PaymentProvider, flow: Flow, capture_mode: CaptureMode) -> None:
    """Refuses what the provider does not offer."""
    if flow not in provider.flows:
        names = ", ".join(sorted(each.name for each in provider.flows))
        raise InvalidField(field="flow", description=f"{provider.name} has only {names}")
    if capture_mode is not CaptureMode.AT_ONCE and not provider.authorizes:
        raise InvalidField(field="capture_mode", description=f"{provider.name} captures at once")


def _check_url(field: str, url: str) -> None:
    """Refuses what no provider would send a customer to."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidField(field=field, description="must be an http or https URL")


def _amount(amount: money_pb2.Money) -> Money:
    if amount.amount_minor <= 0:
        raise InvalidField(field="amount.amount_minor", description="must be above 0")
    return Money(amount.currency_code, amount.amount_minor)


def _message(payment: Payment) -> payment_pb2.Payment:
    return to_message(payment, payment_pb2.Payment)


def _refunds_response(refunds: Sequence[Refund]) -> service.RefundPaymentResponse:
    return service.RefundPaymentResponse(
        refunds=[to_message(refund, payment_pb2.Refund) for refund in refunds]
    )


def _told(request: service.ReportProviderEventRequest) -> Told:
    if request.HasField("payment"):
        payment = request.payment
        return Told(
            ProviderPayment(
                payment_id=payment.payment_id,
                provider_reference=payment.provider_reference,
                state=ProviderState(payment.state),
                currency_code=payment.currency_code,
                authorized_minor=payment.authorized_minor,
                captured_minor=payment.captured_minor,
                failure_code=payment.failure_code,
                other_names=tuple(payment.other_names),
            )
        )
    if not request.HasField("refund"):
        raise InvalidField(field="told", description="give either a payment or a refund")
    refund = request.refund
    return Told(
        ProviderRefund(
            refund_id=refund.refund_id,
            payment_id=refund.payment_id,
            provider_reference=refund.provider_reference,
            payment_reference=refund.payment_reference,
            state=ProviderRefund.State(refund.state),
            currency_code=refund.currency_code,
            amount_minor=refund.amount_minor,
            failure_code=refund.failure_code,
        )
    )
