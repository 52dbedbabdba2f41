"""A server process that ends with us, however we end, and says why it ended."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ops.account import ENVIRONMENT, OURSELVES, Account

LOG_TAIL_LINES = 20

# Waits for the end of its standard input, a pipe whose only writer is us: the kernel closes it when
# we die, SIGKILL included. Linux' PR_SET_PDEATHSIG would do without the extra process, but it fires
# when the *thread* that started the server ends, is cleared when the user changes, needs Python
# code between fork and exec (which can deadlock beside gRPC's threads), and is Linux only.
_WATCHER = 'read -r line; kill -s "$2" "$1"'


class Watcher:
    """Sends a process a signal when we end, however we end; dismiss it when the process has ended."""

    def __init__(self, pid: int, signal_on_our_death: signal.Signals) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHER, "sh", str(pid), signal_on_our_death.name.removeprefix("SIG")],
            cwd="/",
            # A session of its own: killing our whole process group must not kill the watcher first.
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def dismiss(self) -> None:
        """Ends the watcher, which must not outlive the process: its id may be used again."""
        self._process.kill()
        self._process.communicate()


class ChildProcess:
    """A running server: its log in a file, its life no longer than ours."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_path: Path,
        signal_on_our_death: signal.Signals,
        account: Account = OURSELVES,
        standard_input: str = "",
    ) -> None:
        self._log_path = log_path
        self._log_offset = log_path.stat().st_size if log_path.exists() else 0
        self._process = _launch(command, log_path, account)
        try:
            self._watcher = Watcher(self._process.pid, signal_on_our_death)
        except OSError:
            # Nobody would know of it.
            self._process.kill()
            self._process.communicate()
            raise
        _feed(self._process, standard_input)

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the server has not ended."""
        if self._process.poll() is None:
            return True
        self._watcher.dismiss()
        return False

    def end(self, *signals: signal.Signals, seconds_each: float) -> None:
        """Sends the signals one after the other until the server has ended."""
        for number in (*signals, signal.SIGKILL):
            self._process.send_signal(number)
            if self._has_ended_within(seconds_each):
                break
        self._watcher.dismiss()

    def log_since_start(self) -> str:
        """What the server has logged since it was started."""
        with self._log_path.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._log_offset)
            return log.read()

    def last_words(self) -> str:
        """The last lines of the server's log, for an error message."""
        return "\n".join(self.log_since_start().splitlines()[-LOG_TAIL_LINES:])

    def _has_ended_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def _launch(command: Sequence[str], log_path: Path, account: Account) -> subprocess.Popen[bytes]:
    # Statements may hold what only the shop's owner should read.
    log_path.touch(mode=0o600)
    with log_path.open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=log_path.parent,
            env=ENVIRONMENT,
            extra_groups=account.extra_groups,
            group=account.group,
            # A Ctrl-C in the terminal is ours to handle: clients stop before their servers do.
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            user=account.user,
        )


def _feed(process: subprocess.Popen[bytes], text: str) -> None:
    if process.stdin is None:
        return
    try:
        with process.stdin as pipe:
            pipe.write(text.encode())
    except BrokenPipeError:
        # The server ended before it read its input; whoever waits for it to be ready says so.
        return
