"""What a database does instead of what it was asked: told apart only as far as the answers differ.

    DatabaseFailure
    ├── Unacceptable       what was sent is to blame: to send it again would not help
    ├── TookTooLong        the server put an end to it: the same again would take as long
    ├── Interrupted        it collided with somebody else's work, or the server is on its way down
    │   └── LockedOut      likewise: somebody kept a lock for longer than is waited
    └── ConnectionLost     whether it was carried out is unknown
        └── FellSilent     likewise, and nobody said anything: that is no matter of size

Whoever talks to the database translates what its driver raises, once; nobody else knows the driver.
"""


class DatabaseFailure(Exception):
    """Base of the tree. code: a short word for metrics, such as the class of the SQLSTATE."""

    def __init__(self, told: str, *, code: str) -> None:
        super().__init__(told)
        self.code = code


class Unacceptable(DatabaseFailure):
    """Bad data, a constraint, a limit of the database."""


class TookTooLong(DatabaseFailure):
    """A limit in time was reached."""


class Interrupted(DatabaseFailure):
    """A deadlock, a lock not had in time, a server that shuts down: later it may go well."""


class LockedOut(Interrupted):
    """A lock was not had in time: only who needs it has to wait."""


class ConnectionLost(DatabaseFailure):
    """The connection broke, or there was none; what was asked was carried out or was not."""


class FellSilent(ConnectionLost):
    """No answer came in the time after which a connection must be dead."""
