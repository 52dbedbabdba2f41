"""`python -m query_service`: answers queries; see settings.py for its environment variables."""

from query_service.server import serve
from query_service.settings import Settings
from serving.process import run_service

if __name__ == "__main__":
    run_service("query_service", Settings, serve)
