"""The Kubernetes manifests, as kustomize renders them (deploy/check.py holds them against the schemas)."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from shotwatch_common.settings import BrokerSettings
from shotwatch_common.topology import STAGES
from shotwatch_embedded.services import path_services
from shotwatch_ingest.settings import IngestSettings
from tests.unit.test_deploy_compose import IMAGE_SETTINGS, names, settings_of

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(path.parent.name for path in ROOT.glob("deploy/k8s/overlays/*/kustomization.yaml"))
QUERY_URL = "SHOTWATCH_QUERY_URL"
Objects = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> dict[str, Objects]:
    """Kind → name → object, of an overlay."""
    kubectl = Path(sys.executable).with_name("kubectl")
    folder = ROOT / "deploy" / "k8s" / "overlays" / request.param
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True)
    found: dict[str, Objects] = {}
    for each in yaml.safe_load_all(done.stdout):
        found.setdefault(each["kind"], {})[each["metadata"]["name"]] = each
    return found


def pods(objects: dict[str, Objects]) -> Objects:
    """Service, training and the command line too → its pod's template."""
    found = {name: each["spec"]["template"] for name, each in objects["Deployment"].items()}
    jobs = {n: each["spec"]["jobTemplate"]["spec"]["template"] for n, each in objects["CronJob"].items()}
    return {name.removeprefix("shotwatch-"): each for name, each in {**found, **jobs}.items()}


def test_every_service_of_the_path_is_deployed_from_its_image(objects: dict[str, Objects]):
    assert pods(objects).keys() == {spec.name for spec in path_services()} | {"training", "cli"}
    for service, pod in pods(objects).items():
        assert re.search(rf"\bshotwatch-{service}(:|$)", pod["spec"]["containers"][0]["image"])


def test_every_pod_runs_restricted_and_without_a_token(objects: dict[str, Objects]):
    for pod in pods(objects).values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_a_pod_is_given_longer_to_end_than_the_longest_handler_takes(objects: dict[str, Objects]):
    drain = IngestSettings.model_construct().drain_seconds
    for each in objects["Deployment"].values():
        grace = each["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace > drain


def test_a_service_is_told_all_that_it_must_know_but_secrets(objects: dict[str, Objects]):
    shared = {
        name
        for each in objects["ConfigMap"].values()
        for name in each["data"]
        if name.startswith("SHOTWATCH_")
    }
    secret = {"SHOTWATCH_DATABASE_URL", "SHOTWATCH_STORE_ACCESS_KEY", "SHOTWATCH_STORE_SECRET_KEY"}
    for service, pod in pods(objects).items():
        own = {each["name"] for each in pod["spec"]["containers"][0].get("env", ())}
        is_cli = service == "cli"
        settings, its_own = (BrokerSettings, {QUERY_URL}) if is_cli else (settings_of(service), set())
        assert names(settings, required=True) <= own | shared | IMAGE_SETTINGS | secret
        assert own | shared | secret <= names(settings, required=False) | its_own


def test_a_pod_has_the_accounts_of_its_own_service(objects: dict[str, Objects]):
    for service, pod in pods(objects).items():
        secrets = [each["secretRef"]["name"] for each in _env_from(pod) if "secretRef" in each]
        assert secrets == [f"shotwatch-servers-{'engineer' if service == 'cli' else service}"]


def test_references_to_configuration_are_to_what_is_there(objects: dict[str, Objects]):
    for pod in pods(objects).values():
        refs = [each["configMapRef"]["name"] for each in _env_from(pod) if "configMapRef" in each]
        refs += [each["configMap"]["name"] for each in pod["spec"]["volumes"] if "configMap" in each]
        assert set(refs) <= objects["ConfigMap"].keys()


def test_each_queue_scales_one_service_and_busy_replicas_count(objects: dict[str, Objects]):
    triggers = [
        (each["spec"]["scaleTargetRef"]["name"], trigger)
        for each in objects["ScaledObject"].values()
        for trigger in each["spec"]["triggers"]
    ]
    queues = sorted(trigger["metadata"]["queueName"] for _, trigger in triggers)
    assert queues == sorted(f"shotwatch.{stage}" for stage in STAGES)
    assert {trigger["metadata"]["protocol"] for _, trigger in triggers} == {"http"}
    assert {name for name, _ in triggers} <= objects["Deployment"].keys()
    assert {trigger["authenticationRef"]["name"] for _, trigger in triggers} <= set(
        objects["TriggerAuthentication"]
    )


def test_only_what_keeps_no_time_may_go_to_none(objects: dict[str, Objects]):
    may_go = {name for name, each in objects["ScaledObject"].items() if each["spec"]["minReplicaCount"] == 0}
    assert may_go <= {"shotwatch-inference"}


def test_replicas_belong_to_the_autoscaler_or_to_the_manifest_never_to_both(objects: dict[str, Objects]):
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in objects["ScaledObject"].values()}
    fixed = {name for name, each in objects["Deployment"].items() if "replicas" in each["spec"]}
    assert scaled.isdisjoint(fixed)
    assert scaled | fixed == objects["Deployment"].keys()


def test_each_deployment_has_a_disruption_budget_and_spreads_its_own_pods(objects: dict[str, Objects]):
    for name, each in objects["Deployment"].items():
        own = each["spec"]["selector"]["matchLabels"]
        assert own.items() <= each["spec"]["template"]["metadata"]["labels"].items()
        assert objects["PodDisruptionBudget"][name]["spec"]["selector"]["matchLabels"] == own
        for spread in each["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert spread["labelSelector"]["matchLabels"] == own


def test_traffic_is_denied_by_default_and_let_out_to_the_servers_that_are_told_of(
    objects: dict[str, Objects],
):
    policies = objects["NetworkPolicy"]
    closed = policies["nothing-by-default"]["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ports = {port["port"] for rule in policies["to-servers"]["spec"]["egress"] for port in rule["ports"]}
    told = (value for each in objects["ConfigMap"].values() for value in each["data"].values())
    assert {urlsplit(value).port for value in told if value.startswith("http://")} <= ports


def test_prometheus_may_scrape_each_service_at_the_port_that_its_pods_name(objects: dict[str, Objects]):
    policy = objects["NetworkPolicy"]["to-metrics"]["spec"]
    [port] = [port["port"] for rule in policy["ingress"] for port in rule["ports"]]
    for each in objects["Deployment"].values():
        pod = each["spec"]["template"]
        assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        told = pod["metadata"]["annotations"]["prometheus.io/port"]
        open_ports = pod["spec"]["containers"][0]["ports"]
        assert [str(each["containerPort"]) for each in open_ports if each["name"] == port] == [told]


def test_the_api_is_served_by_its_pods(objects: dict[str, Objects]):
    service = objects["Service"]["shotwatch-query"]["spec"]
    pod = pods(objects)["query"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    [container] = pod["spec"]["containers"]
    [port] = [each["containerPort"] for each in container["ports"] if each["name"] == "http"]
    assert {"name": "SHOTWATCH_QUERY_PORT", "value": str(port)} in container["env"]


def test_the_command_line_is_there_when_asked_for_and_finds_the_api(objects: dict[str, Objects]):
    job = objects["CronJob"]["shotwatch-cli"]["spec"]
    assert job["suspend"] is True
    assert job["jobTemplate"]["spec"]["activeDeadlineSeconds"] <= 8 * 3600
    [container] = pods(objects)["cli"]["spec"]["containers"]
    told = {each["name"]: each.get("value", "") for each in container["env"]}
    assert urlsplit(told[QUERY_URL]).hostname in objects["Service"]


def _env_from(pod: dict[str, Any]) -> list[dict[str, Any]]:
    [container] = pod["spec"]["containers"]
    found: list[dict[str, Any]] = container["envFrom"]
    return found
