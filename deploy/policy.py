"""What each pod must have beyond a valid schema: limits, no privilege, no secret in its environment."""

import re
from collections.abc import Iterator
from typing import Any

_LIMITS = ("cpu", "memory")
_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_SECRET = re.compile("PASSWORD|SECRET|TOKEN|API_KEY")
_CREDENTIALS = re.compile("//[^/]*@")
_OWNER_AND_GROUP = 0o440


def faults(found: dict[str, Any]) -> Iterator[str]:
    """Yield what an object lacks, a line for each."""
    name = f"{found['kind']} {found['metadata']['name']}"
    yield from (f"{name}: {fault}" for fault in _faults(found))


def _faults(found: dict[str, Any]) -> Iterator[str]:
    match found["kind"]:
        case "Deployment" | "Job":
            yield from _of_pod(found["spec"]["template"]["spec"])
        case "CronJob":
            yield from _of_pod(found["spec"]["jobTemplate"]["spec"]["template"]["spec"])
        case "ServiceAccount" if found.get("automountServiceAccountToken") is not False:
            yield "its token is mounted"
        case "Namespace":
            labels = found["metadata"].get("labels", {})
            if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
                yield "its pods are not held to the standard `restricted`"
        case "ConfigMap":
            yield from _of_variables(found.get("data", {}))
        case "Secret":
            yield "a secret in the repository"


def _of_pod(pod: dict[str, Any]) -> Iterator[str]:
    if pod.get("automountServiceAccountToken") is not False:
        yield "a service account's token is mounted"
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True:
        yield "it may run as root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "no seccomp profile"
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(host):
            yield f"{host} is set"
    for volume in pod.get("volumes", ()):
        yield from _of_volume(volume)
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        yield from (f"{container['name']}: {fault}" for fault in _of_container(container))


def _of_volume(volume: dict[str, Any]) -> Iterator[str]:
    if "hostPath" in volume:
        yield f"volume {volume['name']}: a folder of the node"
    # fsGroup adds the group's right to read
    if "secret" in volume and volume["secret"].get("defaultMode", 0o644) & ~_OWNER_AND_GROUP:
        yield f"volume {volume['name']}: others may read the secret"


def _of_container(container: dict[str, Any]) -> Iterator[str]:
    limits = container.get("resources", {}).get("limits", {})
    for limit in _LIMITS:
        if limit not in limits:
            yield f"no limit of {limit}"
    context = container.get("securityContext", {})
    for name, wanted in _CONTAINER.items():
        if context.get(name) != wanted:
            yield f"{name} is not {wanted}"
    for source in container.get("envFrom", ()):
        if "secretRef" in source:
            yield f"the secret {source['secretRef']['name']} is in its environment"
    for variable in container.get("env", ()):
        if "secretKeyRef" in variable.get("valueFrom", {}):
            yield f"{variable['name']} is a secret in its environment"
    yield from _of_variables({each["name"]: each.get("value", "") for each in container.get("env", ())})


def _of_variables(variables: dict[str, str]) -> Iterator[str]:
    for name, value in variables.items():
        if _CREDENTIALS.search(value) or (value and _SECRET.search(name) and not name.endswith("_FILE")):
            yield f"{name} holds a secret"
