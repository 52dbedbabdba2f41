"""What Stripe's refusals mean, beyond those that the sandbox makes."""

from typing import Any

import pytest
import stripe

from payment_providers.failures import RETRY_SECONDS_MAX
from payment_providers.port import NotAccepted, NotDone, OutcomeUnknown
from payment_providers.stripe.failures import failure_of
from tests.payment_providers.test_stripe import provider_at, wanted
from tests.sandboxes.stripe_connection import connected


def error(kind: Any, status: int, **headers: str) -> stripe.StripeError:
    made: stripe.StripeError = kind("no", http_status=status, headers=headers)
    return made


@pytest.mark.parametrize(
    ("kind", "status", "failure"),
    [
        (stripe.AuthenticationError, 401, NotDone),
        (stripe.PermissionError, 403, NotDone),
        (stripe.APIError, 403, NotDone),
        (stripe.APIError, 404, NotAccepted),
        (stripe.APIError, 200, OutcomeUnknown),
        (stripe.APIError, 302, OutcomeUnknown),
        (stripe.APIError, 502, OutcomeUnknown),
    ],
)
def test_each_answer_has_one_meaning(kind: Any, status: int, failure: type[Exception]) -> None:
    assert type(failure_of(error(kind, status))) is failure


async def test_a_wrong_key_costs_no_payment_its_life() -> None:
    async with connected() as sandbox:
        provider = provider_at(sandbox.url, api_key="sk_test_other")
        with pytest.raises(NotDone) as caught:
            await provider.begin(wanted(), key="k")
        assert type(caught.value) is NotDone
        await provider.close()


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("nan", 0.0),
        ("inf", RETRY_SECONDS_MAX),
        ("3600", RETRY_SECONDS_MAX),
        ("", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_a_wait_that_is_asked_for_is_believed_within_bounds(told: str, seconds: float | None) -> None:
    limited = error(stripe.RateLimitError, 429, **{"retry-after": told})
    assert failure_of(limited).retry_after_seconds == seconds
