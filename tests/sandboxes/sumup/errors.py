"""SumUp's errors: each part of its house has a body of its own."""

from typing import Any

PROBLEM = "application/problem+json"
PLAIN = "application/json"


class ApiError(Exception):
    """An answer that is not 2xx."""

    def __init__(
        self,
        status: int,
        body: Any,
        *,
        media_type: str = PLAIN,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body
        self.media_type = media_type
        self.headers = headers or {}


# --- the gateway ---------------------------------------------------------------------------------


def problem(status: int, name: str, title: str) -> ApiError:
    """A problem as of RFC 9457."""
    body = {
        "type": f"https://developer.sumup.com/problem/{name}",
        "title": title,
        "status": status,
        "detail": f"{title}.",
        "trace_id": "3c77294349d3b5647ea2d990f0d8f017",
    }
    return ApiError(status, body, media_type=PROBLEM)


def unauthorized() -> ApiError:
    """No key, or a wrong one."""
    return problem(401, "unauthorized", "Unauthorized")


def rate_limited(retry_after_seconds: int) -> ApiError:
    """Too many calls. Neither the limits nor the body are published."""
    error = problem(429, "too-many-requests", "Too Many Requests")
    error.headers["Retry-After"] = str(retry_after_seconds)
    return error


def server_error() -> ApiError:
    """Something broke at SumUp."""
    return problem(500, "internal-server-error", "Internal Server Error")


# --- checkouts, transactions, refunds ------------------------------------------------------------


def error(status: int, code: str, message: str) -> ApiError:
    """The plain form."""
    return ApiError(status, {"error_code": code, "message": message})


def invalid(param: str, code: str = "INVALID") -> ApiError:
    """A parameter that cannot be accepted."""
    return ApiError(400, {"message": "Validation error", "error_code": code, "param": param})


def invalid_many(params: list[str], code: str) -> ApiError:
    """Several at once come as a list; one comes alone."""
    errors = [invalid(param, code).body for param in params]
    return ApiError(400, errors if len(errors) > 1 else errors[0])


def forbidden(message: str) -> ApiError:
    """Something that this merchant may not do. The status is a string here."""
    return ApiError(403, {"error_message": message, "error_code": "FORBIDDEN", "status_code": "403"})


def not_found() -> ApiError:
    """An id that names nothing."""
    return error(404, "NOT_FOUND", "Resource not found")


# --- readers -------------------------------------------------------------------------------------


def reader_error(status: int, type_: str, detail: str) -> ApiError:
    """The form of the readers' part."""
    return ApiError(status, {"errors": {"type": type_, "detail": detail}})


def reader_invalid(field: str, reason: str) -> ApiError:
    """A field that cannot be accepted."""
    return ApiError(422, {"errors": {field: [reason]}})


def reader_not_found() -> ApiError:
    """A reader that is not paired."""
    return ApiError(404, {"errors": {"detail": "Not Found"}})
