"""A service with nothing in it: health, log lines and an end, as the real ones have. Run by tests.

FAKE_ENDS_AT_ONCE makes it fail on start, FAKE_CALL_SECONDS is how long its last call takes when it is to
end. It writes its environment's addresses into its log.
"""

import asyncio
import os
import sys

import structlog

from serving.logs import configure_logs
from serving.server import GrpcServer, run


class LastCall:
    """What is begun when the service is asked to stop; a Part."""

    async def start(self) -> None:
        """Nothing to begin yet."""

    async def drain(self) -> None:
        """Returns when it is answered."""
        await asyncio.sleep(float(os.environ.get("FAKE_CALL_SECONDS", "0")))


async def main() -> None:
    configure_logs("fake_service", os.environ.get("LOG_LEVEL", "INFO"))
    if os.environ.get("FAKE_ENDS_AT_ONCE"):
        sys.exit("the fake service was told to fail")
    structlog.get_logger().info("configured", database="DATABASE_URL" in os.environ, pid=os.getpid())
    server = GrpcServer(os.environ["FAKE_ADDRESS"], (), lambda _server: None)
    await run([LastCall(), server])


if __name__ == "__main__":
    asyncio.run(main())
