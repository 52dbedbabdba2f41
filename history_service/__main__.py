"""`python -m history_service`: explains and tells; see settings.py for its environment variables."""

import uvloop

from history_service.server import serve
from history_service.settings import Settings
from serving.logs import configure_logs

if __name__ == "__main__":
    settings = Settings()
    configure_logs("history_service", settings.log_level)
    uvloop.run(serve(settings))
