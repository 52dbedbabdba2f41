"""What a figure depends on beside the code: the machine, its servers, and how they are set."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from benchmarks.shop_under_test import ShopUnderTest
from command_service.settings import Settings as CommandSettings
from projections.settings import Settings as ProjectionsSettings
from query_service.settings import Settings as QuerySettings

POSTGRES_SETTINGS_TOLD = (
    "server_version fsync synchronous_commit full_page_writes wal_sync_method shared_buffers"
    " max_wal_size max_connections checkpoint_timeout"
).split()
BUSY_LOOK_SECONDS = 2.0
"""The load average would tell what ended a minute ago, too."""

LIBRARIES = ("grpcio", "protobuf", "uvloop", "psycopg", "redis", "hiredis")

_SESSIONS = """
SELECT coalesce(nullif(application_name, ''), backend_type), count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() GROUP BY 1 ORDER BY 1
"""


def machine() -> dict[str, Any]:
    """The machine, and how busy it is with other things at this moment."""
    return {
        "processor": _processor(),
        "processor_count": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version,
        "libraries": {name: version(name) for name in LIBRARIES},
        "busy_share_before": round(psutil.cpu_percent(interval=BUSY_LOOK_SECONDS) / 100, 2),
        "sched_autogroup": _sched_autogroup(),
    }


def settings(shop: ShopUnderTest) -> dict[str, Any]:
    """How the shop is set: processes, servers, sessions, limits. Durability is on for all."""
    with psycopg.connect(shop.servers.database_url) as connection:
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)",
            [POSTGRES_SETTINGS_TOLD],
        ).fetchall()
        sessions = connection.execute(_SESSIONS).fetchall()
    with redis.Redis.from_url(shop.servers.redis_url) as client:
        connection_count = len(client.client_list()) - 1
    return {
        "worker_processes": {"command_service": shop.worker_count, "query_service": shop.worker_count},
        "postgresql": dict(rows),
        # Of ours and of pgbench, which share the server.
        "postgresql_file_system": _file_system(shop.postgres.data_dir),
        "postgresql_sessions": dict(sessions),
        "valkey_connections": connection_count,
        "command_service": _defaults(CommandSettings, "batch_rows_max", "bulk_batch_rows_max"),
        "query_service": _defaults(QuerySettings, "query_in_flight_max"),
        "projections": _defaults(ProjectionsSettings, "projections_batch_events_max"),
    }


def _defaults(of: Any, *names: str) -> dict[str, Any]:
    return {name: os.environ.get(name.upper(), of.model_fields[name].default) for name in names}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _sched_autogroup() -> bool:
    """Whether Linux shares its processors among sessions: docs/operations.md tells why one minds."""
    setting = Path("/proc/sys/kernel/sched_autogroup_enabled")
    return setting.exists() and setting.read_text(encoding="ascii").strip() != "0"


def _file_system(path: Path) -> str:
    """The kind of file system that holds the data."""
    found = [each for each in psutil.disk_partitions(all=True) if path.is_relative_to(each.mountpoint)]
    deepest = max(found, key=lambda each: len(each.mountpoint), default=None)
    return deepest.fstype if deepest else "unknown"
