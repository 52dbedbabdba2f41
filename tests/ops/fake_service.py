"""A service with nothing in it: health, log lines and an end, as the real ones have. Run by tests.

FAKE_ENDS_AT_ONCE makes it fail on start. It writes its environment's addresses into its log.
"""

import asyncio
import os
import sys

import structlog

from serving.logs import configure_logs
from serving.server import GrpcServer, run


async def main() -> None:
    configure_logs("fake_service", os.environ.get("LOG_LEVEL", "INFO"))
    if os.environ.get("FAKE_ENDS_AT_ONCE"):
        sys.exit("the fake service was told to fail")
    structlog.get_logger().info("configured", database="DATABASE_URL" in os.environ, pid=os.getpid())
    server = GrpcServer(os.environ["FAKE_ADDRESS"], (), lambda _server: None)
    await run([server])


if __name__ == "__main__":
    asyncio.run(main())
