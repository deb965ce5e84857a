"""The Kubernetes manifests, as kustomize renders them (deploy/check.py holds them against the schemas)."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from shotwatch_common.settings import BrokerSettings
from shotwatch_common.topology import STAGES, Topology
from shotwatch_embedded.services import path_services
from shotwatch_ingest.settings import IngestSettings
from tests.unit.test_deploy_compose import (
    IMAGE_SETTINGS,
    MODELS,
    NEEDS,
    OURS,
    SERVICES,
    given,
    names,
    settings_of,
)

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("policy", ROOT / "deploy" / "policy.py")
assert spec is not None
assert spec.loader is not None
policy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(policy)
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


def test_no_object_breaks_the_policy(objects: dict[str, Objects]):
    everything = [each for named in objects.values() for each in named.values()]
    assert [fault for each in everything for fault in policy.faults(each)] == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda pod, _: pod.pop("automountServiceAccountToken"), "token is mounted"),
        (lambda pod, _: pod["securityContext"].pop("runAsNonRoot"), "it may run as root"),
        (lambda pod, _: pod["securityContext"].pop("seccompProfile"), "no seccomp profile"),
        (lambda pod, _: pod.update(hostNetwork=True), "hostNetwork is set"),
        (lambda pod, _: pod["volumes"].append({"name": "v", "hostPath": {}}), "a folder of the node"),
        (lambda pod, _: pod["volumes"].append({"name": "v", "secret": {}}), "others may read the secret"),
        (lambda _, one: one["resources"]["limits"].pop("cpu"), "service: no limit of cpu"),
        (lambda _, one: one.pop("resources"), "service: no limit of memory"),
        (lambda _, one: one["securityContext"].pop("readOnlyRootFilesystem"), "readOnlyRootFilesystem"),
        (lambda _, one: one["securityContext"].update(allowPrivilegeEscalation=True), "allowPrivilege"),
        (lambda _, one: one["securityContext"].pop("capabilities"), "capabilities is not"),
        (lambda _, one: one["envFrom"].append({"secretRef": {"name": "x"}}), "in its environment"),
        (
            lambda _, one: one["env"].append({"name": "X", "valueFrom": {"secretKeyRef": {}}}),
            "X is a secret in its environment",
        ),
        (lambda _, one: one["env"].append({"name": "X_PASSWORD", "value": "y"}), "X_PASSWORD holds a secret"),
        (lambda _, one: one["env"].append({"name": "X", "value": "amqp://a:b@c"}), "X holds a secret"),
    ],
)
def test_what_breaks_the_policy_is_found(
    objects: dict[str, Objects], change: Callable[[Any, Any], Any], fault: str
):
    broken = deepcopy(objects["Deployment"]["shotwatch-ingest"])
    pod = broken["spec"]["template"]["spec"]
    change(pod, pod["containers"][0])
    assert any(fault in each for each in policy.faults(broken))


def test_who_reads_models_cannot_change_them_and_others_have_no_login(objects: dict[str, Objects]):
    for service, pod in pods(objects).items():
        secrets = [each["secret"] for each in pod["spec"]["volumes"] if "secret" in each]
        keys = [s["items"][0]["key"] for s in secrets if s["secretName"] == "shotwatch-models"]
        assert keys == ([MODELS[service]] if service in MODELS else [])


def test_an_account_with_a_token_and_an_open_namespace_are_found(objects: dict[str, Objects]):
    account = next(iter(objects["ServiceAccount"].values()))
    assert list(policy.faults({**account, "automountServiceAccountToken": True}))
    namespace = deepcopy(objects["Namespace"]["shotwatch"])
    namespace["metadata"].pop("labels")
    assert list(policy.faults(namespace))


def test_a_pod_is_given_longer_to_end_than_the_longest_handler_takes(objects: dict[str, Objects]):
    drain = IngestSettings.model_construct().drain_seconds
    for each in objects["Deployment"].values():
        grace = each["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace > drain


def test_the_sweep_leaves_new_objects_to_the_notifications_of_the_store(objects: dict[str, Objects]):
    """As in Compose."""
    reported = {
        each["name"]: each.get("value") for each in pods(objects)["ingest"]["spec"]["containers"][0]["env"]
    }
    in_compose = SERVICES["ingest"]["environment"]
    for name in ("SHOTWATCH_INBOX_SWEEP_SECONDS", "SHOTWATCH_INBOX_NOTIFICATION_SECONDS"):
        assert reported[name] == str(in_compose[name])


def test_a_service_is_given_all_that_it_must_know(objects: dict[str, Objects]):
    shared = given(name for each in objects["ConfigMap"].values() for name in each["data"])
    for service, pod in pods(objects).items():
        own = given(each["name"] for each in pod["spec"]["containers"][0].get("env", ()))
        is_cli = service == "cli"
        settings, its_own = (BrokerSettings, {QUERY_URL}) if is_cli else (settings_of(service), set())
        assert names(settings, required=True) <= own | shared | IMAGE_SETTINGS
        assert own | shared <= names(settings, required=False) | its_own


def test_every_secret_that_is_named_is_mounted(objects: dict[str, Objects]):
    shared = {k: v for each in objects["ConfigMap"].values() for k, v in each["data"].items()}
    for service, pod in pods(objects).items():
        [container] = pod["spec"]["containers"]
        reported = shared | {each["name"]: each.get("value", "") for each in container.get("env", ())}
        mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        for file in (Path(value) for value in reported.values() if value.startswith("/run/secrets/")):
            assert volumes[mounts[str(file.parent)]]["secret"]
        if "broker" in volumes:
            [item] = volumes["broker"]["secret"]["items"]
            assert item == {"key": "engineer" if service == "cli" else service, "path": "url"}


def test_a_pod_has_the_accounts_of_its_own_service(objects: dict[str, Objects]):
    for service, pod in pods(objects).items():
        [servers] = [each["secret"] for each in pod["spec"]["volumes"] if each["name"] == "servers"]
        account = "engineer" if service == "cli" else service
        assert servers == {"secretName": f"shotwatch-servers-{account}", "defaultMode": 0o400}


def test_only_the_set_up_of_the_broker_has_the_account_that_declares(objects: dict[str, Objects]):
    job = objects["Job"]["shotwatch-broker-setup"]["spec"]["template"]
    assert _accounts(job) == {"setup"}
    for name, pod in pods(objects).items():
        assert "setup" not in _accounts(pod), name


def test_the_set_up_of_the_broker_reaches_the_broker_and_nothing_else(objects: dict[str, Objects]):
    job = objects["Job"]["shotwatch-broker-setup"]["spec"]["template"]
    assert ports_out(objects["NetworkPolicy"], job) & set(PORTS.values()) == {PORTS["broker"]}
    sources = (each for rule in server_policies()["broker"]["spec"]["ingress"] for each in rule["from"])
    assert any(
        each.get("namespaceSelector") == NAMESPACE and selects(each["podSelector"], job) for each in sources
    )


def _accounts(pod: dict[str, Any]) -> set[str]:
    """The accounts of the broker whose addresses a pod mounts."""
    sources = (volume.get("secret", {}) for volume in pod["spec"]["volumes"])
    mounted = (each["items"] for each in sources if each.get("secretName") == "shotwatch-broker")
    return {item["key"] for items in mounted for item in items}


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
    consumed = [queue.name for stage in STAGES for queue in Topology().consumed_queues_of(stage)]
    assert queues == sorted(consumed)
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


def test_traffic_is_denied_by_default_and_let_out_to_the_servers_that_are_named(
    objects: dict[str, Objects],
):
    policies = objects["NetworkPolicy"]
    closed = policies["nothing-by-default"]["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    reported = (value for each in objects["ConfigMap"].values() for value in each["data"].values())
    addresses = {urlsplit(value).port for value in reported if value.startswith("http://")}
    assert addresses <= {port for pod in pods(objects).values() for port in ports_out(policies, pod)}


PORTS = {"broker": 5672, "database": 27017, "store": 9000, "models": 5000, "collector": 4318}


@pytest.mark.parametrize("service", [*OURS, "cli"])
def test_a_pod_reaches_the_servers_that_it_needs_and_no_other(objects: dict[str, Objects], service: str):
    """As in Compose, for each server by its port."""
    open_ports = ports_out(objects["NetworkPolicy"], pods(objects)[service])
    assert open_ports & set(PORTS.values()) == {PORTS[name] for name in NEEDS[service] if name in PORTS}


def test_a_server_is_reached_by_the_pods_that_need_it_and_no_other(objects: dict[str, Objects]):
    """The policies of the servers' namespace."""
    let_in = {name: each["spec"]["ingress"] for name, each in server_policies().items() if "-" not in name}
    assert let_in.keys() == PORTS.keys()
    for name, rules in let_in.items():
        own = [rule for rule in rules if rule.get("ports") == [{"port": PORTS[name]}]]
        callers = {
            service
            for service, pod in pods(objects).items()
            for rule in own
            for source in rule["from"]
            if source.get("namespaceSelector") == NAMESPACE and selects(source["podSelector"], pod)
        }
        assert (
            callers == {service for service, needs in NEEDS.items() if name in needs} & pods(objects).keys()
        )
    assert server_policies()["nobody-by-default"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}


NAMESPACE = {"matchLabels": {"kubernetes.io/metadata.name": "shotwatch"}}
SERVERS = {"matchLabels": {"kubernetes.io/metadata.name": "shotwatch-servers"}}


def server_policies() -> Objects:
    text = (ROOT / "deploy" / "k8s" / "servers" / "policies.yaml").read_text()
    return {each["metadata"]["name"]: each for each in yaml.safe_load_all(text)}


def test_a_rule_to_or_from_another_namespace_names_the_pods_too(objects: dict[str, Objects]):
    everything = [*objects["NetworkPolicy"].values(), *server_policies().values()]
    peers = [
        peer
        for each in everything
        for direction, side in (("ingress", "from"), ("egress", "to"))
        for rule in each["spec"].get(direction, ())
        for peer in rule[side]
    ]
    assert len(peers) > 20
    assert [peer for peer in peers if not peer.get("podSelector")] == []


def test_pods_may_call_the_servers_that_the_servers_policies_are_about(objects: dict[str, Objects]):
    """The labels of the servers' pods, as given in two places."""
    servers = server_policies()
    for name, port in PORTS.items():
        [rule] = objects["NetworkPolicy"][f"to-{name}"]["spec"]["egress"]
        assert rule["ports"] == [{"port": port}]
        assert rule["to"] == [
            {"namespaceSelector": SERVERS, "podSelector": servers[name]["spec"]["podSelector"]}
        ]


def ports_out(policies: Objects, pod: dict[str, Any]) -> set[int | str]:
    """The ports on which a pod may call anybody."""
    rules = (
        rule
        for each in policies.values()
        if selects(each["spec"]["podSelector"], pod)
        for rule in each["spec"].get("egress", ())
    )
    return {port["port"] for rule in rules for port in rule["ports"]}


def selects(selector: dict[str, Any], pod: dict[str, Any]) -> bool:
    """Whether a selector with labels, or with `In`, selects a pod."""
    labels = pod["metadata"]["labels"]
    assert all(each["operator"] == "In" for each in selector.get("matchExpressions", ()))
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ())
    )


def test_prometheus_may_scrape_each_service_at_the_port_that_its_pods_name(objects: dict[str, Objects]):
    policy = objects["NetworkPolicy"]["to-metrics"]["spec"]
    [port] = [port["port"] for rule in policy["ingress"] for port in rule["ports"]]
    for each in objects["Deployment"].values():
        pod = each["spec"]["template"]
        assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        reported = pod["metadata"]["annotations"]["prometheus.io/port"]
        open_ports = pod["spec"]["containers"][0]["ports"]
        assert [str(each["containerPort"]) for each in open_ports if each["name"] == port] == [reported]


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
    reported = {each["name"]: each.get("value", "") for each in container["env"]}
    assert urlsplit(reported[QUERY_URL]).hostname in objects["Service"]


def _env_from(pod: dict[str, Any]) -> list[dict[str, Any]]:
    [container] = pod["spec"]["containers"]
    found: list[dict[str, Any]] = container["envFrom"]
    return found
