"""`python -m webhooks`: hears providers; see settings.py for its environment variables."""

from serving.process import run_service
from webhooks.server import serve
from webhooks.settings import Settings

if __name__ == "__main__":
    run_service("webhooks", Settings, serve)
