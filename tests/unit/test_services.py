"""The table of services against the tree, and the files that repeat it."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from shotwatch_common.actions import buckets, collections
from shotwatch_common.services import SERVICES, ServiceEntry
from shotwatch_common.settings import BrokerSettings, installed_settings
from shotwatch_common.topology import STAGES

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("service_files", ROOT / "scripts" / "services.py")
assert _spec is not None
assert _spec.loader is not None
written = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(written)

NOBODY = ServiceEntry(
    name="nobody",
    collections=collections({"events": "find"}),
    buckets=buckets({"blocks": "list read"}),
    sends_to=("detail",),
)
"""A service that is not in the tree."""


def test_the_table_has_every_service_of_the_tree() -> None:
    folders = {path.parent.name for path in ROOT.glob("services/*/pyproject.toml")}
    assert {service.name for service in SERVICES} == folders


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_has_an_account_of_the_broker_if_its_settings_have_the_address(
    service: ServiceEntry,
) -> None:
    assert service.on_broker == issubclass(installed_settings()[service.name], BrokerSettings)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_consumes_and_publishes_to_stages_that_exist(service: ServiceEntry) -> None:
    assert {*service.consumes, *service.sends_to} <= set(STAGES)


@pytest.mark.parametrize("path", sorted(written.files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_repeats_the_table(path: Path) -> None:
    assert path.exists(), "run `make services`"
    assert path.read_text(encoding="utf-8") == written.files()[path], "run `make services`"


def test_a_new_service_is_in_every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "SERVICES", (*SERVICES, NOBODY))
    monkeypatch.setattr(written, "RUNNING", [*written.RUNNING, NOBODY])
    monkeypatch.setattr(written, "DATABASE", {**written.DATABASE, "nobody": NOBODY.collections})
    monkeypatch.setattr(written, "STORE", {**written.STORE, "nobody": NOBODY.buckets})
    monkeypatch.setattr(written, "BROKER", [*written.BROKER, "nobody"])
    texts = {str(path.relative_to(ROOT)): text for path, text in written.files().items()}
    of_others = {f"deploy/k8s/base/{service.name}/kustomization.yaml" for service in SERVICES}
    assert {path for path, text in texts.items() if "nobody" not in text} == of_others & texts.keys()
    compose = yaml.safe_load(texts["docker-compose.yml"])
    assert compose["services"]["nobody"]["networks"] == ["broker", "database", "store", "telemetry"]
    mounted = {each["source"] for each in compose["services"]["nobody"]["secrets"]}
    assert mounted == {"broker-nobody-url", "database-nobody-url", "store-nobody-secret-key"}
    assert mounted <= compose["secrets"].keys()


def test_what_is_written_by_hand_stays_and_what_is_made_is_replaced() -> None:
    text = (
        "a: 1\n"
        "  # made by make services: names\n"
        "  - old\n"
        "  # end of what is made\n"
        "b: [x]  # made by make services: pair\n"
        "c: [x]\n"
    )
    filled = written.filled(text, {"names": ["- p", "", "- q"], "pair": ["p", "q"]})
    assert filled == text.replace("  - old\n", "  - p\n\n  - q\n").replace("b: [x]", "b: [p, q]")


def test_a_part_that_nobody_makes_is_an_error() -> None:
    with pytest.raises(KeyError, match="shoes"):
        written.filled("# made by make services: shoes\n# end of what is made\n", {})


def test_a_part_without_a_comment_is_an_error() -> None:
    with pytest.raises(ValueError, match="shoes"):
        written.filled("a: 1\n", {"shoes": []})


def test_an_image_that_is_pinned_stays_pinned() -> None:
    pinned = "".join(
        f"  - {{name: shotwatch-{service.name}, newName: there, digest: sha256:0}}\n" for service in SERVICES
    )
    assert written.with_images(pinned) == pinned
