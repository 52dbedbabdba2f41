"""`python -m command_service`: serves commands; see settings.py for its environment variables."""

from command_service.server import serve
from command_service.settings import Settings
from event_log.schema import until_migrated
from serving.process import run_service


async def serve_when_migrated(settings: Settings) -> None:
    """Waits for the database and its tables, then serves until SIGTERM."""
    await until_migrated(settings.database_url)
    await serve(settings)


if __name__ == "__main__":
    run_service("command_service", Settings, serve_when_migrated)
