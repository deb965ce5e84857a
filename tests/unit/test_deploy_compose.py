"""docker-compose.yml: what can be held against the code and the tree without an engine."""

import base64
import hmac
import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from shotwatch_cli.rest import API_KEY
from shotwatch_common.actions import ObjectAction
from shotwatch_common.rights import DATABASE, MONITOR, STORE
from shotwatch_common.settings import (
    FILE,
    BrokerSettings,
    Settings,
    installed_settings,
    is_secret,
    read_secret,
    variable,
)
from shotwatch_common.topology import STAGES, STORE_EXCHANGE, Topology
from shotwatch_embedded.guarded_mlflow import ENGINEER_PASSWORD, READER_PASSWORD
from shotwatch_embedded.servers.models import models
from shotwatch_embedded.services import ONE_THREAD, path_services
from shotwatch_ingest.settings import IngestSettings
from shotwatch_operations.account_secrets import read_secrets
from shotwatch_operations.broker.accounts import read_passwords
from shotwatch_operations.database.setup import DatabaseSetupSettings
from shotwatch_operations.store.setup import SetupSettings
from tests.ports import PORTS
from tests.unit.test_broker_accounts import ACCOUNTS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SECRETS_LIST = (ROOT / "deploy" / "secrets.txt").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "pyproject.toml").exists())
SECRETS = {
    variable(name)
    for settings in installed_settings().values()
    for name, field in settings.model_fields.items()
    if is_secret(field)
}
API_KEY_FILE = API_KEY + FILE
MADE = {name: each for name, each in COMPOSE["secrets"].items() if name != "api-key"}
"""The secrets that deploy/make-env makes."""
SIGNED = {"store-monitor-secret-key": {"store-monitor-token"}}
"""Secret → what it signs, in which it does not stand."""
IMAGE_SETTINGS = set(re.findall(r"\bSHOTWATCH_\w+(?==)", (ROOT / "Dockerfile").read_text()))


def settings_of(service: str) -> type[Settings]:
    """The settings class of a service."""
    module = import_module(f"shotwatch_{service}.settings")
    found: type[Settings] = getattr(module, f"{service.title()}Settings")
    return found


def names(settings: type[Settings], *, required: bool) -> set[str]:
    """The variables that a service reads, or only those that it does not start without."""
    fields = settings.model_fields.items()
    return {variable(name) for name, field in fields if field.is_required() or not required}


def given(environment: Iterable[str]) -> set[str]:
    """The settings that an environment holds, or names the files of."""
    ours = (name for name in environment if name.startswith("SHOTWATCH_"))
    return {name.removesuffix(FILE) if name.removesuffix(FILE) in SECRETS else name for name in ours}


def test_every_service_of_the_tree_is_there_and_built_from_its_own_folder():
    built = {name: each["build"]["args"]["SERVICE"] for name, each in SERVICES.items() if name in OURS}
    assert built == {name: name for name in OURS}
    assert {spec.name for spec in path_services()} <= built.keys()


@pytest.mark.parametrize("service", OURS)
def test_a_service_is_given_all_that_it_must_know_and_nothing_that_it_does_not(service: str):
    reported = given(SERVICES[service]["environment"])
    settings = settings_of(service)
    assert names(settings, required=True) <= reported | IMAGE_SETTINGS
    assert reported <= names(settings, required=False)


def test_the_command_line_knows_where_the_servers_are():
    reported = given(SERVICES["cli"]["environment"])
    assert names(BrokerSettings, required=True) <= reported | IMAGE_SETTINGS
    assert {"SHOTWATCH_QUERY_URL", API_KEY_FILE} <= reported


def test_the_command_line_has_the_key_of_whoever_runs_it_from_a_file_that_they_name(tmp_path: Path):
    """As Compose fills in variables: `${X:-default}` and `${X:+instead}` treat an empty X as unset."""
    reported, file = SERVICES["cli"]["environment"][API_KEY_FILE], COMPOSE["secrets"]["api-key"]["file"]
    assert "api-key" in SERVICES["cli"]["secrets"]
    filled = f'printf "%s %s" "{reported}" "{file}"'
    by_key = {key: {**os.environ, API_KEY_FILE: key} for key in ("", str(tmp_path / "key"))}
    done = {key: subprocess.check_output(["sh", "-c", filled], env=env) for key, env in by_key.items()}
    assert done == {
        "": b" /dev/null",
        str(tmp_path / "key"): f"/run/secrets/api-key {tmp_path / 'key'}".encode(),
    }
    assert read_secret(API_KEY, {API_KEY_FILE: ""}) is None, "no key was named"


def test_the_facility_file_lies_where_the_image_expects_it():
    image_path = re.search(r"SHOTWATCH_FACILITY=(\S+)", (ROOT / "Dockerfile").read_text())
    assert image_path is not None
    for name in OURS:
        assert {"source": "facility", "target": image_path[1]} in SERVICES[name]["configs"]


def test_every_secret_is_a_file_that_make_env_writes_and_somebody_uses():
    listed = re.findall(r"^([a-z][a-z-]+) +\S", SECRETS_LIST, re.MULTILINE)
    assert {name: {"file": f"deploy/secrets/{name}"} for name in listed} == MADE
    assert {source for each in SERVICES.values() for source, _ in _secrets(each)} == set(COMPOSE["secrets"])


@pytest.mark.parametrize("name", SERVICES)
def test_no_environment_holds_a_secret_and_each_secret_that_is_named_is_mounted(name: str):
    service = SERVICES[name]
    reported = dict(service.get("environment", {}))
    mounted = {f"/run/secrets/{target}" for _, target in _secrets(service)}
    assert {value for value in reported.values() if str(value).startswith("/run/secrets/")} <= mounted
    values = {key: value for key, value in reported.items() if value and not key.endswith("FILE")}
    assert "$" not in str(values)
    assert [key for key in values if re.search("PASSWORD|SECRET|TOKEN", key)] == []
    assert [value for value in values.values() if re.search("//[^/]*@", str(value))] == []


def test_no_command_has_a_secret_as_an_argument():
    """`ps` shows arguments to every user of the machine. A shell puts a file there by `$(cat FILE)`."""
    manifests = (ROOT / "deploy" / "k8s").rglob("*.yaml")
    pages = (ROOT / "docs").glob("*.md")
    inserted = re.compile(r"(\$\(|`)\s*(cat\s|<)\s*/run/secrets/")
    files = [ROOT / "docker-compose.yml", *manifests, *pages]
    assert [path for path in files if inserted.search(path.read_text(encoding="utf-8"))] == []


def make_env(folder: Path) -> Path:
    """Run a copy of deploy/make-env in a folder of its own; where it wrote."""
    (folder / "deploy").mkdir(exist_ok=True)
    for name in ("make-env", "secrets.txt"):
        (folder / "deploy" / name).write_text((ROOT / "deploy" / name).read_text())
    subprocess.run(["bash", folder / "deploy" / "make-env"], check=True)
    return folder / "deploy" / "secrets"


def test_secrets_are_made_once_and_differ_and_nobody_else_on_the_machine_reaches_them(tmp_path: Path):
    secrets = make_env(tmp_path)
    made = {path.name: path.read_text() for path in secrets.iterdir()}
    assert made.keys() == set(MADE)
    random = [value for value in made.values() if re.fullmatch("[0-9a-f]{48}", value)]
    assert len(random) == len(set(random)) == SECRETS_LIST.count("  random\n")
    password = made["database-query-password"]
    assert made["database-query-url"] == f"mongodb://query:{password}@database:27017/shotwatch"
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}
    make_env(tmp_path)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == made


def test_the_token_of_prometheus_is_signed_by_the_key_of_an_account_that_reads_metrics_alone(tmp_path: Path):
    """A JSON Web Token as MinIO verifies it: HMAC with SHA-512, by the secret key of the account in `sub`."""
    secrets = make_env(tmp_path)
    signed, _, signature = (secrets / "store-monitor-token").read_text().rpartition(".")
    key = (secrets / "store-monitor-secret-key").read_bytes()
    assert _decoded(signature) == hmac.digest(key, signed.encode(), "sha512")
    header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
    assert header == {"alg": "HS512", "typ": "JWT"}
    assert claims == {"iss": "prometheus", "sub": f"shotwatch-{MONITOR}"}


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_store_shows_its_metrics_to_whoever_has_the_token_and_prometheus_has_it():
    assert SERVICES["store"]["environment"]["MINIO_PROMETHEUS_AUTH_TYPE"] == "jwt"
    token = dict(_secrets(SERVICES["prometheus"]))["store-monitor-token"]
    assert _scraped("store")["authorization"] == {"credentials_file": f"/run/secrets/{token}"}
    holding = [
        name for name, each in SERVICES.items() if any("store-monitor" in s for s, _ in _secrets(each))
    ]
    assert holding == ["store-setup", "prometheus"]


@pytest.mark.parametrize("name", ["broker-ingest-password", "store-secret-key", "store-monitor-secret-key"])
def test_a_secret_that_was_removed_is_made_anew_with_all_that_is_made_of_it(tmp_path: Path, name: str):
    secrets = make_env(tmp_path)
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    (secrets / name).unlink()
    make_env(tmp_path)
    after = {path.name: path.read_text() for path in secrets.iterdir()}
    users = {each for each, value in before.items() if before[name] in value} | SIGNED.get(name, set())
    assert len(users) > 1
    assert {each for each in before if before[each] != after[each]} == users
    assert all(after[name] in after[each] for each in users - SIGNED.get(name, set()))


def test_a_service_reads_the_new_secret_when_it_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What Compose mounts for `ingest`, before and after the rotation of its password."""
    secrets, reported = make_env(tmp_path), SERVICES["ingest"]["environment"]
    targets = {f"/run/secrets/{target}": secrets / source for source, target in _secrets(SERVICES["ingest"])}
    for name, value in reported.items():
        monkeypatch.setenv(name, str(targets.get(value, value)))
    monkeypatch.setenv("SHOTWATCH_FACILITY", "facility.yaml")
    before = IngestSettings.load().broker_url
    (secrets / "broker-ingest-password").unlink()
    make_env(tmp_path)
    after = IngestSettings.load().broker_url
    assert before != after
    password = (secrets / "broker-ingest-password").read_text()
    assert after.get_secret_value() == f"amqp://ingest:{password}@broker:5672/shotwatch"


def test_the_brokers_accounts_have_the_passwords_that_were_made(tmp_path: Path):
    secrets = make_env(tmp_path)
    assert read_passwords(secrets).keys() == set(ACCOUNTS)
    mounted = {target for _, target in _secrets(SERVICES["broker-definitions"])}
    assert mounted == {f"broker-{name}-password" for name in ACCOUNTS}


def test_the_broker_has_a_random_erlang_cookie_that_nobody_else_has():
    assert re.search(r"^broker-cookie +random$", SECRETS_LIST, re.MULTILINE)
    holding = {name for name, each in SERVICES.items() if "broker-cookie" in {s for s, _ in _secrets(each)}}
    assert holding == {"broker"}


def test_the_broker_listens_to_other_nodes_inside_its_container_alone():
    """One packet to that port ends it."""
    environment = SERVICES["broker"]["environment"]
    assert environment["RABBITMQ_NODENAME"].endswith("@localhost")
    assert "inet_dist_use_interface {127,0,0,1}" in environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]
    assert environment["ERL_EPMD_ADDRESS"] == "127.0.0.1"


def test_the_broker_installs_its_cookie_in_place_of_an_older_one_before_it_starts(tmp_path: Path):
    """Its entrypoint, with folders of the test and a program that ends in the place of the server."""
    cookie, secrets = tmp_path / ".erlang.cookie", make_env(tmp_path)
    cookie.write_text("OLDER")
    cookie.chmod(0o400)
    server = tmp_path / "docker-entrypoint.sh"
    server.write_text('#!/bin/sh\necho "$@"\n')
    server.chmod(0o700)
    command = [
        each.replace("/run/secrets", str(secrets)).replace("/var/lib/rabbitmq", str(tmp_path))
        for each in SERVICES["broker"]["entrypoint"]
    ]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for _start in range(2):
        started = subprocess.check_output(command, env=environment, text=True)
        assert started == "rabbitmq-server\n"
        assert cookie.read_text() == (secrets / "broker-cookie").read_text()
        assert cookie.stat().st_mode & 0o777 == 0o400


def test_only_the_set_up_of_the_broker_has_the_account_that_declares():
    users = {name for name, each in SERVICES.items() if "broker-setup-url" in {s for s, _ in _secrets(each)}}
    assert users == {"broker-setup"}
    for name in OURS:
        assert "broker-setup" in SERVICES[name]["depends_on"], "services wait until all is declared"


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_limits_and_no_privilege(name: str):
    service = SERVICES[name]
    assert {"cpus", "mem_limit", "pids_limit"} <= service.keys()
    assert service["cpus"] <= 2, "Docker refuses more than the machine has"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.keys().isdisjoint({"privileged", "cap_add", "pid", "ipc", "devices"})


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_writes_to_its_volumes_and_to_memory_alone(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}, "its log is bounded"


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_sees_a_folder_of_the_machine_but_what_this_tree_configures(name: str):
    mounts = [mount.split(":") for mount in SERVICES[name].get("volumes", ())]
    of_machine = [mount for mount in mounts if mount[0] not in COMPOSE["volumes"]]
    assert all(source.startswith("./deploy/") and mode == ["ro"] for source, _, *mode in of_machine)


def test_no_container_is_configured_to_run_as_root_but_the_one_that_writes_to_a_volume_of_root():
    root = {name for name, each in SERVICES.items() if each.get("user") in ("0:0", "0", "root")}
    assert root == {"broker-definitions"}, "the collector reads no files"


def needs(service: str) -> set[str]:
    """The servers that a service needs, by its settings and by what it imports."""
    folder = ROOT / "services" / service / "src"
    code = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    needed = {"database", "store"}
    if issubclass(settings_of(service), BrokerSettings):
        needed.add("broker")
    if re.search(r"^from shotwatch_common\.(registry|promoted) import", code, re.MULTILINE):
        needed.add("models")
    return needed | ({"collector"} if service != "training" else set())


NEEDS = {
    **{service: needs(service) for service in OURS},
    "cli": {"broker", "database", "store", "models", "query"},
    "store-setup": {"store"},
    "database-setup": {"database"},
    "store": {"broker"},
    "prometheus": {"broker", "store", "query", "ingest"},
    "collector": {"tempo", "loki", "prometheus"},
    "grafana": {"tempo", "loki", "prometheus"},
}
"""Who must reach which server."""


@pytest.mark.parametrize("name", NEEDS)
def test_a_container_reaches_the_servers_that_it_needs(name: str):
    assert NEEDS[name] <= reachable(name)


@pytest.mark.parametrize("name", [*OURS, "cli"])
def test_a_service_reaches_no_server_that_it_does_not_need(name: str):
    servers = {"broker", "database", "store", "models", "collector", "tempo", "loki", "prometheus", "grafana"}
    assert reachable(name) & servers <= NEEDS[name]


def test_what_stores_telemetry_is_reached_by_the_collector_and_by_who_shows_it_alone():
    for server in ("tempo", "loki", "prometheus"):
        callers = {name for name in SERVICES if server in reachable(name)}
        assert callers - {"tempo", "loki"} == {"collector", "grafana", "prometheus"} - {server}


def reachable(name: str) -> set[str]:
    own = set(SERVICES[name].get("networks", ()))
    return {other for other in SERVICES if own & listening(other)} - {name}


def listening(name: str) -> set[str]:
    """Return the networks where a server listens: those where it has the name that it listens on, or all."""
    networks = SERVICES[name].get("networks", ())
    reported = re.search(r"--web\.listen-address=(.+):", "\n".join(SERVICES[name].get("command", ())))
    if reported is None:
        return set(networks)
    return {each for each, own in networks.items() if reported[1] in own.get("aliases", ())}


def test_prometheus_is_called_by_the_name_that_it_has_where_it_listens():
    """Who shares more networks with it would be given any of its addresses for the name `prometheus`."""
    collector = yaml.safe_load((ROOT / "deploy/otel/collector.yaml").read_text())
    for address in (
        collector["exporters"]["otlphttp/prometheus"]["endpoint"],
        SERVICES["prometheus"]["healthcheck"]["test"][-1],
    ):
        assert urlsplit(address).netloc == "prometheus.monitoring:9090"
    assert "--web.listen-address=prometheus.monitoring:9090" in SERVICES["prometheus"]["command"]


def test_no_service_writes_a_metric_but_those_that_are_made_of_its_spans():
    collector = yaml.safe_load((ROOT / "deploy/otel/collector.yaml").read_text())
    pipelines = collector["service"]["pipelines"]
    for name, pipeline in pipelines.items():
        if {each.partition("/")[2] or each for each in pipeline["exporters"]} & {"prometheus"}:
            assert set(pipeline["receivers"]) <= set(collector["connectors"]), name
    assert {name for name, each in pipelines.items() if "otlp" in each["receivers"]} == {"traces", "logs"}


def test_what_a_service_sends_has_the_address_that_it_came_from_and_is_bounded():
    """The sender is noted before spans and lines of several senders are put together."""
    collector = yaml.safe_load((ROOT / "deploy/otel/collector.yaml").read_text())
    [noted] = collector["processors"]["attributes/sender"]["actions"]
    assert (noted["from_context"], noted["action"]) == ("client.address", "upsert")
    for pipeline in ("traces", "logs"):
        processors = collector["service"]["pipelines"][pipeline]["processors"]
        assert processors == ["memory_limiter", "attributes/sender", "batch"]
    limit = int(SERVICES["collector"]["mem_limit"].removesuffix("m"))
    assert collector["processors"]["memory_limiter"]["limit_mib"] <= 0.8 * limit
    assert collector["connectors"]["spanmetrics"]["aggregation_cardinality_limit"]


def test_only_the_api_and_grafana_are_published_and_on_loopback():
    published = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert published.keys() == {"query", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    outside = {name for name, each in COMPOSE["networks"].items() if each != {"internal": True}}
    users = [name for name, each in SERVICES.items() if outside & set(each.get("networks", ()))]
    assert len(outside) == len(users)
    assert set(users) == published.keys()
    used = {network for each in SERVICES.values() for network in each.get("networks", ())}
    assert used == set(COMPOSE["networks"])


def test_the_api_listens_on_the_port_that_is_published():
    port = SERVICES["query"]["environment"]["SHOTWATCH_QUERY_PORT"]
    assert SERVICES["query"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_every_file_that_is_named_exists():
    files = [each["file"] for each in COMPOSE["configs"].values()]
    files += [source for source, _ in _mounts() if source.startswith(".")]
    files += [each["env_file"] for each in SERVICES.values() if isinstance(each.get("env_file"), str)]
    assert all((ROOT / file).exists() for file in files), files


def test_only_who_may_write_blocks_to_the_store_writes_to_the_block_cache():
    mounts = {
        name: mount
        for name, each in SERVICES.items()
        for mount in each.get("volumes", ())
        if mount.startswith("blocks:")
    }
    writers = {name for name, mount in mounts.items() if not mount.endswith(":ro")}
    assert writers == {
        name for name, rights in STORE.items() if ObjectAction.WRITE in rights.get("blocks", ())
    }
    assert all(ObjectAction.READ in STORE[name]["blocks"] for name in mounts.keys() - writers)
    cached = {
        name for name, each in SERVICES.items() if "SHOTWATCH_BLOCK_CACHE" in each.get("environment", {})
    }
    assert cached == set(mounts)
    options = COMPOSE["volumes"]["blocks"]["driver_opts"]["o"].split(",")
    assert {"uid=10001", "mode=0700"} <= set(options), "the user of the images, and nobody else"


def test_configs_and_volumes_are_declared_and_used():
    assert {each["source"] for one in SERVICES.values() for each in one.get("configs", ())} == set(
        COMPOSE["configs"]
    )
    assert {source for source, _ in _mounts() if "/" not in source} == set(COMPOSE["volumes"])


def test_the_store_has_the_target_that_its_setup_has_set():
    target = SetupSettings.model_fields["event_target"].default.split(":")[-2]
    reported = SERVICES["store"]["environment"]
    assert {name for name in reported if "NOTIFY" in name and not name.endswith(f"_{target}")} == set()
    assert reported[f"MINIO_NOTIFY_AMQP_EXCHANGE_{target}"] == STORE_EXCHANGE
    assert reported[f"MINIO_NOTIFY_AMQP_EXCHANGE_TYPE_{target}"] == STORE_EXCHANGE.removeprefix("amq.")
    assert reported[f"MINIO_NOTIFY_AMQP_ROUTING_KEY_{target}"] == Topology().objects.name


def test_the_sweep_leaves_new_objects_to_the_notifications_of_the_store():
    """Otherwise each object would be fed in twice, and the inbox listed twice a second."""
    assert SERVICES["store"]["environment"]["MINIO_NOTIFY_AMQP_ENABLE_SHOTWATCH"] == "on"
    reported = SERVICES["ingest"]["environment"]
    assert (reported["SHOTWATCH_INBOX_SWEEP_SECONDS"], reported["SHOTWATCH_INBOX_NOTIFICATION_SECONDS"]) == (
        10,
        30,
    )


def test_the_store_is_set_up_with_all_settings_that_this_takes():
    reported = given(SERVICES["store-setup"]["environment"])
    assert names(SetupSettings, required=True) <= reported | IMAGE_SETTINGS
    assert reported <= names(SetupSettings, required=False)


def test_the_database_is_set_up_with_all_settings_that_this_takes():
    reported = given(SERVICES["database-setup"]["environment"])
    assert names(DatabaseSetupSettings, required=True) <= reported | IMAGE_SETTINGS
    assert reported <= names(DatabaseSetupSettings, required=False)


def test_every_service_has_its_own_account_of_the_database_and_of_the_store():
    account_of = {**{name: name for name in OURS}, "cli": "engineer"}
    addresses = dict(re.findall(r"^(database-[a-z]+-url) +(\S+)$", SECRETS_LIST, re.MULTILINE))
    for name, account in account_of.items():
        reported, mounted = SERVICES[name]["environment"], dict(map(reversed, _secrets(SERVICES[name])))
        assert reported["SHOTWATCH_DATABASE_URL_FILE"] == "/run/secrets/database-url"
        assert mounted["database-url"] == f"database-{account}-url"
        address = f"mongodb://{account}:{{database-{account}-password}}@database:27017/shotwatch"
        assert addresses[f"database-{account}-url"] == address
        assert reported["SHOTWATCH_STORE_ACCESS_KEY"] == f"shotwatch-{account}"
        assert reported["SHOTWATCH_STORE_SECRET_KEY_FILE"] == "/run/secrets/store-secret-key"
        assert mounted["store-secret-key"] == f"store-{account}-secret-key"
    assert set(account_of.values()) == DATABASE.keys() == STORE.keys() - {"uploader", "researcher", MONITOR}


def test_the_set_ups_make_every_account_with_the_secret_that_its_service_has(tmp_path: Path):
    made = make_env(tmp_path)
    for name, table, secret in (
        ("database-setup", DATABASE, "database-{}-password"),
        ("store-setup", STORE, "store-{}-secret-key"),
    ):
        assert SERVICES[name]["environment"]["SHOTWATCH_ACCOUNTS_FOLDER"] == "/run/secrets"
        mounted = {target for _, target in _secrets(SERVICES[name])}
        assert {secret.format(account) for account in table} <= mounted
        assert read_secrets(made, table, secret).keys() == table.keys()


def test_the_administrators_secrets_are_with_the_servers_and_their_set_ups_alone():
    for secrets, server in (
        ({"database-root-password", "database-root-url"}, "database"),
        ({"store-access-key", "store-secret-key", "store-env"}, "store"),
    ):
        holding = {
            name for name, each in SERVICES.items() if secrets & {source for source, _ in _secrets(each)}
        }
        assert holding == {server, f"{server}-setup"}


def test_nothing_waits_in_a_circle_and_what_must_be_healthy_states_when_it_is():
    order = {name: set(each.get("depends_on", {})) for name, each in SERVICES.items()}
    assert set(TopologicalSorter(order).static_order()) == set(SERVICES)
    for each in SERVICES.values():
        for other, on in each.get("depends_on", {}).items():
            if on["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"]


def test_whoever_talks_to_the_broker_has_an_account_there_and_its_password():
    reported = re.findall(r"amqp://(\w+):\{broker-(\w+)-password\}@", SECRETS_LIST)
    assert all(account == password for account, password in reported)
    assert {account for account, _ in reported} <= set(ACCOUNTS)


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


def test_services_may_finish_their_work():
    drain = IngestSettings.model_construct().drain_seconds
    for name in OURS:
        service = SERVICES[name]
        assert int(service["stop_grace_period"].removesuffix("s")) > drain


def test_prometheus_scrapes_every_service_where_it_answers():
    configuration = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    [scraped] = [found for job in configuration["scrape_configs"] for found in job.get("dns_sd_configs", ())]
    assert set(scraped["names"]) == {spec.name for spec in path_services()}
    assert f"SHOTWATCH_HEALTH_PORT={scraped['port']}" in (ROOT / "Dockerfile").read_text()


def test_a_service_is_scraped_for_its_own_stages_alone():
    """Prometheus' own rule: its pattern must match all of the labels' values, joined by semicolons."""
    [rule] = _scraped("services")["metric_relabel_configs"]
    assert (rule["action"], rule["source_labels"]) == ("keep", ["job", "stage"])
    kept = {(job, stage) for job in OURS for stage in STAGES if re.fullmatch(rule["regex"], f"{job};{stage}")}
    assert kept == {(stage, stage) for stage in STAGES if stage in OURS} | {
        ("features", "detail"),
        ("inference", "shadow"),
    }
    assert all(re.fullmatch(rule["regex"], f"{spec.name};") for spec in path_services()), "without a stage"


def test_grafana_and_the_collector_know_their_servers():
    datasources = yaml.safe_load((ROOT / "deploy/grafana/datasources/datasources.yml").read_text())
    hosts = {urlsplit(each["url"]).hostname for each in datasources["datasources"]}
    collector = yaml.safe_load((ROOT / "deploy/otel/collector.yaml").read_text())
    endpoints = [each["endpoint"] for each in collector["exporters"].values()]
    hosts |= {urlsplit(each if "//" in each else f"//{each}").hostname for each in endpoints}
    assert hosts == {"tempo", "loki", "prometheus", "prometheus.monitoring"}
    pipelines = collector["service"]["pipelines"].values()
    parts = {name for pipeline in pipelines for names in pipeline.values() for name in names}
    declared = (collector[kind] for kind in ("receivers", "processors", "connectors", "exporters"))
    assert parts == {name for kind in declared for name in kind}


def _scraped(job: str) -> dict[str, Any]:
    configuration = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    [found] = [each for each in configuration["scrape_configs"] if each["job_name"] == job]
    return dict(found)


def _mounts() -> Iterator[tuple[str, str]]:
    for each in SERVICES.values():
        for mount in each.get("volumes", ()):
            source, target, *_ = mount.split(":")
            yield source, target


def _secrets(service: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the secrets that a container has: name, and file in /run/secrets."""
    for each in service.get("secrets", ()):
        yield (each, each) if isinstance(each, str) else (each["source"], each["target"])


def _addresses(service: dict[str, Any]) -> Iterator[str]:
    for name, value in service.get("environment", {}).items():
        if ("URL" in name or "ENDPOINT" in name) and not name.endswith(FILE):
            yield value
    lines = SECRETS_LIST.splitlines()
    used = {source for source, _ in _secrets(service)}
    for name, text in (line.split(maxsplit=1) for line in lines if line and not line.startswith("#")):
        if name in used and "://" in text:
            yield re.sub(r"\{[a-z-]+\}", "secret", text[text.rindex("=") + 1 if "=" in text else 0 :])


def test_the_settings_for_one_thread_are_those_of_the_embedded_stack():
    text = (ROOT / "deploy/settings/one-thread.env").read_text()
    reported = dict(re.findall(r"^(\w+)=(.+)$", text, re.MULTILINE))
    assert reported == ONE_THREAD


MODELS = {
    **{service: "reader" for service in OURS if "models" in NEEDS[service]},
    "training": "engineer",
    "cli": "engineer",
}
"""Service → its account of MLflow."""


def test_who_reads_models_cannot_change_them_and_others_have_no_login():
    for service, each in SERVICES.items():
        targets = {s["target"]: s["source"] for s in each.get("secrets", ()) if isinstance(s, dict)}
        user = MODELS.get(service)
        assert each.get("environment", {}).get("SHOTWATCH_MODELS_USER") == user
        assert targets.get("models-password") == (f"models-{user}-password" if user else None)
    assert set(MODELS) | {"models"} == {
        name for name, each in SERVICES.items() if "models" in each.get("networks", ())
    }


def test_mlflow_runs_as_in_the_embedded_stack(tmp_path: Path):
    embedded, deployed = models(tmp_path, "engineers", "readers", PORTS), SERVICES["models"]
    assert deployed["command"][:2] == ["uvicorn", "--factory"]
    package, application = "shotwatch_embedded.", deployed["command"][2]
    assert package + application in embedded.command
    (config,) = deployed["configs"]
    mounted = ROOT / COMPOSE["configs"][config["source"]]["file"]
    assert import_module(package + application.partition(":")[0]).__file__ == str(mounted)
    assert Path(config["target"]).parent == Path(
        deployed["command"][deployed["command"].index("--app-dir") + 1]
    )

    ours = {name for name in embedded.environment if "MLFLOW_" in name} | {ENGINEER_PASSWORD, READER_PASSWORD}
    reported = {name.removesuffix(FILE) for name in deployed["environment"]}
    assert reported == ours | {"MLFLOW_SERVER_ALLOWED_HOSTS"}
    for name in ("_MLFLOW_SGI_NAME", "_MLFLOW_SERVER_ARTIFACT_ROOT", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"):
        assert deployed["environment"][name] == embedded.environment[name]
