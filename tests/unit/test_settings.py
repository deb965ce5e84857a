"""Settings: what is wrong is named at the start, and the page about them is that of the code."""

import importlib.util
from pathlib import Path

import pytest

from shotwatch_cli.deployment import find_deployment
from shotwatch_cli.rest import API_KEY, RestApi
from shotwatch_common.settings import (
    MAX_SECRET_BYTES,
    BrokerSettings,
    SettingsError,
    installed_settings,
    with_settings,
)
from shotwatch_embedded.stack import Stack
from shotwatch_query.settings import QuerySettings
from shotwatch_training.settings import TrainingSettings

REPOSITORY = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("settings_page", REPOSITORY / "scripts" / "settings.py")
assert _spec is not None
assert _spec.loader is not None
settings_page = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(settings_page)

REPORTED = {
    "DATABASE_URL": "mongodb://user:hidden@database.example/",
    "STORE_URL": "https://store.example",
    "STORE_ACCESS_KEY": "access",
    "STORE_SECRET_KEY": "hidden",
    "MODELS_URL": "http://models.example:5000",
    "FACILITY": "facility.yaml",
    "QUERY_PORT": "8000",
}


@pytest.fixture(autouse=True)
def all_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in REPORTED.items():
        monkeypatch.setenv(f"SHOTWATCH_{name}", value)


def test_the_page_in_the_repository_is_that_of_the_code() -> None:
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "run `make settings`"


def test_each_setting_is_one_row_of_a_table_on_the_page() -> None:
    """A text with a line break would end its table."""
    lines = settings_page.page().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert all(line.endswith("|") and line.replace(r"\|", "").count("|") == 5 for line in rows)
    tables = [n for n, line in enumerate(lines) if line.startswith("| variable")]
    assert sum(line.startswith("| `SHOTWATCH_") for line in rows) == len(rows) - 2 * len(tables)


def test_every_service_of_the_tree_and_the_setup_of_the_store_report_their_settings() -> None:
    folders = {path.parent.name for path in REPOSITORY.glob("services/*/pyproject.toml")}
    assert installed_settings().keys() == folders | {"store-setup", "database-setup"}


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


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("SWEEP_SECONDS", "SHOTWATCH_INBOX_SWEEP_SECONDS or, of aggregate, SHOTWATCH_WINDOW_SWEEP_SECONDS"),
        ("SWEEP_AGAIN_SECONDS", "SHOTWATCH_INBOX_AGAIN_SECONDS"),
    ],
)
def test_a_former_name_is_refused_with_the_present_one(
    monkeypatch: pytest.MonkeyPatch, former: str, present: str
) -> None:
    monkeypatch.setenv(f"SHOTWATCH_{former}", "0")
    with pytest.raises(SettingsError, match=f"SHOTWATCH_{former}: renamed; set {present}"):
        TrainingSettings.load()


def test_settings_of_the_other_services_are_no_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOTWATCH_READERS", "2")
    TrainingSettings.load()


@pytest.mark.parametrize(
    ("reported", "complaint"),
    [
        ({}, "no caller could log in"),
        ({"OPEN": "true", "HOST": "0.0.0.0"}, "SHOTWATCH_QUERY_OPEN requires SHOTWATCH_QUERY_HOST=127.0.0.1"),
        ({"OIDC_ISSUER": "https://issuer.example"}, "set both SHOTWATCH_QUERY_OIDC_ISSUER and"),
        ({"KEYS_FILE": "keys", "OIDC_AUDIENCE": "shotwatch"}, "set both SHOTWATCH_QUERY_OIDC_ISSUER and"),
        ({"OIDC_ISSUER": "http://issuer.example", "OIDC_AUDIENCE": "shotwatch"}, "not https://"),
    ],
)
def test_an_api_that_is_open_by_mistake_does_not_start(
    monkeypatch: pytest.MonkeyPatch, reported: dict[str, str], complaint: str
) -> None:
    for name, value in reported.items():
        monkeypatch.setenv(f"SHOTWATCH_QUERY_{name}", value)
    with pytest.raises(SettingsError, match=complaint):
        QuerySettings.load()


def test_an_api_may_be_open_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOTWATCH_QUERY_OPEN", "true")
    assert QuerySettings.load().query_open


BROKER = "amqps://validate:in-a-file@broker.example/shotwatch"


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_secret_is_read_from_the_file_that_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str
) -> None:
    (tmp_path / "broker").write_text(BROKER + end)
    (tmp_path / "key").write_text(f" two words\n{end}")
    monkeypatch.setenv("SHOTWATCH_BROKER_URL_FILE", str(tmp_path / "broker"))
    monkeypatch.setenv("SHOTWATCH_STORE_SECRET_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("SHOTWATCH_STORE_SECRET_KEY")
    settings = BrokerSettings.load()
    assert settings.broker_url.get_secret_value() == BROKER
    assert settings.store_secret_key.get_secret_value() == f" two words{end}"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read '.*/secret': No such file"),
        ("a folder", "cannot read '.*/secret': Is a directory"),
        (b"", "'.*/secret' is empty"),
        (b"\n", "'.*/secret' is empty"),
        (b"hidden" * MAX_SECRET_BYTES, "'.*/secret' is larger than 64 KiB"),
        (b"hidden\xff", "'.*/secret' is not UTF-8 text"),
    ],
)
def test_a_file_that_holds_no_secret_is_named_and_nothing_else_is_complained_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | str | None, complaint: str
) -> None:
    if isinstance(content, bytes):
        (tmp_path / "secret").write_bytes(content)
    elif content is not None:
        (tmp_path / "secret").mkdir()
    monkeypatch.setenv("SHOTWATCH_BROKER_URL_FILE", str(tmp_path / "secret"))
    with pytest.raises(SettingsError, match=f"SHOTWATCH_BROKER_URL_FILE: {complaint}") as raised:
        BrokerSettings.load()
    assert len(str(raised.value).splitlines()) == 2
    assert "hidden" not in str(raised.value)


def test_a_secret_that_is_set_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("in the file")
    monkeypatch.setenv("SHOTWATCH_STORE_SECRET_KEY_FILE", str(tmp_path / "key"))
    complaint = "SHOTWATCH_STORE_SECRET_KEY and SHOTWATCH_STORE_SECRET_KEY_FILE are both set"
    with pytest.raises(SettingsError, match=complaint):
        TrainingSettings.load()


def test_only_a_secret_may_be_given_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOTWATCH_STORE_URL_FILE", "/run/secrets/store-url")
    with pytest.raises(SettingsError, match="SHOTWATCH_STORE_URL_FILE: there is no such setting"):
        TrainingSettings.load()


def test_a_wrong_secret_in_a_file_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broker").write_text("http://hidden")
    monkeypatch.setenv("SHOTWATCH_BROKER_URL_FILE", str(tmp_path / "broker"))
    with pytest.raises(SettingsError, match="SHOTWATCH_BROKER_URL: ") as raised:
        BrokerSettings.load()
    assert "hidden" not in str(raised.value)


def test_a_restart_reads_the_file_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    monkeypatch.setenv("SHOTWATCH_STORE_SECRET_KEY_FILE", str(secret))
    monkeypatch.delenv("SHOTWATCH_STORE_SECRET_KEY")
    for value in ("before", "after"):
        secret.write_text(value)
        assert TrainingSettings.load().store_secret_key.get_secret_value() == value


def test_commands_find_a_deployment_whose_secrets_lie_in_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broker").write_text(BROKER)
    monkeypatch.setenv("SHOTWATCH_BROKER_URL_FILE", str(tmp_path / "broker"))
    assert find_deployment(tmp_path, None).broker_url == BROKER


async def test_a_stack_uses_the_servers_whose_addresses_lie_in_files(tmp_path: Path) -> None:
    (tmp_path / "broker").write_text(BROKER)
    named = {"SHOTWATCH_BROKER_URL_FILE": str(tmp_path / "broker")}
    claimed = Stack.claim(tmp_path, "files", facility=REPOSITORY / "facilities" / "hpls.yaml", settings=named)
    reported = with_settings(named, claimed.environment())
    await claimed.stop()
    assert reported["SHOTWATCH_BROKER_URL"] == BROKER
    assert "SHOTWATCH_BROKER_URL_FILE" not in reported, "its services would refuse to start with both"


async def test_the_key_for_the_api_is_read_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("shotwatch_key\n")
    monkeypatch.setenv(f"{API_KEY}_FILE", str(tmp_path / "key"))
    async with RestApi("http://query.example") as api:
        assert api._client.headers["Authorization"] == "Bearer shotwatch_key"


def test_one_name_means_one_thing() -> None:
    meanings: dict[str, set[str]] = {}
    for settings in installed_settings().values():
        for name, field in settings.model_fields.items():
            if field.description:
                meanings.setdefault(name, set()).add(field.description)
    assert {name: expected for name, expected in meanings.items() if len(expected) > 1} == {}
