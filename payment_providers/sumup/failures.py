"""What SumUp's refusals and silences mean for the effect of a call; docs/payments.md has the table.

SumUp has five forms of error body, depending on who in its house answers; all are read.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from payment_providers.failures import retry_after_seconds
from payment_providers.port import (
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    ProviderFailure,
)

DUPLICATED_CHECKOUT = "DUPLICATED_CHECKOUT"
CHECKOUT_PROCESSED = "CHECKOUT_PROCESSED"

_READER_REST_SECONDS = {"READER_BUSY": 60.0, "READER_OFFLINE": 30.0}
"""Busy: SumUp gives a checkout 60 s to start. Offline: somebody has to go and look at it."""

_REQUEST_TIMEOUT, _TOO_MANY = 408, 429

_NOT_ALLOWED = (401, 403)
"""Our key is wrong or lacks a right. That is the shop's to mend: no order may fail for good by it."""


class NotFound(NotAccepted):
    """There is no such object, as far as SumUp knows now."""


def failure_of(response: httpx.Response) -> ProviderFailure:
    """Our word for an answer that is not 2xx."""
    status, code = response.status_code, _code(response)
    if status == _TOO_MANY:
        return NotDone(code, retry_after_seconds=retry_after_seconds(response.headers))
    if status in _NOT_ALLOWED:
        return NotDone(code)
    if code in _READER_REST_SECONDS:
        return NotDone(code, retry_after_seconds=_READER_REST_SECONDS[code])
    if status == _REQUEST_TIMEOUT or not response.is_client_error:
        return OutcomeUnknown(code)
    return (NotFound if status == httpx.codes.NOT_FOUND else NotAccepted)(code)


@contextmanager
def understanding() -> Iterator[None]:
    """An answer that is not as documented tells nothing.

    Raises:
        OutcomeUnknown: what was read in the block is missing, or of another type.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise OutcomeUnknown("malformed_answer") from error


def _code(response: httpx.Response) -> str:
    """The most exact word in the body."""
    unnamed = f"http_{response.status_code}"
    try:
        body = json.loads(response.content)
    except ValueError:
        return unnamed
    first = body[0] if isinstance(body, list) and body else body
    return (_word_in(first) or unnamed) if isinstance(first, Mapping) else unnamed


def _word_in(body: Mapping[str, Any]) -> str:
    errors = body.get("errors")
    nested = errors.get("type") if isinstance(errors, Mapping) else None
    problem_type = str(body.get("type") or "").rpartition("/")[2]
    return str(body.get("error_code") or nested or problem_type)
