"""Which providers are at work: those whose credentials are set, and none by halves."""

import os

import pytest
from pydantic import ValidationError

from payment_providers.paypal.provider import PayPalProvider
from payment_providers.paypal.settings import CERTIFICATE_NAME, CERTIFICATE_URLS
from payment_providers.port import Flow, PaymentProvider
from payment_providers.stripe.environment import StripeEnvironment
from payment_providers.stripe.provider import StripeProvider
from payment_providers.sumup.provider import SumUpProvider
from payment_providers.wiring import ProviderSettings, providers_of
from serving.process import reason_of

STRIPE = {"STRIPE_API_KEY": "sk_test_hush"}
SUMUP = {
    "SUMUP_API_KEY": "sup_sk_hush",
    "SUMUP_MERCHANT_CODE": "MHUSH",
    "SUMUP_WEBHOOK_URL": "https://shop.example/webhooks/sumup",
}
AFFILIATE = {"SUMUP_AFFILIATE_APP_ID": "com.hush.shop", "SUMUP_AFFILIATE_KEY": "aff-hush"}
PAYPAL = {"PAYPAL_CLIENT_ID": "client-hush", "PAYPAL_CLIENT_SECRET": "secret-hush"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("STRIPE_", "SUMUP_", "PAYPAL_")):
            monkeypatch.delenv(name)


async def at_work(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, PaymentProvider]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    providers = dict(providers_of(ProviderSettings()))
    for provider in providers.values():
        await provider.close()
    return providers


def refusal_of(monkeypatch: pytest.MonkeyPatch, **variables: str) -> ValidationError:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        ProviderSettings()
    return caught.value


async def test_without_settings_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await at_work(monkeypatch) == {}


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        (STRIPE, ["stripe"]),
        (SUMUP, ["sumup"]),
        (SUMUP | AFFILIATE, ["sumup"]),
        (PAYPAL, ["paypal"]),
        (STRIPE | SUMUP | PAYPAL, ["stripe", "sumup", "paypal"]),
    ],
)
async def test_those_whose_credentials_are_set_are_at_work(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], names: list[str]
) -> None:
    providers = await at_work(monkeypatch, **variables)
    assert list(providers) == names
    assert all(provider.name == name for name, provider in providers.items())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STRIPE_API_KEY", "sk_hush_é"),
        ("SUMUP_API_KEY", "sup_hush\nsk"),
        ("PAYPAL_CLIENT_SECRET", "hush\x7f"),
        ("STRIPE_WEBHOOK_SECRETS", " , "),
    ],
)
def test_a_secret_that_no_header_could_carry_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    refusal = refusal_of(monkeypatch, **(STRIPE | SUMUP | PAYPAL | {variable: value}))
    assert [str(wrong["loc"][0]).upper() for wrong in refusal.errors()] == [variable]
    assert "hush" not in str(refusal)


async def test_the_newline_that_ends_a_file_of_a_secret_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_1\n")
    [settings] = [each for each in ProviderSettings().environments if each.is_at_work]
    assert isinstance(settings, StripeEnvironment)
    assert settings.stripe_api_key.get_secret_value() == "sk_test_1"


async def test_timeouts_are_those_of_all_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = {"PROVIDER_ATTEMPT_SECONDS_MAX": "0.05", "PROVIDER_BREAKER_SECONDS": "0.004"}
    providers = await at_work(monkeypatch, **STRIPE, **SUMUP, **PAYPAL, **waits)
    for settings in ProviderSettings().environments:
        limits = settings.limits
        assert (limits.attempt_seconds_max, limits.breaker_open_seconds) == (0.05, 0.004)
    for provider in providers.values():
        assert isinstance(provider, StripeProvider | SumUpProvider | PayPalProvider)
        assert provider.calls.breaker._open_seconds == 0.004


async def test_each_says_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    providers = await at_work(monkeypatch, **STRIPE, **SUMUP, **PAYPAL)
    online = frozenset({Flow.EMBEDDED, Flow.HOSTED})
    assert {name: (each.authorizes, each.flows) for name, each in providers.items()} == {
        "stripe": (True, online),
        "sumup": (False, online | {Flow.READER}),
        "paypal": (True, online),
    }


async def test_an_address_or_an_empty_variable_puts_nobody_to_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = "http://127.0.0.1:1"
    addresses = {"STRIPE_API_URL": here, "SUMUP_API_URL": here, "PAYPAL_API_URL": here}
    empty = dict.fromkeys(STRIPE | SUMUP | AFFILIATE | PAYPAL, "")
    assert await at_work(monkeypatch, **addresses, **empty) == {}


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        ({"STRIPE_WEBHOOK_SECRETS": "whsec_hush"}, ["STRIPE_API_KEY"]),
        (
            {"SUMUP_API_KEY": "sup_sk_hush"},
            ["SUMUP_MERCHANT_CODE", "SUMUP_WEBHOOK_URL"],
        ),
        ({**SUMUP, "SUMUP_API_KEY": ""}, ["SUMUP_API_KEY"]),
        ({**SUMUP, "SUMUP_AFFILIATE_KEY": "aff-hush"}, ["SUMUP_AFFILIATE_APP_ID"]),
        ({**SUMUP, "SUMUP_AFFILIATE_APP_ID": "com.hush.shop"}, ["SUMUP_AFFILIATE_KEY"]),
        ({"PAYPAL_CLIENT_ID": "client-hush"}, ["PAYPAL_CLIENT_SECRET"]),
        ({"PAYPAL_CLIENT_SECRET": "secret-hush"}, ["PAYPAL_CLIENT_ID"]),
        ({"PAYPAL_WEBHOOK_IDS": "WHHUSH"}, ["PAYPAL_CLIENT_ID", "PAYPAL_CLIENT_SECRET"]),
    ],
)
def test_a_half_set_provider_is_refused_by_the_names_of_what_lacks(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], missing: list[str]
) -> None:
    refusal = refusal_of(monkeypatch, **variables)
    assert [str(wrong["loc"][0]).upper() for wrong in refusal.errors()] == missing
    for text in (str(refusal), repr(refusal), reason_of(refusal), str(refusal.errors())):
        assert all(name in text.upper() for name in missing)
        assert "hush" not in text.lower()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STRIPE_API_URL", "hush.example"),
        ("SUMUP_API_URL", "ftp://hush.example"),
        ("SUMUP_WEBHOOK_URL", "hush.example/webhooks/sumup"),
        ("SUMUP_MERCHANT_CODE", "MHUSH/../MOTHER"),
        ("PAYPAL_API_URL", "hush"),
        ("PAYPAL_CERTIFICATE_URLS", "https://api.hush.example"),
        ("PAYPAL_CERTIFICATE_URLS", "https://api.example/certs/, hush"),
        ("PAYPAL_CERTIFICATE_URLS", ""),
        ("PAYPAL_CERTIFICATE_NAME", ""),
        ("PAYPAL_CERTIFICATE_AUTHORITIES", "/etc/hush.pem"),
    ],
)
def test_a_malformed_setting_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    refusal = refusal_of(monkeypatch, **{**SUMUP, **PAYPAL, variable: value})
    assert [wrong["loc"] for wrong in refusal.errors()] == [(variable.lower(),)]
    assert "hush" not in f"{refusal} {reason_of(refusal)}".lower()


def test_no_secret_is_in_what_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (STRIPE | SUMUP | AFFILIATE | PAYPAL).items():
        monkeypatch.setenv(name, value)
    written = repr(ProviderSettings().environments)
    for secret in ("sk_test_hush", "sup_sk_hush", "aff-hush", "secret-hush"):
        assert secret not in written


async def test_a_sandbox_of_paypal_has_certificates_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    live = await at_work(monkeypatch, **PAYPAL)
    assert certificates_of(live) == (CERTIFICATE_URLS, CERTIFICATE_NAME, b"")
    sandbox = await at_work(
        monkeypatch,
        PAYPAL_CERTIFICATE_URLS="https://a.example/certs/, http://127.0.0.1:1/certs/",
        PAYPAL_CERTIFICATE_NAME="sandbox.example",
        PAYPAL_CERTIFICATE_AUTHORITIES="-----BEGIN CERTIFICATE-----\nM\n-----END CERTIFICATE-----\n",
    )
    urls, name, pem = certificates_of(sandbox)
    assert urls == ("https://a.example/certs/", "http://127.0.0.1:1/certs/")
    assert (name, pem.splitlines()[1]) == ("sandbox.example", b"M")


def certificates_of(providers: dict[str, PaymentProvider]) -> tuple[tuple[str, ...], str, bytes]:
    provider = providers["paypal"]
    assert isinstance(provider, PayPalProvider)
    settings = provider._settings
    return (
        settings.certificate_urls,
        settings.certificate_name,
        settings.certificate_authorities_pem,
    )
