"""`python -m query_service`: answers queries; see settings.py for its environment variables."""

import uvloop

from query_service.server import serve
from query_service.settings import Settings
from serving.logs import configure_logs

if __name__ == "__main__":
    settings = Settings()
    configure_logs("query_service", settings.log_level)
    uvloop.run(serve(settings))
