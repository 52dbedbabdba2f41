"""PayPal's errors: statuses and bodies."""

from typing import Any

DOCUMENTATION = "https://developer.paypal.com/docs/api/orders/v2"


class ApiError(Exception):
    """An answer that is not a success. Nothing had an effect: PayPal documents no stored refusals."""

    def __init__(
        self,
        status: int,
        name: str,
        message: str,
        *,
        details: tuple[dict[str, Any], ...] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self._body: dict[str, Any] = {"name": name, "message": message}
        if details:
            self._body["details"] = list(details)

    def as_json(self, debug_id: str) -> dict[str, Any]:
        """The body; debug_id is of the call."""
        links = [{"href": f"{DOCUMENTATION}/#error-{self._body['name']}", "rel": "information_link"}]
        return {**self._body, "debug_id": debug_id, "links": links}


class TokenError(ApiError):
    """What the token endpoint, and whoever checks tokens, answers with."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(401, error, description)
        self._body = {"error": error, "error_description": description}

    def as_json(self, debug_id: str) -> dict[str, Any]:
        """OAuth's own form, without debug_id."""
        return self._body


def invalid(issue: str, *, field: str, value: Any = None, description: str = "") -> ApiError:
    """A body, path or query that breaks the schema."""
    detail = {"field": field, "location": "body", "issue": issue, "description": description or issue}
    if value is not None:
        detail["value"] = str(value)
    return ApiError(
        400,
        "INVALID_REQUEST",
        "Request is not well-formed, syntactically incorrect, or violates schema.",
        details=(detail,),
    )


def unprocessable(issue: str, description: str = "", *, field: str = "") -> ApiError:
    """What the state of things, or a rule of business, does not allow."""
    detail = {"issue": issue, "description": description or issue}
    if field:
        detail |= {"field": field, "location": "body"}
    return ApiError(
        422,
        "UNPROCESSABLE_ENTITY",
        "The requested action could not be performed, semantically incorrect, or failed business"
        " validation.",
        details=(detail,),
    )


def not_found(field: str, id_: str) -> ApiError:
    """An id in the path that names nothing."""
    detail = {
        "field": field,
        "value": id_,
        "location": "path",
        "issue": "INVALID_RESOURCE_ID",
        "description": "Specified resource ID does not exist.",
    }
    return ApiError(
        404, "RESOURCE_NOT_FOUND", "The specified resource does not exist.", details=(detail,)
    )


def no_such_path() -> ApiError:
    """A method and path that the API does not have."""
    return ApiError(404, "RESOURCE_NOT_FOUND", "The specified resource does not exist.")


def unsupported_media_type() -> ApiError:
    """A body that is not JSON."""
    return ApiError(
        415, "UNSUPPORTED_MEDIA_TYPE", "The server does not support the request payload's media type."
    )


def in_progress() -> ApiError:
    """Another call with this request id is being executed."""
    detail = {
        "issue": "PREVIOUS_REQUEST_IN_PROGRESS",
        "description": "A previous request on this resource is currently in progress.",
    }
    return ApiError(
        409,
        "RESOURCE_CONFLICT",
        "The server has detected a conflict while processing this request.",
        details=(detail,),
    )


def rate_limited(*, retry_after_seconds: int) -> ApiError:
    """Too many calls."""
    return ApiError(
        429,
        "RATE_LIMIT_REACHED",
        "Too many requests. Blocked due to rate limiting.",
        headers={"Retry-After": str(retry_after_seconds)},
    )


def server_error() -> ApiError:
    """Something broke at PayPal."""
    return ApiError(500, "INTERNAL_SERVER_ERROR", "An internal server error occurred.")
