"""A bare grpc.aio server: answers any request with as many bytes as it was told, and does nothing else.

    python -m benchmarks.echo_server 127.0.0.1:21000 64

What gRPC for Python can do at most, on the event loop that the services use, and with their garbage
collector's settings. No messages are parsed.
"""

# The stubs make grpc.RpcMethodHandler generic, the class itself is not.
from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import grpc
import uvloop

from serving.server import spare_what_stays

SERVICE, METHOD = "shopkeeper.benchmarks.Echo", "Echo"
PATH = f"/{SERVICE}/{METHOD}"


async def serve(address: str, answer: bytes) -> None:
    """Serves until SIGTERM."""

    async def echo(_request: bytes, _context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        return answer

    server = grpc.aio.server(
        options=(
            ("grpc.so_reuseport", 1),
            ("grpc.server.max_pending_requests", 50_000),
            ("grpc.server.max_pending_requests_hard_limit", 50_000),
        )
    )
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    server.add_insecure_port(address)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await server.start()
    spare_what_stays()
    print("serving", flush=True)
    await stopped.wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], bytes(int(sys.argv[2]))))
