"""The graph of definitions: which module-level name refers to which, read from the syntax trees.

Names are resolved through imports, so two classes with one name are two nodes. A local variable with the name
of a module-level definition counts as a reference to it, so the graph may contain too many references. It
lacks references to names that are composed at run time.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

Name = tuple[str, str]
"""A module and a name defined at its top level."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, eq=False)
class Module:
    """One source file."""

    name: str
    path: Path
    syntax: ast.Module
    lines: int

    @property
    def is_package(self) -> bool:
        """Whether the file is an `__init__.py`."""
        return self.path.name == "__init__.py"

    @property
    def has_code(self) -> bool:
        """Whether the file holds more than a docstring."""
        return any(not _is_docstring(statement) for statement in self.syntax.body)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the syntax tree."""
        return list(ast.walk(self.syntax))

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """The top-level statements, those inside `if`, `try` and `with` included."""
        return list(_flattened(self.syntax.body))

    @cached_property
    def definitions(self) -> dict[str, list[ast.stmt]]:
        """Each name that the module defines, with the statements that define it."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in self.statements:
            for name in _defined(statement):
                found.setdefault(name, []).append(statement)
        return found

    @cached_property
    def imports(self) -> dict[str, tuple[str, str | None]]:
        """Each imported name, with the module it comes from and its name there (None: the module itself)."""
        found: dict[str, tuple[str, str | None]] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found[alias.asname or alias.name] = (alias.name, None)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    found[alias.asname or alias.name] = (self._origin(node), alias.name)
        return found

    def _origin(self, node: ast.ImportFrom) -> str:
        """Return the absolute name of the module that a `from … import` reads."""
        if not node.level:
            return node.module or ""
        parents = self.name.split(".")
        parents = parents[: len(parents) - node.level + self.is_package]
        return ".".join([*parents, *([node.module] if node.module else [])])


def read_modules(source: Path, package: str = "") -> list[Module]:
    """Return the modules below a folder that is on the import path, or that is the folder of a package."""
    modules = []
    for path in sorted(source.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        parts = path.relative_to(source).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        name = ".".join((package, *parts) if package else parts)
        modules.append(Module(name, path, ast.parse(text, str(path)), text.count("\n")))
    return modules


@dataclass
class Graph:
    """Modules by name, and the references of their definitions."""

    modules: Mapping[str, Module]
    _references: dict[Name, set[Name]] = field(default_factory=dict)

    @classmethod
    def of(cls, modules: Iterable[Module]) -> "Graph":
        """Return the graph of these modules."""
        return cls({module.name: module for module in modules})

    def resolve(self, module: str, name: str) -> Name | None:
        """Return the definition that a name in a module stands for, or None if it is not in these modules."""
        for _ in range(len(self.modules)):
            if module not in self.modules:
                return None
            if name in self.modules[module].definitions:
                return module, name
            origin, original = self.modules[module].imports.get(name, ("", None))
            if original is None:
                return None
            module, name = origin, original
        return None

    def imported_module(self, module: Module, name: str) -> str | None:
        """Return the module of the graph that an imported name stands for, or None."""
        origin, original = module.imports.get(name, ("", None))
        full = origin if original is None else f"{origin}.{original}"
        return full if full in self.modules else None

    def imported_modules(self, module: Module) -> set[str]:
        """Return the modules of the graph that a module imports directly."""
        found = set()
        for name, (origin, _) in module.imports.items():
            target = self.imported_module(module, name) or origin
            if target in self.modules:
                found.add(target)
        return found

    def references(self, module: Module, nodes: Iterable[ast.AST]) -> Iterator[Name]:
        """Yield each definition that these syntax nodes of a module refer to.

        A module that is used as a value is a reference to everything in it, and so is a string that is its
        name. The string `"package.module:name"` is a reference to that name.
        """
        found = [inner for outer in nodes for inner in ast.walk(outer)]
        owners = {id(node.value) for node in found if isinstance(node, ast.Attribute)}
        for node in found:
            match node:
                case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in module.imports:
                    target = self.imported_module(module, owner)
                    if target:
                        yield from self._named_in(target, name)
                case ast.Name(id=name) if name in module.definitions:
                    yield module.name, name
                case ast.Name(id=name) if name in module.imports:
                    target = self.imported_module(module, name)
                    if not target:
                        yield from filter(None, [self.resolve(module.name, name)])
                    elif id(node) not in owners:
                        yield from self._named_in(target)
                case ast.Constant(value=str(text)) if text.partition(":")[0] in self.modules:
                    yield from self._named_in(*text.partition(":")[::2])

    def _named_in(self, module: str, name: str = "") -> Iterator[Name]:
        """Yield what a module defines or imports under a name; without a name, everything that it defines."""
        if name:
            yield from filter(None, [self.resolve(module, name)])
        else:
            yield from ((module, each) for each in self.modules[module].definitions)

    def roots(self, module: Module) -> Iterator[Name]:
        """Yield what a module uses when it is imported, and what it registers by one of our decorators."""
        for statement in module.statements:
            if not _is_import(statement) and not any(_defined(statement)):
                yield from self.references(module, [statement])
            elif isinstance(statement, Function | ast.ClassDef) and any(
                self.references(module, statement.decorator_list)
            ):
                yield module.name, statement.name

    def reached(self, roots: Iterable[Name]) -> set[Name]:
        """Return every definition that can be reached from the roots by references."""
        found: set[Name] = set()
        waiting = list(roots)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self._refers_to(name))
        return found

    def _refers_to(self, name: Name) -> set[Name]:
        if name not in self._references:
            module = self.modules[name[0]]
            self._references[name] = set(self.references(module, module.definitions[name[1]]))
        return self._references[name]


def _flattened(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in statements:
        if isinstance(statement, ast.If | ast.Try | ast.With):
            parts = [statement.body, getattr(statement, "orelse", []), getattr(statement, "finalbody", [])]
            parts += [handler.body for handler in getattr(statement, "handlers", [])]
            for part in parts:
                yield from _flattened(part)
        else:
            yield statement


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, Function | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            yield from (
                node.id
                for node in ast.walk(target)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            )


def _is_import(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Import | ast.ImportFrom)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
