"""The tables of rights against the code that needs them, and the roles and policies made from them."""

import ast
import gc
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from shotwatch_common.archive import Archive
from shotwatch_common.rights import DATABASE, STORE, database_privileges, store_policy
from shotwatch_common.settings import Settings

CODE = {
    **{name: (f"shotwatch_{name}",) for name in DATABASE if name != "engineer"},
    "engineer": ("shotwatch_cli", "shotwatch_training", "shotwatch_inference.compare"),
}
"""Account → the packages and modules that run as it; the command line starts commands of services."""
TOGETHER = {"dead_letter": ("ledger", "batches"), "states_before": ("devices", "records")}
"""Methods of the archive that use several of its parts."""
APPEND_ONLY = {"audit", "promotions", "challengers", "feedback"}
METRICS = {"Effect": "Allow", "Action": ["admin:Prometheus"], "Resource": ["arn:aws:s3:::*"]}
"""The right to read MinIO's metrics."""


class Named(defaultdict[str, Any]):
    """A database that remembers which collections it is asked for."""

    def __missing__(self, name: str) -> None:
        self[name] = None


@cache
def collections_of_parts() -> dict[str, set[str]]:
    """Part of the archive → the collections that it uses."""
    archive = Archive.at("mongodb://nobody", "nothing")
    parts: dict[str, set[str]] = {}
    for name, part in vars(archive).items():
        if not name.startswith("_"):
            database = Named()
            type(part)(database)
            parts[name] = set(database)
    for method, used in TOGETHER.items():
        parts[method] = set().union(*(parts[part] for part in used))
    return parts


def sources(module: str, seen: set[str]) -> Iterator[str]:
    """Yield the source of a module, of all in it if it is a package, and of what they import of shotwatch.

    The archive itself is left out: all of it is imported everywhere.
    """
    if module in seen or not module.startswith("shotwatch_") or module.startswith("shotwatch_common.archive"):
        return
    seen.add(module)
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return
    path = Path(spec.origin)
    is_root = path.name == "__init__.py" and "." not in module and module != "shotwatch_common"
    for file in sorted(path.parent.rglob("*.py")) if is_root else [path]:
        text = file.read_text(encoding="utf-8")
        yield text
        for imported, names in _imports(text):
            yield from sources(imported, seen)
            for name in names:
                yield from _submodule(f"{imported}.{name}", seen)


@cache
def _imports(text: str) -> list[tuple[str, list[str]]]:
    """Return the modules that a source imports from, and the names that it imports from each.

    The garbage collector is off meanwhile: a finalizer that prints a traceback parses source too, and CPython
    3.11 raises a SystemError where one parse runs inside another.
    """
    gc.disable()
    try:
        tree = ast.parse(text)
    finally:
        gc.enable()
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return [(node.module, [name.name for name in node.names]) for node in found if node.module]


def _submodule(module: str, seen: set[str]) -> Iterator[str]:
    if module.startswith("shotwatch_"):
        try:
            found = find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is not None:
            yield from sources(module, seen)


@pytest.mark.parametrize("account", DATABASE)
def test_an_account_has_rights_in_no_collection_that_its_code_does_not_name(account: str) -> None:
    text = "\n".join(part for root in CODE[account] for part in sources(root, set()))
    named = set(re.findall(r"archive\.(\w+)", text))
    parts = collections_of_parts()
    used = set().union(*(parts[name] for name in named & parts.keys()))
    assert DATABASE[account].keys() - used == set()


def test_no_account_may_change_or_remove_what_is_only_added_to() -> None:
    for account, rights in DATABASE.items():
        for collection in APPEND_ONLY & rights.keys():
            assert rights[collection] <= {"find", "insert"}, (account, collection)


def test_only_engineer_may_make_a_champion_and_whoever_loads_one_may_read_the_audit() -> None:
    def who(collection: str, action: str) -> set[str]:
        return {account for account, rights in DATABASE.items() if action in rights.get(collection, ())}

    assert who("promotions", "insert") == {"engineer"}
    assert who("challengers", "insert") == {"training", "engineer"}
    assert who("promotions", "find") <= who("audit", "find")
    assert "find" not in DATABASE["training"]["audit"]


def test_only_those_who_tidy_up_may_remove() -> None:
    removing = {
        (account, collection)
        for account, rights in DATABASE.items()
        for collection, actions in rights.items()
        if "remove" in actions
    }
    assert removing == {
        ("query", "searches"),  # which their owners remove
        ("inference", "model_loads"),
        ("history", "batches"),
        ("history", "measurements"),
        ("history", "records"),
        ("history", "scored_hours"),
        ("history", "shot_counts"),
        ("history", "shots"),
        ("history", "tables"),
        ("history", "unused_sources"),
        ("history", "windows"),
        ("engineer", "batches"),
        ("engineer", "measurements"),
        ("engineer", "reprocessings"),
    }
    assert {account for account, rights in STORE.items() for a in rights.values() if "remove" in a} == {
        "ingest",
        "history",
        "training",
        "engineer",
    }


def test_a_role_names_collections_of_one_database_and_no_action_that_is_not_in_the_table() -> None:
    for account in DATABASE:
        for privilege in database_privileges(account, "laser"):
            resource, actions = privilege["resource"], set(privilege["actions"])
            assert resource["db"] == "laser"
            assert actions == {*map(str, DATABASE[account][resource["collection"]]), "listIndexes"}


@pytest.mark.parametrize("account", STORE)
def test_a_policy_names_buckets_of_the_settings_and_neither_all_actions_nor_all_buckets(account: str) -> None:
    settings = Settings.model_construct(
        inbox_bucket="in",
        data_bucket="raw",
        error_bucket="bad",
        block_bucket="cut",
        dataset_bucket="sets",
        table_bucket="tab",
    )
    statements = [each for each in store_policy(account, settings)["Statement"] if each != METRICS]
    for statement in statements:
        if statement["Effect"] == "Allow":
            assert set(statement["Action"]) <= {
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:ListBucket",
            }
            (resource,) = statement["Resource"]
            assert re.fullmatch(r"arn:aws:s3:::(in|raw|bad|cut|sets|tab)(/.*)?", resource)
    assert bool(STORE[account]) == any(each["Effect"] == "Allow" for each in statements)


def test_one_account_may_read_the_metrics_of_the_store_and_nothing_else() -> None:
    policies = {account: store_policy(account, Settings.model_construct())["Statement"] for account in STORE}
    assert policies["monitor"] == [METRICS]
    assert [account for account, statements in policies.items() if METRICS in statements] == ["monitor"]
