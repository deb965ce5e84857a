"""The scan of the syntax trees finds in a small repository what was put there, and nothing else."""

from pathlib import Path

import definitions
import leftovers
import pytest
import structure
from leftovers import Code


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty repository."""
    for folder in ("libs", "services", "tools/bench", "cli", "deploy", "tests", "scripts", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "docker-compose.yml").touch()
    (tmp_path / "README.md").touch()
    return tmp_path


def write(repository: Path, path: str, text: str) -> None:
    """Write a file of the repository; `one/…` is short for a module of a library of that name."""
    file = repository / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def library(repository: Path, **modules: str) -> None:
    """Write the package `one`, which is a distribution with an entry point `one.main:run`."""
    write(
        repository,
        "libs/one/pyproject.toml",
        '[project]\nname = "one"\n[project.scripts]\none = "one.main:run"',
    )
    write(repository, "libs/one/src/one/__init__.py", "")
    for name, text in modules.items():
        write(repository, f"libs/one/src/one/{name}.py", text)


def texts(found: list[leftovers.Occurrence]) -> list[str]:
    return [each.text for each in found]


def test_what_an_entry_point_leads_to_is_used_and_the_rest_is_not(repository: Path) -> None:
    library(
        repository,
        main="from one.helpers import first\n\n\ndef run(): first()\n",
        helpers="def first(): second()\ndef second(): ...\ndef third(): fourth()\ndef fourth(): ...\n",
    )
    found = leftovers.unused_definitions(Code(repository))
    assert [(each.path.as_posix(), each.line, each.text) for each in found] == [
        ("libs/one/src/one/helpers.py", 3, "third, used by nothing"),
        ("libs/one/src/one/helpers.py", 4, "fourth, used by nothing"),
    ]


def test_what_a_published_package_offers_is_used(repository: Path) -> None:
    write(
        repository, "client/src/shotwatch_client/__init__.py", 'from .api import Api\n\n__all__ = ["Api"]\n'
    )
    write(
        repository,
        "client/src/shotwatch_client/api.py",
        "class Api:\n    def ask(self): return helper()\ndef helper(): ...\ndef forgotten(): ...\n"
        "class Inner:\n    def never(self): ...\n",
    )
    code = Code(repository)
    assert texts(leftovers.unused_definitions(code)) == [
        "forgotten, used by nothing",
        "Inner, used by nothing",
    ]
    assert texts(leftovers.unused_members(code)) == ["Inner.never"]


def test_what_only_tests_use_is_unused_and_they_are_named(repository: Path) -> None:
    library(repository, main="def run(): ...\ndef other(): ...\n")
    write(repository, "tests/test_one.py", "from one import main\n\n\ndef test_it(): main.other()\n")
    assert texts(leftovers.unused_definitions(Code(repository))) == ["other, used by tests"]


def test_a_namesake_that_is_used_does_not_hide_one_that_is_not(repository: Path) -> None:
    library(
        repository,
        main="from one.a import Thing\n\n\ndef run(): Thing()\n",
        a="class Thing: ...\n",
        b="class Thing: ...\n",
    )
    code = Code(repository)
    assert [each.path.name for each in leftovers.unused_definitions(code)] == ["b.py"]
    assert [(each.path.name, each.text) for each in structure.shared_names(code)] == [
        ("a.py", "Thing"),
        ("b.py", "Thing"),
    ]


def test_a_type_alias_with_the_name_of_a_class_of_another_module_is_found(repository: Path) -> None:
    library(
        repository,
        main="from typing import TypeVar\nThing = dict[str, int]\nOther = list[int]\n",
        a="class Thing: ...\nOwn = int\nclass Own: ...\n",
        b="from typing import TypeVar\nThing = TypeVar('Thing')\n",
    )
    [found] = structure.borrowed_names(Code(repository))
    assert (found.path.name, found.line, found.text) == ("main.py", 2, "Thing")


@pytest.mark.parametrize(
    "main",
    [
        "from one import tools as t\ndef run(): t.used()",
        "from one import tools\ndef run(): return [each.used for each in (tools,)]",
        "from .tools import used as other\ndef run(): other()",
        "def run(): start('one.tools:used')",
        "from one.again import used\ndef run(): used()",
    ],
    ids=["of a module", "module as a value", "relative import", "name in a string", "exported again"],
)
def test_ways_to_use_a_definition(repository: Path, main: str) -> None:
    library(repository, main=main, tools="def used(): ...\n", again="from one.tools import used\n")
    assert leftovers.unused_definitions(Code(repository)) == []


def test_what_a_decorator_of_ours_registers_is_used_and_what_another_decorates_is_not(
    repository: Path,
) -> None:
    library(
        repository,
        main="""
def run(): ...


router = make()


@router.get("/")
def route(): ...


@cache
def cached(): ...
""",
    )
    assert texts(leftovers.unused_definitions(Code(repository))) == ["cached, used by nothing"]


def test_methods_and_members_that_no_code_names(repository: Path) -> None:
    library(
        repository,
        main="""
class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Box:
    def __len__(self): ...
    def open(self): ...
    def close(self): ...


class Visitor(NodeVisitor):
    def visit_Name(self): ...


def run(): return Box().open(), Colour.RED
""",
    )
    assert texts(leftovers.unused_members(Code(repository))) == ["Colour.BLUE", "Box.close"]


def test_settings_that_nobody_sets(repository: Path) -> None:
    library(
        repository,
        main="""
class Base(BaseSettings):
    in_compose: int
    in_a_file: int
    in_a_test: int
    nowhere: int


class Own(Base):
    only_on_the_generated_page: int


class Model(BaseModel):
    no_setting: int


def run(): ...
""",
    )
    write(
        repository, "docker-compose.yml", "SHOTWATCH_IN_COMPOSE: 1\nSHOTWATCH_IN_A_FILE_FILE: /run/secrets/it"
    )
    write(repository, "tests/test_one.py", "Own(in_a_test=1)")
    write(repository, "docs/settings.md", "`SHOTWATCH_ONLY_ON_THE_GENERATED_PAGE`")
    assert texts(leftovers.unset_settings(Code(repository))) == [
        "SHOTWATCH_NOWHERE",
        "SHOTWATCH_ONLY_ON_THE_GENERATED_PAGE",
    ]


def test_dependencies_are_what_is_imported_or_started(repository: Path) -> None:
    library(
        repository,
        main="import json, yaml, numpy.linalg\nfrom one import other\nstart('tool')\n",
        other="",
    )
    file = repository / "libs/one/pyproject.toml"
    file.write_text('[project]\nname = "one"\ndependencies = ["PyYAML>=6", "scipy[all]>=1", "tool-bin"]\n')
    assert texts(leftovers.undeclared_dependencies(Code(repository))) == ["one imports numpy"]
    assert texts(leftovers.unimported_dependencies(Code(repository))) == ["one declares scipy"]


def test_state_in_modules(repository: Path) -> None:
    library(
        repository,
        main="""
import PIL.Image as Image
TABLE = {}
LIST = []
COUNT = 0
FIXED = {"a": 1}
Image.MAX = None


def run():
    global COUNT
    COUNT = 1
    TABLE["a"] = FIXED["a"]
    LIST.append(1)


def local(LIST):
    LIST.append(1)


@lru_cache
def kept(): ...
""",
    )
    assert texts(leftovers.mutable_state(Code(repository))) == [
        "COUNT is rebound",
        "LIST is changed",
        "TABLE is changed",
        "kept is cached",
        "Image.MAX is set on import",
    ]


def test_the_files_of_a_shots_path(repository: Path) -> None:
    library(repository, a="B = 1\n", b="from one import c\n", c="C = 1\n", unread="D = 1\n")
    for service in structure.SHOT_PATH:
        package = f"services/{service}/src/shotwatch_{service}"
        write(repository, f"{package}/__init__.py", '"""Only a docstring."""\n')
        write(
            repository,
            f"{package}/__main__.py",
            f"import shotwatch_{service}\nfrom shotwatch_{service} import service\n",
        )
        write(
            repository,
            f"{package}/service.py",
            f"from one import a, b\nNAME = 'shotwatch_{service}.worker'\n",
        )
        write(repository, f"{package}/worker.py", "WORK = 1\n")
        write(repository, f"{package}/tool.py", f"from shotwatch_{service} import service\n")
    own, direct = structure.shot_path(Code(repository))
    assert len(own) == 3 * len(structure.SHOT_PATH)
    assert {module.name for module in direct} == {"one.a", "one.b"}


def test_lengths_and_annotations_of_functions(repository: Path) -> None:
    library(
        repository,
        main="""
@decorated
def run(a: int, *rest: int) -> None:
    \"\"\"Run.\"\"\"
    def inner(b): return b


class Box:
    async def open(self, *, c: Any) -> None: ...
""",
    )
    code = Code(repository)
    assert structure.function_lengths(code.modules) == [1, 1, 2]
    assert texts(structure.unannotated(code)) == ["inner"]
    assert len(structure.uses_of_any(code)) == 1


def test_a_figure_is_worse_only_beyond_its_limit() -> None:
    name, limit = "long modules", structure.LIMITS["long modules"]
    assert not structure.Measure(name, "", limit, []).is_worse
    assert structure.Measure(name, "", limit + 1, []).is_worse


def test_the_page_lists_each_name_once_with_its_files(repository: Path) -> None:
    library(repository, a="class Thing: ...\n", b="class Thing: ...\n")
    code = Code(repository)
    measure = structure.Measure("classes that share their name", "", 2, structure.shared_names(code))
    page = structure.page([measure])
    assert "- Thing: `libs/one/src/one/a.py`, `libs/one/src/one/b.py`\n" in page
    assert "| classes that share their name | 2 |" in page


def test_relative_imports_of_packages_and_modules(tmp_path: Path) -> None:
    write(tmp_path, "one/__init__.py", "from .a import x\n")
    write(tmp_path, "one/deep/b.py", "from ..a import x\nfrom . import c\n")
    modules = {module.name: module for module in definitions.read_modules(tmp_path)}
    assert modules["one"].imports["x"] == ("one.a", "x")
    assert modules["one.deep.b"].imports == {"x": ("one.a", "x"), "c": ("one.deep", "c")}
