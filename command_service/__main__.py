"""`python -m command_service`: serves commands; see settings.py for its environment variables."""

from command_service.server import serve
from command_service.settings import Settings
from serving.process import run_service

if __name__ == "__main__":
    run_service("command_service", Settings, serve)
