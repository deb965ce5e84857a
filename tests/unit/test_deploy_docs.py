"""Commands on the pages about the deployment, held against docker-compose.yml: what they name exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_deploy_compose import COMPOSE, ROOT, SERVICES, _secrets

PAGES = (
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("deploy", "rights", "runbook", "security")),
)
WITH_VALUE = {"-e", "-f", "--volume", "--user", "--scale", "--profile"}
ONE = {"run", "exec"}
"""Commands of Compose whose first argument is a service and whose others are its command."""
MANY = {"up", "logs", "start", "stop", "restart"}
PLACEHOLDERS = {"SERVICE"}


def commands(page: Path) -> Iterator[str]:
    """Yield the Compose commands of a page, in blocks and in text."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"^ {4,}(docker compose .+?)(?: +#.*)?$", text, re.MULTILINE)
    yield from re.findall(r"^(docker compose .+?)(?: +#.*)?$", text, re.MULTILINE)
    yield from re.findall(r"`(docker compose [^`]+)`", text)


def split(command: str) -> tuple[str, list[str]]:
    """Return Compose's command and its arguments, options left out."""
    words = iter(shlex.split(re.split(r" [<>|] ?", command)[0])[2:])
    kept = []
    for word in words:
        if word in WITH_VALUE:
            next(words)
        elif not word.startswith("-"):
            kept.append(word)
    return kept[0], kept[1:]


COMMANDS = sorted({each for page in PAGES for each in commands(page)})


def test_the_pages_have_commands() -> None:
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_services_and_secrets_that_exist(command: str) -> None:
    name, arguments = split(command)
    assert name in ONE | MANY | {"config", "ps"}
    named = arguments[:1] if name in ONE else arguments
    assert set(named) <= {*SERVICES, *PLACEHOLDERS}
    assert set(re.findall(r"deploy/secrets/([a-z-]+)", command)) <= set(COMPOSE["secrets"])
    if name in ONE:
        mounted = {target for _, target in _secrets(SERVICES[named[0]])}
        assert set(re.findall(r"/run/secrets/([a-z-]+)", command)) <= mounted


def test_every_secret_that_can_be_replaced_is_in_the_table() -> None:
    """Of each service, and of each account of its own; what is made of others is replaced with them."""
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (`[a-zA-Z-]+`(?:, `[a-z-]+`)*) \|", page.partition("## Rotating secrets")[2], re.MULTILINE
    )
    named = set(re.findall(r"`([a-zA-Z-]+)`", " ".join(rows)))
    listed = re.findall(r"^([a-z-]+) +random$", (ROOT / "deploy" / "secrets.txt").read_text(), re.MULTILINE)
    services = "|".join([*(each for each in SERVICES), "uploader", "researcher", "engineer"])
    assert {
        each for each in listed if {each, re.sub(rf"-({services})-", "-SERVICE-", each)}.isdisjoint(named)
    } == set()


def test_the_namespace_is_made_from_its_manifest() -> None:
    """`kubectl apply` of the overlay warns of a namespace that `kubectl create` made."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert "kubectl apply --filename deploy/k8s/base/namespace.yaml" in text
    assert "create namespace" not in text


def test_files_that_the_pages_name_exist() -> None:
    for page in PAGES:
        for path in re.findall(r"\b(deploy/[\w./-]*\w)", page.read_text(encoding="utf-8")):
            made = path.startswith(("deploy/secrets/", "deploy/keys/")) or path == "deploy/digests.yml"
            assert made or (ROOT / path).exists(), (page.name, path)
