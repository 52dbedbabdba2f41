"""`python -m history_service`: explains and tells; see settings.py for its environment variables."""

from history_service.server import serve
from history_service.settings import Settings
from serving.process import run_service

if __name__ == "__main__":
    run_service("history_service", Settings, serve)
