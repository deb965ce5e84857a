"""Settings: what is wrong is named at the start, and the page about them is that of the code."""

import importlib.util
from pathlib import Path

import pytest

from shotwatch_common.settings import BrokerSettings, SettingsError, installed_settings
from shotwatch_query.settings import QuerySettings
from shotwatch_training.settings import TrainingSettings

REPOSITORY = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("settings_page", REPOSITORY / "scripts" / "settings.py")
assert _spec is not None
assert _spec.loader is not None
settings_page = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(settings_page)

TOLD = {
    "DATABASE_URL": "mongodb://user:hidden@database.example/",
    "STORE_URL": "https://store.example",
    "STORE_ACCESS_KEY": "access",
    "STORE_SECRET_KEY": "hidden",
    "MODELS_URL": "http://models.example:5000",
    "FACILITY": "facility.yaml",
    "QUERY_PORT": "8000",
}


@pytest.fixture(autouse=True)
def all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TOLD.items():
        monkeypatch.setenv(f"SHOTWATCH_{name}", value)


def test_the_page_in_the_repository_is_that_of_the_code() -> None:
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "run `make settings`"


def test_every_service_of_the_tree_and_the_setup_of_the_store_tell_their_settings() -> None:
    folders = {path.parent.name for path in REPOSITORY.glob("services/*/pyproject.toml")}
    assert installed_settings().keys() == folders | {"store-setup"}


def test_training_and_the_api_need_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOTWATCH_QUERY_KEYS_FILE", "keys")
    assert not issubclass(QuerySettings, BrokerSettings)
    QuerySettings.load()
    TrainingSettings.load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKER_URL", "http://broker.example"),
        ("BROKER_URL", "amqp://"),
        ("DATABASE_URL", "mongo://database.example"),
        ("STORE_URL", "store.example:9000"),
        ("MODELS_URL", "sqlite:///models.db"),
        ("HEALTH_PORT", "65536"),
        ("HEALTH_PORT", "http"),
        ("PREFETCH", "0"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("SHOTWATCH_BROKER_URL", "amqps://user:hidden@broker.example")
    monkeypatch.setenv(f"SHOTWATCH_{name}", value)
    with pytest.raises(SettingsError, match=f"SHOTWATCH_{name}: ") as raised:
        BrokerSettings.load()
    assert len(str(raised.value).splitlines()) == 2
    assert "hidden" not in str(raised.value)


def test_a_variable_that_is_spelt_wrongly_is_named_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOTWATCH_DATASET_BUKET", "mine")
    monkeypatch.delenv("SHOTWATCH_STORE_URL")
    with pytest.raises(SettingsError) as raised:
        TrainingSettings.load()
    _, slip, missing = str(raised.value).splitlines()
    assert "SHOTWATCH_DATASET_BUKET: there is no such setting; is SHOTWATCH_DATASET_BUCKET meant?" in slip
    assert "SHOTWATCH_STORE_URL" in missing


def test_settings_of_the_other_services_are_no_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOTWATCH_READERS", "2")
    TrainingSettings.load()


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({}, "nobody would be let in"),
        ({"OPEN": "true", "HOST": "0.0.0.0"}, "SHOTWATCH_QUERY_OPEN is for SHOTWATCH_QUERY_HOST=127.0.0.1"),
        ({"OIDC_ISSUER": "https://issuer.example"}, "belong together"),
        ({"KEYS_FILE": "keys", "OIDC_AUDIENCE": "shotwatch"}, "belong together"),
        ({"OIDC_ISSUER": "http://issuer.example", "OIDC_AUDIENCE": "shotwatch"}, "not https://"),
    ],
)
def test_an_api_that_is_open_by_mistake_does_not_start(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], complaint: str
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(f"SHOTWATCH_QUERY_{name}", value)
    with pytest.raises(SettingsError, match=complaint):
        QuerySettings.load()


def test_an_api_may_be_open_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOTWATCH_QUERY_OPEN", "true")
    assert QuerySettings.load().query_open
