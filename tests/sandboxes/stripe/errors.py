"""Stripe's errors: statuses, bodies, and which of them an idempotency key remembers."""

from typing import Any

DOCUMENTATION = "https://docs.stripe.com/error-codes"


class ApiError(Exception):
    """An answer that is not 200.

    `is_executed` says whether the endpoint had begun executing: only then the answer is stored under
    the idempotency key. What fails validation, is not let in or conflicts is not.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type_: str = "invalid_request_error",
        is_executed: bool = False,
        headers: dict[str, str] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.is_executed = is_executed
        self.headers = headers or {}
        self.error = {"message": message, "type": type_, **_without_none(facts)}
        if "code" in self.error:
            self.error["doc_url"] = f"{DOCUMENTATION}/{self.error['code'].replace('_', '-')}"


def _without_none(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact is not None}


# --- validation: nothing was executed, nothing is stored -----------------------------------------


def invalid(message: str, *, param: str, code: str | None = None) -> ApiError:
    """A parameter that cannot be accepted."""
    return ApiError(400, message, param=param, code=code)


def required(param: str) -> ApiError:
    """A parameter that must be given and is not."""
    return invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")


def unknown(params: list[str]) -> ApiError:
    """Parameters that the endpoint does not have."""
    return invalid(
        f"Received unknown parameter{'s' if len(params) > 1 else ''}: {', '.join(params)}",
        param=params[0],
        code="parameter_unknown",
    )


def missing(kind: str, id_: str, *, param: str) -> ApiError:
    """An id among the parameters that names nothing."""
    return invalid(f"No such {kind}: '{id_}'", param=param, code="resource_missing")


def wrong_content_type() -> ApiError:
    """A body that is not a form."""
    return ApiError(
        400,
        "Invalid request (check that your POST content type is application/x-www-form-urlencoded).",
    )


def unrecognized(method: str, path: str) -> ApiError:
    """A method and path that the API does not have."""
    return ApiError(404, f"Unrecognized request URL ({method}: {path}).")


# --- before the idempotency layer ----------------------------------------------------------------


def unauthorized(message: str) -> ApiError:
    """No key, or a wrong one."""
    return ApiError(401, message, headers={"WWW-Authenticate": 'Basic realm="Stripe"'})


def rate_limited(*, is_lock: bool, retry_after_seconds: int) -> ApiError:
    """Too many calls, or too many for one object."""
    message = (
        "This object cannot be accessed right now because another API request or Stripe process is"
        " currently accessing it."
        if is_lock
        else "Request rate limit exceeded."
    )
    headers = {"Retry-After": str(retry_after_seconds)}
    return ApiError(429, message, code="lock_timeout" if is_lock else "rate_limit", headers=headers)


# --- the idempotency layer -----------------------------------------------------------------------


def key_in_use(key: str) -> ApiError:
    """Another call with this key is being executed."""
    return ApiError(
        409,
        "There is currently another in-progress request using this Idempotent Key"
        f" (that probably means you submitted twice): {key}",
        code="idempotency_key_in_use",
    )


def key_reused(key: str, *, other: str) -> ApiError:
    """The key was used first with other parameters, or for another endpoint."""
    return ApiError(
        400,
        f"Keys for idempotent requests can only be used {other}."
        f" Try using a key other than '{key}' if you meant to execute a different request.",
        type_="idempotency_error",
    )


def key_too_long(length_max: int) -> ApiError:
    """A key of more characters than are stored."""
    return ApiError(400, f"Idempotency-Key can have up to {length_max} characters.")


# --- executed: stored under the idempotency key --------------------------------------------------


def not_found(kind: str, id_: str) -> ApiError:
    """An id in the path that names nothing."""
    return ApiError(
        404,
        f"No such {kind}: '{id_}'",
        code="resource_missing",
        param="id",
        is_executed=True,
    )


def refused(message: str, *, code: str | None = None, **facts: Any) -> ApiError:
    """What the state of an object does not allow."""
    return ApiError(400, message, code=code, is_executed=True, **facts)


def card_error(message: str, *, code: str, **facts: Any) -> ApiError:
    """A payment that the bank did not approve."""
    return ApiError(402, message, type_="card_error", code=code, is_executed=True, **facts)


def server_error() -> ApiError:
    """Something broke at Stripe."""
    return ApiError(500, "An unknown error occurred.", type_="api_error", is_executed=True)
