"""A hot standby of the tests' PostgreSQL."""

from pathlib import Path

import psycopg

from ops.account import postgres_programs, unprivileged
from ops.child_process import ChildProcess
from ops.embedded import EmbeddedPostgres


class Standby(EmbeddedPostgres):
    """Follows a primary by streaming replication, and answers read-only queries.

    lag_seconds: how long after its commit it shows a transaction, at the earliest.
    """

    def __init__(self, data_dir: Path, primary: EmbeddedPostgres, *, lag_seconds: float = 0.0) -> None:
        delay = f"{lag_seconds * 1000:.0f}ms"
        super().__init__(data_dir, settings={"fsync": "off", "recovery_min_apply_delay": delay})
        self._primary = primary

    @property
    def _password(self) -> str:
        return self._primary._password

    def _initialise_cluster(self, cluster: Path) -> None:
        account = unprivileged()
        program = str(postgres_programs(account) / "pg_basebackup")
        copy = account.run(
            [
                *(program, "--write-recovery-conf", "--checkpoint=fast", f"--pgdata={cluster}"),
                f"--dbname={self._primary.url()}",
            ]
        )
        assert copy.returncode == 0, copy.stderr

    def _is_ready(self, process: ChildProcess, port: int) -> bool:
        # The lock file of a standby says "standby" where that of a primary says "ready".
        try:
            psycopg.connect(self._primary.url(), port=port).close()
        except psycopg.OperationalError:
            return False
        return True
