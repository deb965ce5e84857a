"""docker-compose.yml: what can be held against the code and the tree without an engine."""

import re
import subprocess
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from shotwatch_cli.rest import API_KEY
from shotwatch_common.settings import BrokerSettings, Settings
from shotwatch_common.store.setup import SetupSettings
from shotwatch_embedded.services import path_services
from shotwatch_ingest.settings import IngestSettings
from tests.broker import TOPOLOGY
from tests.unit.test_deploy_broker import ACCOUNTS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "pyproject.toml").exists())
IMAGE_SETTINGS = set(re.findall(r"\bSHOTWATCH_\w+(?==)", (ROOT / "Dockerfile").read_text()))


def settings_of(service: str) -> type[Settings]:
    """The settings class of a service."""
    module = import_module(f"shotwatch_{service}.settings")
    found: type[Settings] = getattr(module, f"{service.title()}Settings")
    return found


def names(settings: type[Settings], *, required: bool) -> set[str]:
    """The variables that a service reads, or only those that it does not start without."""
    fields = settings.model_fields.items()
    return {f"SHOTWATCH_{name.upper()}" for name, field in fields if field.is_required() or not required}


def test_every_service_of_the_tree_is_there_and_built_from_its_own_folder():
    built = {name: each["build"]["args"]["SERVICE"] for name, each in SERVICES.items() if name in OURS}
    assert built == {name: name for name in OURS}
    assert {spec.name for spec in path_services()} <= built.keys()


@pytest.mark.parametrize("service", OURS)
def test_a_service_is_told_all_that_it_must_know_and_nothing_that_it_does_not(service: str):
    told = {name for name in SERVICES[service]["environment"] if name.startswith("SHOTWATCH_")}
    settings = settings_of(service)
    assert names(settings, required=True) <= told | IMAGE_SETTINGS
    assert told <= names(settings, required=False)


def test_the_command_line_is_told_where_the_servers_are():
    told = SERVICES["cli"]["environment"].keys()
    assert names(BrokerSettings, required=True) <= told | IMAGE_SETTINGS
    assert {"SHOTWATCH_QUERY_URL", API_KEY} <= told


def test_the_facility_file_lies_where_the_image_looks_for_it():
    looked_for = re.search(r"SHOTWATCH_FACILITY=(\S+)", (ROOT / "Dockerfile").read_text())
    assert looked_for is not None
    for name in OURS:
        assert {"source": "facility", "target": looked_for[1]} in SERVICES[name]["configs"]


def test_every_variable_is_a_secret_that_must_be_given_and_has_no_default():
    used = set(re.findall(r"\$\{(\w+):\?run deploy/make-env\}", TEXT))
    assert TEXT.replace("$$", "").count("$") == len(re.findall(r"\$\{\w+:\?run deploy/make-env\}", TEXT))
    example = (ROOT / ".env.example").read_text()
    assert used == set(re.findall(r"^(\w+)=$", example, re.MULTILINE))


def test_an_env_file_is_written_once_with_secrets_that_differ(tmp_path: Path):
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "make-env"
    script.write_text((ROOT / "deploy" / "make-env").read_text())
    (tmp_path / ".env.example").write_text((ROOT / ".env.example").read_text())
    subprocess.run(["bash", script], check=True)
    written = tmp_path / ".env"
    secrets = re.findall(r"^\w+=([0-9a-f]{48})$", written.read_text(), re.MULTILINE)
    assert len(secrets) == len(set(secrets)) == (ROOT / ".env.example").read_text().count("=\n")
    assert written.stat().st_mode & 0o077 == 0
    assert subprocess.run(["bash", script], capture_output=True).returncode != 0


def test_only_the_api_and_grafana_are_published_and_on_loopback():
    published = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert published.keys() == {"query", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    open_to_outside = {name for name, each in SERVICES.items() if "outside" in each.get("networks", ())}
    assert open_to_outside == published.keys()
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_the_api_listens_on_the_port_that_is_published():
    port = SERVICES["query"]["environment"]["SHOTWATCH_QUERY_PORT"]
    assert SERVICES["query"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_every_file_that_is_named_exists():
    files = [each["file"] for each in COMPOSE["configs"].values()]
    files += [source for source, _ in _mounts() if source.startswith(".")]
    files += [each["env_file"] for each in SERVICES.values() if isinstance(each.get("env_file"), str)]
    assert all((ROOT / file).exists() for file in files), files


def test_configs_and_volumes_are_declared_and_used():
    assert {each["source"] for one in SERVICES.values() for each in one.get("configs", ())} == set(
        COMPOSE["configs"]
    )
    assert {source for source, _ in _mounts() if "/" not in source} == set(COMPOSE["volumes"])


def test_the_store_has_the_target_that_its_setup_has_told():
    target = SetupSettings.model_fields["event_target"].default.split(":")[-2]
    told = SERVICES["store"]["environment"]
    assert {name for name in told if "NOTIFY" in name and not name.endswith(f"_{target}")} == set()
    assert told[f"MINIO_NOTIFY_AMQP_EXCHANGE_{target}"] == TOPOLOGY.objects.name
    assert told[f"MINIO_NOTIFY_AMQP_EXCHANGE_TYPE_{target}"] == TOPOLOGY.objects.type.value


def test_the_store_is_set_up_with_all_settings_that_this_takes():
    told = {name for name in SERVICES["store-setup"]["environment"] if name.startswith("SHOTWATCH_")}
    assert names(SetupSettings, required=True) <= told | IMAGE_SETTINGS
    assert told <= names(SetupSettings, required=False)


def test_nothing_waits_in_a_circle_and_what_must_be_healthy_says_when_it_is():
    order = {name: set(each.get("depends_on", {})) for name, each in SERVICES.items()}
    assert set(TopologicalSorter(order).static_order()) == set(SERVICES)
    for each in SERVICES.values():
        for other, on in each.get("depends_on", {}).items():
            if on["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"]


def test_whoever_talks_to_the_broker_has_an_account_there_and_its_password():
    told = re.findall(r"amqp://(\w+):\$\{BROKER_(\w+)_PASSWORD:", TEXT)
    assert [password.lower() for _, password in told] == [account for account, _ in told]
    assert {account for account, _ in told} <= set(ACCOUNTS)


def test_every_address_names_a_service():
    addresses = {value for each in SERVICES.values() for value in _addresses(each)}
    assert {urlsplit(address).hostname for address in addresses} <= set(SERVICES)


def test_the_servers_are_addressed_by_the_ports_that_they_listen_on():
    listening = {"broker": 5672, "database": 27017, "store": 9000, "models": 5000, "collector": 4318}
    for name in OURS:
        for address in _addresses(SERVICES[name]):
            host, port = urlsplit(address).hostname, urlsplit(address).port
            assert host in listening
            assert port in (None, listening[host])


def test_services_change_no_file_hold_no_privilege_and_may_finish_their_work():
    drain = IngestSettings.model_construct().drain_seconds
    for name in OURS:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert int(service["stop_grace_period"].removesuffix("s")) > drain


def test_prometheus_scrapes_every_service_where_it_answers():
    configuration = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    [scraped] = [found for job in configuration["scrape_configs"] for found in job.get("dns_sd_configs", ())]
    assert set(scraped["names"]) == {spec.name for spec in path_services()}
    assert f"SHOTWATCH_HEALTH_PORT={scraped['port']}" in (ROOT / "Dockerfile").read_text()


def test_grafana_and_the_collector_know_their_servers():
    datasources = yaml.safe_load((ROOT / "deploy/grafana/datasources/datasources.yml").read_text())
    hosts = {urlsplit(each["url"]).hostname for each in datasources["datasources"]}
    collector = yaml.safe_load((ROOT / "deploy/otel/collector.yaml").read_text())
    endpoints = [each["endpoint"] for each in collector["exporters"].values()]
    hosts |= {urlsplit(each if "//" in each else f"//{each}").hostname for each in endpoints}
    assert hosts == {"tempo", "loki", "prometheus"}
    pipelines = collector["service"]["pipelines"].values()
    parts = {name for pipeline in pipelines for names in pipeline.values() for name in names}
    declared = (collector[kind] for kind in ("receivers", "processors", "connectors", "exporters"))
    assert parts == {name for kind in declared for name in kind}


def _mounts() -> Iterator[tuple[str, str]]:
    for each in SERVICES.values():
        for mount in each.get("volumes", ()):
            source, target, *_ = mount.split(":")
            yield source, target


def _addresses(service: dict[str, Any]) -> Iterator[str]:
    for name, value in service.get("environment", {}).items():
        if "URL" in name or "ENDPOINT" in name:
            yield re.sub(r"\$\{\w+:\?[^}]*\}", "secret", value)


def test_the_settings_for_one_thread_are_those_of_the_embedded_stack():
    text = (ROOT / "deploy/settings/one-thread.env").read_text()
    told = dict(re.findall(r"^(\w+)=(.+)$", text, re.MULTILINE))
    assert told == dict(path_services()[0].environment)
