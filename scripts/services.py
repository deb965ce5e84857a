"""Write what other files repeat of the table of services (`shotwatch_common.services`); a test compares them.

Most of these files are written by hand. Two things in them are made: the lines between the comments `made by
make services: WHAT` and `end of what is made`, and the list in a line that ends with the first of these. The
Kustomization of a service is made as a whole.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from shotwatch_common.actions import ObjectAction
from shotwatch_common.rights import DATABASE, STORE
from shotwatch_common.services import SERVICES, Resources, ServiceEntry
from shotwatch_common.topology import Topology
from shotwatch_operations.broker import accounts

ROOT = Path(__file__).resolve().parent.parent
BASE = "deploy/k8s/base"
IMAGES = "deploy/k8s/overlays/production/images/kustomization.yaml"
RUNNING = [service for service in SERVICES if not service.is_job]
BROKER = [account.name for account in accounts.accounts_of(Topology())]
"""The accounts of the broker."""
_PART = re.compile(
    r"^( *)(\S+ made by make services: ([\w -]+?)(?: -->)?)\n.*?(?=^ *\S+ end of what is made)",
    re.MULTILINE | re.DOTALL,
)
_LIST = re.compile(r"\[[^\[\]\n]*\](?=[^\[\n]*# made by make services: ([\w -]+)$)", re.MULTILINE)


def files() -> dict[Path, str]:
    """Return the text that each file must have.

    Raises:
        KeyError, ValueError: as `filled` does.
    """
    texts = {ROOT / name: filled(_read(name), parts) for name, parts in _parts().items()}
    texts |= {ROOT / BASE / each.name / "kustomization.yaml": _kustomization(each) for each in RUNNING}
    return texts | {ROOT / IMAGES: with_images(_read(IMAGES))}


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _parts() -> dict[str, Mapping[str, Sequence[str]]]:
    """Return the files with parts that are made: part → its lines, or the members of its list."""
    secrets = _secrets()
    listed = re.findall(r"^([a-z-]+) +\S", filled(_read("deploy/secrets.txt"), secrets), re.MULTILINE)
    return {
        "deploy/secrets.txt": secrets,
        "docker-compose.yml": _compose(_read("docker-compose.yml"), listed),
        f"{BASE}/kustomization.yaml": {"services": [f"- {each.name}" for each in SERVICES]},
        f"{BASE}/network/policies.yaml": _callers("broker", "database", "store", "models", "collector"),
        "deploy/k8s/servers/policies.yaml": _callers("broker", "models", "collector"),
        "deploy/prometheus/prometheus.yml": _scraped(),
        "deploy/prometheus/rules/shotwatch.yml": {"services that are down": _alert()},
        "docs/rights.md": {
            "database": _rights("collections", DATABASE),
            "store": _rights("buckets and folders", STORE),
        },
        ".importlinter": _contracts(),
    }


def filled(text: str, parts: Mapping[str, Sequence[str]]) -> str:
    """Return a text with its parts and lists as they must be.

    Raises:
        KeyError: the text has a comment about a part that nobody makes.
        ValueError: the text has no comment about a part.
    """
    commented = set(re.findall(r"made by make services: ([\w -]+?)(?: -->)?$", text, re.MULTILINE))
    if missing := parts.keys() - commented:
        raise ValueError(f"no comment encloses: {', '.join(sorted(missing))}")
    text = _PART.sub(lambda found: f"{found[1]}{found[2]}\n" + _indented(parts[found[3]], found[1]), text)
    return _LIST.sub(lambda found: f"[{', '.join(parts[found[1]])}]", text)


def _indented(lines: Iterable[str], indent: str) -> str:
    return "".join(f"{indent}{line}".rstrip() + "\n" for line in lines)


# --- secrets ---


def _secrets() -> dict[str, list[str]]:
    """Return the parts of deploy/secrets.txt."""
    broker = "amqp://{0}:{{broker-{0}-password}}@broker:5672/shotwatch"
    database = "mongodb://{0}:{{database-{0}-password}}@database:27017/shotwatch"
    with_address = [name for name in BROKER if name not in (accounts.STORE, accounts.MONITOR)]
    return {
        "accounts of the broker": [
            *_listed("broker-{}-password", "random", BROKER),
            *_listed("broker-{}-url", broker, with_address),
        ],
        "accounts of the database": [
            *_listed("database-{}-password", "random", DATABASE),
            *_listed("database-{}-url", database, DATABASE),
        ],
        "accounts of the store": _listed("store-{}-secret-key", "random", STORE),
    }


def _listed(name: str, text: str, names: Iterable[str]) -> list[str]:
    """Return a line for the secret of each account."""
    return [f"{name.format(account):<30} {text.format(account)}" for account in names]


# --- Compose ---


def _compose(text: str, secrets: Iterable[str]) -> dict[str, list[str]]:
    """Return the parts of docker-compose.yml, whose text has in `x-NAME` what is particular to a service."""
    particular = set(re.findall(r"^x-([a-z-]+):", text, re.MULTILINE))
    return {
        "services": [line for each in SERVICES for line in ("", *_container(each, particular))][1:],
        "passwords of the broker": [f"- broker-{name}-password" for name in BROKER],
        "passwords of the database": [f"- database-{name}-password" for name in DATABASE],
        "keys of the store": [f"- store-{name}-secret-key" for name in STORE],
        "secrets": [f"{name}: {{file: deploy/secrets/{name}}}" for name in secrets],
    }


def _container(service: ServiceEntry, particular: set[str]) -> Iterator[str]:
    """Yield the lines of a service in docker-compose.yml."""
    name, default, resources = service.name, Resources(), service.resources
    blocks = "writes-blocks" if ObjectAction.WRITE in service.buckets.get("blocks", ()) else "reads-blocks"
    merged = [name] * (name in particular) + [blocks] * service.block_cache + ["service"]
    yield f"{name}:"
    yield f"  <<: {_aliases(merged)}"
    yield f"  image: shotwatch-{name}"
    yield f"  build: {{context: ., args: {{SERVICE: {name}}}}}"
    if resources.cpus != default.cpus:
        yield f"  cpus: {resources.cpus}"
    if resources.memory_mib != default.memory_mib:
        yield f"  mem_limit: {_memory(resources.memory_mib).removesuffix('i').lower()}"
    yield f"  networks: [{', '.join(_networks(service))}]"
    yield "  secrets:"
    yield from (f"    - {{source: {source}, target: {target}}}" for target, source in _mounted(service))
    yield "  environment:"
    yield f"    <<: {_aliases(_settings(service, particular))}"
    yield f"    SHOTWATCH_STORE_ACCESS_KEY: shotwatch-{name}"
    if service.block_cache:
        yield "    SHOTWATCH_BLOCK_CACHE: /blocks"


def _aliases(names: list[str]) -> str:
    aliases = [f"*{name}" for name in names]
    return f"[{', '.join(aliases)}]" if len(aliases) > 1 else aliases[0]


def _networks(service: ServiceEntry) -> list[str]:
    networks = ["telemetry" if server == "collector" else server for server in _servers(service)]
    return networks + ["api", "outside"] * service.serves_http


def _mounted(service: ServiceEntry) -> Iterator[tuple[str, str]]:
    """Yield each secret of a service: its file in the container, and its name."""
    if service.on_broker:
        yield "broker-url", f"broker-{service.name}-url"
    yield "database-url", f"database-{service.name}-url"
    yield "store-secret-key", f"store-{service.name}-secret-key"
    if service.models:
        yield "models-password", f"models-{service.models}-password"


def _settings(service: ServiceEntry, particular: set[str]) -> list[str]:
    """Return the names of the settings that a service shares with others, and of its own."""
    models = {None: [], "reader": ["reads-models"], "engineer": ["writes-models"]}[service.models]
    own = f"{service.name}-settings"
    return ["settings-on-queue" if service.on_broker else "settings", *models, *[own] * (own in particular)]


# --- Kubernetes ---


def _servers(service: ServiceEntry) -> list[str]:
    """Return the servers that a service calls."""
    called = {
        "broker": service.on_broker,
        "database": True,
        "store": True,
        "models": service.models is not None,
        "collector": not service.is_job,
    }
    return [server for server, is_called in called.items() if is_called]


def _callers(*servers: str) -> dict[str, list[str]]:
    """Return the pods that call each of these servers."""
    return {f"callers of the {server}": list(_callers_of(server)) for server in servers}


def _callers_of(server: str) -> Iterator[str]:
    if server == "broker":
        yield "broker-setup"
    yield from (each.name for each in SERVICES if server in _servers(each))
    if server != "collector":
        yield "cli"


def _kustomization(service: ServiceEntry) -> str:
    """Return the Kustomization of a service. Files beside it patch what it has in common with the others."""
    name, folder = service.name, ROOT / BASE / service.name
    resources = ["../service", *(each for each in ("service.yaml",) if (folder / each).exists())]
    lines = [
        "# Made by `make services`. What is particular to this service is in the files beside this one.",
        "kind: Kustomization",
        f"nameSuffix: -{name}",
        f"resources: [{', '.join(resources)}]",
        *_components(service),
        "labels:",
        f"  - {{pairs: {{app.kubernetes.io/name: {name}}}, includeSelectors: true}}",
        f"transformers: [../named{', ../named-on-broker' * service.on_broker}]",
        "patches:",
        *_patches(service),
        *(
            f"  - path: {each}"
            for each in ("deployment.yaml", "scaledobject.yaml")
            if (folder / each).exists()
        ),
    ]
    return _indented(lines, "")


def _components(service: ServiceEntry) -> list[str]:
    components = ["../queue"] * bool(service.consumes) + ["../without-broker"] * (not service.on_broker)
    components += ["../models-reader"] * (service.models is not None)
    return [f"components: [{', '.join(components)}]"] if components else []


def _patches(service: ServiceEntry) -> Iterator[str]:
    """Yield the patches of a service's number of replicas, its queues and its resources."""
    if service.consumes:
        yield "  - target: {kind: ScaledObject}"
        yield "    patch: |"
        yield f"      - {{op: replace, path: /spec/maxReplicaCount, value: {service.replicas}}}"
        yield from (
            f"      - {{op: add, path: /spec/triggers/-, value: {each}}}" for each in _triggers(service)
        )
    yield "  - target: {kind: Deployment}"
    yield "    patch: |"
    if not service.consumes:
        yield f"      - {{op: add, path: /spec/replicas, value: {service.replicas}}}"
    yield "      - op: replace"
    yield "        path: /spec/template/spec/containers/0/resources"
    yield f"        value: {_resources(service.resources)}"


def _triggers(service: ServiceEntry) -> Iterator[str]:
    """Yield a trigger of the autoscaler for each queue that a service consumes."""
    for queue in (each for stage in service.consumes for each in Topology().consumed_queues_of(stage)):
        metadata = f'{{protocol: http, mode: QueueLength, value: "20", queueName: {queue.name}}}'
        yield f"{{type: rabbitmq, authenticationRef: {{name: broker}}, metadata: {metadata}}}"


def _resources(resources: Resources) -> str:
    reserved = f"cpu: {round(resources.reserved_cpus * 1000)}m, memory: {_memory(resources.reserved_mib)}"
    limits = f'cpu: "{resources.cpus}", memory: {_memory(resources.memory_mib)}'
    return f"{{requests: {{{reserved}}}, limits: {{{limits}}}}}"


def _memory(mib: int) -> str:
    return f"{mib}Mi" if mib % 1024 else f"{mib // 1024}Gi"


def with_images(text: str) -> str:
    """Return the list of images with those that are missing. `deploy/pin-images` writes this file, too."""
    line = "  - {{name: shotwatch-{0}, newName: registry.example.org/shotwatch-{0}, newTag: 0.1.0}}\n"
    missing = (each.name for each in SERVICES if f"{{name: shotwatch-{each.name}," not in text)
    return text + "".join(map(line.format, missing))


# --- Prometheus ---


def _scraped() -> dict[str, list[str]]:
    """Return the parts of prometheus.yml: what is scraped, and the label `stage` that each may have."""
    stages = "|".join(f"{each.name};{_either(each.consumes)}" for each in RUNNING if each.consumes)
    return {
        "services": [each.name for each in RUNNING],
        "stages of services": [f'regex: "[a-z]+;|{stages}"'],
    }


def _either(stages: tuple[str, ...]) -> str:
    return stages[0] if len(stages) == 1 else f"({'|'.join(stages)})"


def _alert() -> list[str]:
    """Return the expression of the alert of a service that is down."""
    names = [*(each.name for each in RUNNING), "broker"]
    return [
        "expr: >-",
        f'  sum by (job) (up{{job=~"{"|".join(names)}"}}) == 0',
        *(f'  or absent(up{{job="{name}"}})' for name in names),
    ]


# --- rights and import contracts ---


def _rights(title: str, table: Mapping[str, Mapping[str, Iterable[str]]]) -> list[str]:
    """Return a table of docs/rights.md."""
    head = [f"| account | {title} |", "| --- | --- |"]
    return [*head, *(f"| `{account}` | {_cell(rights)} |" for account, rights in table.items())]


def _cell(rights: Mapping[str, Iterable[str]]) -> str:
    cells = (
        f"`{where}`: {', '.join(f'`{each}`' for each in sorted(actions))}"
        for where, actions in rights.items()
    )
    return "; ".join(cells) or "nothing"


def _contracts() -> dict[str, list[str]]:
    """Return the parts of .importlinter."""
    packages = [f"shotwatch_{each.name}" for each in SERVICES]
    return {
        "services": packages,
        "domains of services": [f"{package}.domain" for package in packages],
        "layer of services": [" | ".join([*packages, "shotwatch_embedded", "shotwatch_simulator"])],
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
