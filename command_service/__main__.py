"""`python -m command_service`: serves commands; see settings.py for its environment variables."""

import uvloop

from command_service.server import serve
from command_service.settings import Settings
from serving.logs import configure_logs

if __name__ == "__main__":
    settings = Settings()
    configure_logs("command_service", settings.log_level)
    uvloop.run(serve(settings))
