"""Timeouts are settings, and docs/operations.md lists them all with their defaults."""

import re
from collections import defaultdict
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from command_service.settings import Settings as CommandSettings
from history_service.settings import Settings as HistorySettings
from payment_providers.environment import ProviderEnvironment
from projections.settings import Settings as ProjectionSettings
from query_service.settings import Settings as QuerySettings
from webhooks.settings import Settings as WebhookSettings

OPERATIONS = Path(__file__).resolve().parent.parent / "docs" / "operations.md"
ROW = re.compile(r"^\| `([A-Z_]+)` \| ([a-z, ]+) \| ([0-9.]+) \| .+ \|$", re.MULTILINE)
SETTINGS_BY_SERVICES: dict[str, type[BaseSettings]] = {
    "commands": CommandSettings,
    "commands, webhooks": ProviderEnvironment,
    "queries": QuerySettings,
    "history": HistorySettings,
    "projections": ProjectionSettings,
    "webhooks": WebhookSettings,
}
LEAST_SECONDS = "0.001"


def timeouts_of(settings: type[BaseSettings]) -> dict[str, float]:
    """What each is unless told otherwise, by the variable's name."""
    fields = settings.model_fields.items()
    return {name.upper(): field.default for name, field in fields if field.annotation is float}


def test_all_are_listed_with_whom_they_concern_and_their_defaults() -> None:
    section = OPERATIONS.read_text().split("\n## Timeouts\n")[1].split("\n## ")[0]
    listed = {name: (services, float(seconds)) for name, services, seconds in ROW.findall(section)}
    services_by_timeout: dict[tuple[str, float], list[str]] = defaultdict(list)
    for services, settings in SETTINGS_BY_SERVICES.items():
        for timeout in timeouts_of(settings).items():
            services_by_timeout[timeout].append(services)
    all_services = len(SETTINGS_BY_SERVICES) - 1
    expected = {
        name: ("all" if len(services) == all_services else ", ".join(services), seconds)
        for (name, seconds), services in services_by_timeout.items()
    }
    assert listed == expected


@pytest.mark.parametrize("settings", SETTINGS_BY_SERVICES.values())
def test_each_may_be_a_millisecond(
    settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Complete(settings):  # type: ignore[valid-type, misc]
        """Whatever has to be set beside, is."""

        def needed(self) -> tuple[str, ...]:
            return ()

        def provider(self) -> None:
            pass

    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@localhost/none")
    monkeypatch.setenv("REDIS_URL", "redis://localhost")
    names = timeouts_of(settings)
    for name in names:
        monkeypatch.setenv(name, LEAST_SECONDS)
    read = Complete()
    assert {name: getattr(read, name.lower()) for name in names} == dict.fromkeys(names, 0.001)
