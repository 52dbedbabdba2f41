"""Money that goes back through its provider. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum

from command_service.payment.errands import LEASE, Errand, Task
from command_service.payment.reports import (
    Lost,
    NoTrace,
    Postponed,
    Refused,
    Report,
    Told,
)
from command_service.refunded_lines import RefundedLine
from payment_providers.port import ProviderRefund


class RefundState(IntEnum):
    """How far a refund has come; numbers as in payment.proto."""

    REQUESTED = 1
    PENDING = 2
    SUCCEEDED = 3
    FAILED = 4
    UNKNOWN = 5


_REFUND_STATE_TOLD = {
    ProviderRefund.State.PENDING: RefundState.PENDING,
    ProviderRefund.State.SUCCEEDED: RefundState.SUCCEEDED,
    ProviderRefund.State.FAILED: RefundState.FAILED,
}

_REFUND_RANK = {
    RefundState.PENDING: 1,
    RefundState.SUCCEEDED: 2,
    # The last word: a bank may send back what was reported as done.
    RefundState.FAILED: 3,
}


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back, or back; fields as in payment.proto.

    gifted_minor: what of it was not due. It and lines tell the order what to take back if it fails.
    """

    refund_id: str
    payment_id: str
    order_id: str
    amount_minor: int
    lines: tuple[RefundedLine, ...]
    gifted_minor: int
    create_time: datetime
    update_time: datetime
    state: RefundState = RefundState.REQUESTED
    provider_reference: str = ""
    failure_code: str = ""
    errand: Errand | None = None

    @property
    def resolve_deadline(self) -> datetime | None:
        """When an unknown outcome becomes a matter for people."""
        return self.errand.resolve_deadline if self.errand else None

    def claimed(self, now: datetime, *, lease: timedelta = LEASE) -> "Refund":
        """With its errand in the hands of who asked; nobody needs to be told."""
        assert self.errand is not None
        return replace(self, errand=self.errand.claimed(now, lease=lease))

    def asked_after(self, now: datetime) -> "Refund":
        """The same; if it is pending and nobody asks how it ends, it is asked for from now on."""
        is_left = self.state is RefundState.PENDING and self.errand is None
        return replace(self, errand=Errand.asking(now)) if is_left else self

    def heard(self, report: Report, now: datetime, *, attempt: str = "") -> "Refund":
        """The refund after its errand, or the provider by itself, has reported.

        attempt: the name of the call that reports; see Payment.heard.
        """
        is_late = self.errand is None or self.errand.attempt(self.refund_id) != attempt
        if attempt and is_late and not isinstance(report, Told):
            return self
        match report:
            case Told(ProviderRefund() as told):
                return self._observed(told, now, is_answer=not is_late)
            case _ if self.errand is None:
                return self  # somebody else has settled it meanwhile
            case Refused(code, _):
                return replace(
                    self, update_time=now, state=RefundState.FAILED, failure_code=code, errand=None
                )
            case Postponed(retry_after_seconds=retry_after_seconds):
                return replace(self, errand=self.errand.postponed(now, retry_after_seconds))
            case Lost(code, is_key_spent):
                errand = self.errand.lost(now, is_key_spent=is_key_spent)
                return replace(
                    self, update_time=now, state=RefundState.UNKNOWN, failure_code=code, errand=errand
                )
            case NoTrace():
                return replace(self, errand=self.errand.renewed(now))
        raise TypeError(f"{report} is not about a refund")

    def _observed(self, told: ProviderRefund, now: datetime, *, is_answer: bool) -> "Refund":
        state, failure_code = _REFUND_STATE_TOLD[told.state], told.failure_code
        if self.errand is None and _REFUND_RANK[state] < _REFUND_RANK[self.state]:
            state, failure_code = self.state, self.failure_code
        after = replace(
            self,
            state=state,
            provider_reference=self.provider_reference or told.provider_reference,
            failure_code=failure_code,
            errand=self._question(now, is_answer=is_answer) if state is RefundState.PENDING else None,
        )
        is_same = replace(after, errand=self.errand) == self
        return after if is_same else replace(after, update_time=now)

    def _question(self, now: datetime, *, is_answer: bool) -> Errand:
        """What is pending is asked for again: some providers never tell by themselves how it ends.

        is_answer: True when that it is pending still answers the question in hand.
        """
        if self.errand is None or self.errand.task is not Task.ASK:
            return Errand.asking(now)
        return self.errand.postponed(now, None) if is_answer else self.errand
