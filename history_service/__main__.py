"""`python -m history_service`: explains and tells; see settings.py for its environment variables."""

from event_log.schema import until_migrated
from history_service.server import serve
from history_service.settings import Settings
from serving.process import run_service


async def serve_when_migrated(settings: Settings) -> None:
    """Waits for the database and its tables, then serves until SIGTERM."""
    await until_migrated(settings.history_database_url)
    await serve(settings)


if __name__ == "__main__":
    run_service("history_service", Settings, serve_when_migrated)
