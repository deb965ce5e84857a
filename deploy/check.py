"""Validate what kustomize renders against the schemas of Kubernetes and KEDA, and against policy.py."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from jsonschema import Draft202012Validator, ValidationError
from kubernetes_validate import SchemaNotFoundError, latest_version, validate
from policy import faults

HERE = Path(__file__).parent
KUBECTL = Path(sys.executable).with_name("kubectl")


def rendered(overlay: Path) -> list[dict[str, Any]]:
    """Return the objects of an overlay, as `kubectl apply --kustomize` would send them."""
    done = subprocess.run([KUBECTL, "kustomize", overlay], capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        sys.exit(done.stderr)
    return list(yaml.safe_load_all(done.stdout))


def overlays() -> list[Path]:
    return [
        *sorted(path.parent for path in HERE.glob("k8s/overlays/*/kustomization.yaml")),
        HERE / "k8s" / "servers",
    ]


def problems(objects: list[dict[str, Any]]) -> Iterator[str]:
    for found in objects:
        try:
            _validate(found)
        except ValidationError as error:
            where = ".".join(map(str, error.absolute_path))
            yield f"{found['kind']} {found['metadata']['name']}: {where}: {error.message}"
        except SchemaNotFoundError as error:
            yield error.message
        yield from faults(found)


def _validate(found: dict[str, Any]) -> None:
    if found["apiVersion"].startswith("keda.sh/"):
        model = getattr(keda, found["kind"])
        Draft202012Validator(_strict(model.model_json_schema())).validate(found)
    else:
        validate(found, latest_version(), strict=True)


def _strict(schema: Any) -> Any:
    """Return the schema; it refuses fields that it does not name."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if schema.get("properties") else {}
    return closed | {key: _strict(value) for key, value in schema.items()}


if __name__ == "__main__":
    found = [f"{path.name}: {problem}" for path in overlays() for problem in problems(rendered(path))]
    sys.exit("\n".join(found) or 0)
