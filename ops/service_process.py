"""One worker of a service: started, listened to, paused, killed, ended."""

import asyncio
import contextlib
import json
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

from ops.child_process import LOG_TAIL_LINES, Watcher

# A traceback of a request at its largest; the rest of a longer line is dropped.
LINE_BYTES_MAX = 256 * 1024
READ_BYTES = 64 * 1024


class LogLine(NamedTuple):
    """A line that a worker wrote, without its end."""

    source: str
    text: str


LogSink = Callable[[LogLine], None]


class ServiceProcess:
    """A worker that lives no longer than we do. After it ended it can be started again."""

    def __init__(
        self, name: str, module: str, *, environment: Mapping[str, str], on_log: LogSink
    ) -> None:
        self.name = name
        self._module = module
        self._environment = environment
        self._on_log = on_log
        self._has_said_serving = False
        self._tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: Watcher | None = None
        self._log_task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._started.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended since."""
        return self._process is not None and self._process.returncode is None

    @property
    def is_serving(self) -> bool:
        """Whether it runs and has said, as every service does, that it is ready for work."""
        return self.is_running and self._has_said_serving

    @property
    def last_words(self) -> str:
        """The last lines that it wrote, for an error message."""
        return "\n".join(self._tail)

    async def start(self) -> None:
        """Starts it; it need not be ready when this returns."""
        self._tail.clear()
        self._has_said_serving = False
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", self._module),
            env=dict(self._environment),
            # A Ctrl-C in the terminal is ours to handle: services stop in order.
            start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._log_task = asyncio.create_task(self._pass_log_on(self._process.stdout))
        try:
            self._watcher = Watcher(self._process.pid, signal.SIGKILL)
        except OSError:
            # It would outlive us, and nobody would know of it.
            self.kill()
            await self.wait()
            raise

    async def wait(self) -> int:
        """Waits until it has ended and everything it wrote was passed on; its exit status."""
        status = await self._started.wait()
        if self._log_task is not None:
            # Shielded: whoever gives up waiting must not stop the pipe from being emptied.
            await asyncio.shield(self._log_task)
        if self._watcher is not None:
            self._watcher.dismiss()
            self._watcher = None
        return status

    def kill(self) -> None:
        """Kills it, as a lost machine would; wait() for the end."""
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """Stops it where it is, connections open, as a frozen machine would, until resume()."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on after pause()."""
        self._signal(signal.SIGCONT)

    async def end(self, *, seconds_max: float) -> None:
        """Asks it to drain and end; kills it when that takes longer than `seconds_max`."""
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        # A paused process learns of SIGTERM only when it goes on.
        self._signal(signal.SIGCONT)
        try:
            await asyncio.wait_for(self._process.wait(), seconds_max)
        except TimeoutError:
            self.kill()
        await self.wait()

    @property
    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process

    def _signal(self, number: signal.Signals) -> None:
        # It may have ended a moment ago, which is what most signals are for.
        with contextlib.suppress(ProcessLookupError):
            self._started.send_signal(number)

    async def _pass_log_on(self, stream: asyncio.StreamReader | None) -> None:
        if stream is None:
            raise RuntimeError(f"{self.name} was started without a pipe")
        async for text in _lines(stream):
            self._tail.append(text)
            self._has_said_serving = self._has_said_serving or _says_serving(text)
            try:
                self._on_log(LogLine(self.name, text))
            except Exception as error:  # noqa: BLE001 a pipe that nobody empties would stop the service
                with contextlib.suppress(OSError):
                    sys.stderr.write(f"{self.name}: a log line cannot be shown: {error!a}\n")


def _says_serving(text: str) -> bool:
    """Whether a log line is what serving.server.run() logs when all parts have started."""
    if '"serving"' not in text:
        return False
    try:
        entry = json.loads(text)
    except ValueError:
        return False
    return isinstance(entry, dict) and entry.get("event") == "serving"


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """The stream's lines; unlike readline() it survives those that are longer than any limit."""
    rest = b""
    while chunk := await stream.read(READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[:LINE_BYTES_MAX]
        for line in lines:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
