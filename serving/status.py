"""Failures as google.rpc.Status, the form that clients of every language understand."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    RetryInfo,
)
from google.rpc.status_pb2 import Status

from serving.failures import Code, Failure, Invalid, Refusal

ERROR_DOMAIN = "shopkeeper"

VIOLATIONS_BYTES_MAX = 3_000
"""Some fifty of one precondition. They travel in the same 8 KiB of trailers as the message and the
facts (see FACT_BYTES_MAX), in base64."""


def encode_failure(failure: Failure) -> bytes:
    """The failure as a serialized google.rpc.Status, the same bytes for the same facts."""
    return bytes(to_status(failure).SerializeToString(deterministic=True))


def to_status(failure: Failure) -> Status:
    """The failure with ErrorInfo, and BadRequest, PreconditionFailure or RetryInfo where they help."""
    status = Status(code=failure.code, message=failure.message)
    for detail in _details(failure):
        status.details.add().Pack(detail)
    return status


def _details(failure: Failure) -> list[Message]:
    details: list[Message] = [
        ErrorInfo(reason=failure.reason, domain=ERROR_DOMAIN, metadata=failure.facts)
    ]
    if isinstance(failure, Invalid):
        details.append(_bad_request(failure))
    if isinstance(failure, Refusal) and failure.code is Code.FAILED_PRECONDITION:
        details.append(_precondition(failure))
    if failure.retry_after_seconds is not None:
        delay = Duration()
        delay.FromMicroseconds(int(failure.retry_after_seconds * 1_000_000))
        details.append(RetryInfo(retry_delay=delay))
    return details


def _bad_request(failure: Invalid) -> BadRequest:
    return BadRequest(
        field_violations=[
            BadRequest.FieldViolation(field=field, description=description)
            for field, description in failure.description_by_field.items()
        ]
    )


def _precondition(failure: Refusal) -> PreconditionFailure:
    told = PreconditionFailure()
    for subject, description in failure.violations:
        told.violations.add(type=failure.reason, subject=subject, description=description)
        if told.ByteSize() > VIOLATIONS_BYTES_MAX:
            del told.violations[-1]
            break
    return told
