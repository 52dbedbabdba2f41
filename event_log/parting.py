"""Leaving a connection to PostgreSQL at once, in the midst of whatever it is asked."""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

import psycopg


def cut_off(connection: psycopg.AsyncConnection[Any], talk: "asyncio.Future[Any]") -> None:
    """Lets go of a connection without a word to the server, which may not be listening.

    talk: what is using the connection; it ends by itself, and nobody need wait for it. The socket is
    shut down at once, which ends the talk and, at the server, frees the locks of what is half done. The
    descriptor is closed only after the talk: the event loop may be about to wait for it, and uvloop ends
    the whole process when it is told to wait for a descriptor that is closed.
    """
    # What is closed already need not be shut down.
    with suppress(OSError, psycopg.Error):
        twin = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with twin, suppress(OSError):
            twin.shutdown(socket.SHUT_RDWR)

    talk.add_done_callback(lambda _: connection.pgconn.finish())


def never_mind(talk: "asyncio.Future[Any]") -> None:
    """Has asyncio not complain when nobody looks at how it ended: it may fail just as we leave."""
    talk.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
