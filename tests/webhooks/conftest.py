"""The fixtures of the command side, for webhooks that reach it."""

from tests.command_service.conftest import carry_out

__all__ = ["carry_out"]
