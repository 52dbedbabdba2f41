"""What a provider tells of one payment beside what we have of it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from command_service.payment.payments import Payment
from command_service.payment.refunds import Refund, RefundState
from payment_providers.port import ProviderPayment, ProviderRefund, ProviderState


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that the two sides tell differently.

    what: "captured", "refund" ... subject_id: of the payment or refund, ours or else the provider's.
    here_minor, there_minor: None where that side knows nothing of it. told: what each side says.
    """

    what: str
    subject_id: str
    order_id: str
    currency_code: str
    here_minor: int | None
    there_minor: int | None
    told: str


@dataclass(frozen=True, slots=True)
class Ours:
    """A payment as our tables have it.

    refunds: all of it, in the order of their making. recorded_minor: what people have recorded as given
    back of its order, by the name that they gave it, which may be the provider's.
    """

    payment: Payment
    refunds: tuple[Refund, ...]
    recorded_minor: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_money(self) -> bool:
        """True when the provider must know it."""
        payment = self.payment
        return any((payment.authorized_minor, payment.captured_minor, payment.refunded_minor))


def differences(ours: Ours | None, theirs: Sequence[ProviderPayment]) -> list[Difference]:
    """All that differs of one payment.

    theirs: what the provider has under its names: nothing, or one, or more if a lost one was made anew.
    """
    if ours is None:
        return [_only_there(each) for each in theirs if _is_of_interest(each)]
    if not theirs:
        return [_only_here(ours)] if ours.has_money else []
    if {each.currency_code for each in theirs} != {ours.payment.currency_code}:
        return [_of_other_currency(ours.payment, each) for each in theirs]
    return [*_of_payment(ours.payment, theirs), *_of_refunds(ours, theirs)]


def _is_of_interest(theirs: ProviderPayment) -> bool:
    """False for what is not ours and brought nothing, and for what nobody can pay any more."""
    has_money = theirs.captured_minor > 0 or theirs.authorized_minor > 0
    return has_money or (theirs.payment_id != "" and theirs.state is not ProviderState.VOIDED)


def _only_there(theirs: ProviderPayment) -> Difference:
    refunded_minor = sum(map(_counted_there, theirs.refunds))
    names = f"reference {theirs.provider_reference}" if theirs.provider_reference else "no reference"
    ours = f"our id {theirs.payment_id}" if theirs.payment_id else "no id of ours"
    return Difference(
        "payment only there",
        theirs.payment_id or theirs.provider_reference,
        "",
        theirs.currency_code,
        None,
        theirs.captured_minor - refunded_minor,
        f"there {theirs.state.name}, {ours}, {names}; captured less refunded",
    )


def _only_here(ours: Ours) -> Difference:
    payment = ours.payment
    reference = payment.provider_reference or "not known"
    return Difference(
        "payment only here",
        payment.payment_id,
        payment.order_id,
        payment.currency_code,
        payment.captured_minor - payment.refunded_minor,
        None,
        f"here {payment.state.name}, reference {reference}; captured less refunded",
    )


def _of_other_currency(ours: Payment, theirs: ProviderPayment) -> Difference:
    return Difference(
        "currency",
        ours.payment_id,
        ours.order_id,
        theirs.currency_code,
        None,
        theirs.captured_minor,
        f"here {ours.currency_code}, there {theirs.currency_code}",
    )


def _of_payment(ours: Payment, theirs: Sequence[ProviderPayment]) -> Iterator[Difference]:
    sides = {
        "captured": (ours.captured_minor, sum(each.captured_minor for each in theirs)),
        "authorized": (ours.authorized_minor, sum(each.authorized_minor for each in theirs)),
    }
    states = ", ".join(each.state.name for each in theirs)
    for what, (here_minor, there_minor) in sides.items():
        if here_minor != there_minor:
            yield Difference(
                what,
                ours.payment_id,
                ours.order_id,
                ours.currency_code,
                here_minor,
                there_minor,
                f"here {ours.state.name}, there {states}",
            )


# --- refunds ----------------------------------------------------------------------------------


def _of_refunds(ours: Ours, theirs: Sequence[ProviderPayment]) -> Iterator[Difference]:
    for refund, told in paired(ours.refunds, [each for one in theirs for each in one.refunds]):
        recorded_minor = _recorded(ours, told) if refund is None else None
        here_minor = (recorded_minor or 0) if refund is None else _counted_here(refund)
        there_minor = 0 if told is None else _counted_there(told)
        if here_minor != there_minor or _is_done_only_there(refund, told):
            yield Difference(
                "refund by hand" if refund is None and told and not told.refund_id else "refund",
                _name(refund, told),
                ours.payment.order_id,
                ours.payment.currency_code,
                recorded_minor if refund is None else here_minor,
                None if told is None else there_minor,
                f"here {_state(refund)}, there {_state(told)}, of payment {ours.payment.payment_id}",
            )


def paired(
    ours: Sequence[Refund], theirs: Sequence[ProviderRefund]
) -> list[tuple[Refund | None, ProviderRefund | None]]:
    """Each refund beside what the other side has of it.

    By the provider's name, else by ours: one that was given up here and then left all the same is
    counted under another id of ours. Else by amount: SumUp keeps no id of ours, and may not have told
    us its own.
    """
    here, there = list(ours), list(theirs)
    pairs: list[tuple[Refund | None, ProviderRefund | None]] = []
    for is_the_same in (_has_its_reference, _has_our_id, _is_alike):
        for refund in tuple(here):
            told = next((each for each in there if is_the_same(refund, each)), None)
            if told is not None:
                here.remove(refund)
                there.remove(told)
                pairs.append((refund, told))
    return [*pairs, *((refund, None) for refund in here), *((None, told) for told in there)]


def _recorded(ours: Ours, theirs: ProviderRefund | None) -> int | None:
    """What people have recorded of it under the provider's name; None if nothing."""
    return None if theirs is None else ours.recorded_minor.get(theirs.provider_reference)


def _has_its_reference(ours: Refund, theirs: ProviderRefund) -> bool:
    return theirs.provider_reference != "" and theirs.provider_reference == ours.provider_reference


def _has_our_id(ours: Refund, theirs: ProviderRefund) -> bool:
    return theirs.refund_id != "" and theirs.refund_id == ours.refund_id


def _is_alike(ours: Refund, theirs: ProviderRefund) -> bool:
    is_nameless = not theirs.refund_id and not (theirs.provider_reference and ours.provider_reference)
    return is_nameless and _counted_here(ours) == _counted_there(theirs)


def _counted_here(refund: Refund) -> int:
    return 0 if refund.state is RefundState.FAILED else refund.amount_minor


def _counted_there(refund: ProviderRefund) -> int:
    return 0 if refund.state is ProviderRefund.State.FAILED else refund.amount_minor


def _is_done_only_there(ours: Refund | None, theirs: ProviderRefund | None) -> bool:
    """True when we wait for word of what is done: it was told, and we have not heard it."""
    is_done_there = theirs is not None and theirs.state is ProviderRefund.State.SUCCEEDED
    return is_done_there and ours is not None and ours.state is RefundState.PENDING


def _name(ours: Refund | None, theirs: ProviderRefund | None) -> str:
    if ours is not None:
        return ours.refund_id
    assert theirs is not None, "one side has it"
    return theirs.refund_id or theirs.provider_reference


def _state(refund: Refund | ProviderRefund | None) -> str:
    return "nothing" if refund is None else refund.state.name
