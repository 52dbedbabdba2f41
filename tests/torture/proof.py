"""What a run must have come by: of what never happened nothing is proven."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.torture.calls import ClientFault
from tests.torture.checker import holds_judged
from tests.torture.evidence import Evidence
from tests.torture.faults import FAULTS
from tests.torture.history import History, Outcome, Pulse
from tests.torture.reads import LISTS, QUESTIONS
from tests.torture.violations import Violation

ACHIEVED = (
    *("CreateCart", "AddCartLine", "PlaceOrder", "CancelOrder", "StartPayment", "RecordPayment"),
    *("FulfillOrderLines", "ReturnOrderLines", "ReceiveStock", "ReserveStock", "ReleaseReservation"),
    "ExplainStock",
)
"""What has to have been done, each once at least: of a shop in which nothing can be done all is true."""

ACHIEVED_IN_TIME = (
    *("UpsertProducts", "UpsertSkus", "UpsertPrices", "UpsertCoupons"),
    *("ApplyCoupon", "RemoveCoupon", "MergeCarts", "CancelOrderLines"),
    *("CapturePayment", "VoidPayment", "RefundPayment"),
    *("ExtendReservation", "CommitReservation", "ShipReservation"),
    *("ReturnStock", "TransferStock", "AdjustStock"),
)
"""Besides, in a long run: on a slow machine nobody may come to it in a minute."""

ANSWERED_FRESHLY = ("GetCart", "GetOrder", "ListCustomerOrders", "GetStock", "BatchGetStock")
"""What has to have been answered, each once at least, to somebody who insisted on the newest; in a long
run every query."""

LONG_SECONDS = 600.0
"""In so long a run each kind of fault strikes, and clients do all that makes it hard: the rarest is to
be expected a dozen times."""


def unproven(
    history: History, provider_money: Mapping[str, tuple[int, int]], *, seconds: float
) -> list[Violation]:
    """What nobody has succeeded in during a run of so many seconds, so that nothing is known of it."""
    is_long = seconds >= LONG_SECONDS
    achieved = (*ACHIEVED, *ACHIEVED_IN_TIME) if is_long else ACHIEVED
    answered_freshly = (*QUESTIONS, *LISTS) if is_long else ANSWERED_FRESHLY
    done = {operation.method for operation in history.ended if operation.outcome is Outcome.OK}
    missing = [f"{method} was never answered" for method in achieved if method not in done]
    if not any(captured_minor for captured_minor, _ in provider_money.values()):
        missing.append("no money was captured")
    if not any(pulse.is_well for pulse in history.pulses):
        missing.append("not for a moment was every process for commands well")
    fresh = {each.method for each in history.ended if each.outcome is Outcome.OK and each.fresh_as}
    missing += [f"{name} never gave a fresh answer" for name in answered_freshly if name not in fresh]
    return [Violation("nothing proven", what) for what in missing]


@dataclass(frozen=True, slots=True)
class Sight:
    """How much there was to see for who judges by seconds of healthy service.

    healthy_seconds: of so many seconds. judged_count: of so many holds that ran out.
    """

    healthy_seconds: float = 0.0
    seconds: float = 0.0
    judged_count: int = 0
    run_out_count: int = 0

    def __str__(self) -> str:
        return (
            f"healthy: {self.healthy_seconds:.1f} s of {self.seconds:.1f} s;"
            f" holds judged: {self.judged_count} of {self.run_out_count} that ran out"
        )


def sight(evidence: Evidence, pulses: Sequence[Pulse]) -> Sight:
    """As of that evidence."""
    spans = [(pulse.end_seconds - pulse.begin_seconds, pulse.is_well) for pulse in pulses]
    healthy_seconds = sum(seconds for seconds, is_well in spans if is_well)
    return Sight(healthy_seconds, sum(seconds for seconds, _ in spans), *holds_judged(evidence, pulses))


def untried(
    faults: Mapping[str, int], *, inspection_count: int, judged_hold_count: int, seconds: float
) -> list[Violation]:
    """What did not happen in a run of so many seconds, so that nothing is known of it.

    faults: that hit somebody, and what clients did, by kind. judged_hold_count: of holds that would have
    been seen overdue.
    """
    missing = []
    if seconds >= LONG_SECONDS:
        wanted = {each.kind for each in FAULTS} | set(ClientFault)
        missing += [f"never: {kind}" for kind in sorted(wanted) if not faults.get(kind)]
        if not judged_hold_count:
            missing.append("no hold would have been seen overdue: too little time was healthy")
    if not inspection_count:
        missing.append("nobody inspected while faults struck")
    return [Violation("nothing proven", what) for what in missing]
