"""A connection that a provider resets as it is made is a connection that failed, and no bug of ours."""

from collections.abc import Awaitable

import httpx


async def answered(call: Awaitable[httpx.Response]) -> httpx.Response:
    """What httpx answers.

    On uvloop a socket may be gone by the time that httpx's layers ask it for its address; they then
    stumble over None.

    Raises:
        httpx.HTTPError: there is no answer.
    """
    try:
        return await call
    except AttributeError as error:
        raise httpx.NetworkError("the connection was lost as it was made") from error
