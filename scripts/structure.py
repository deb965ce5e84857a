"""Measure the structure of the code and write docs/structure.md.

Without an option, print each finding with its place and write the page. With `--check`, fail if a figure is
worse than its limit or if the page is out of date.
"""

import ast
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from definitions import Function, Module
from leftovers import (
    PUBLISHED,
    SOURCES,
    Code,
    Occurrence,
    mutable_state,
    undeclared_dependencies,
    unimported_dependencies,
    unset_settings,
    unused_definitions,
    unused_members,
)

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "structure.md"
SHOT_PATH = ("ingest", "validate", "aggregate", "features", "inference")
"""The services that a shot passes, from the object event to the anomaly event."""
LONG_MODULE = 300

LIMITS = {
    "classes that share their name": 0,
    "type aliases with the name of a class": 15,
    "uses of `Any` per 1,000 lines": 1.8,
    "function length, median": 5,
    "function length, 90th percentile": 14,
    "functions not fully annotated": 0,
    "files of a shot's path": 41,
    "files of a shot's path, with what they import directly": 94,
    "definitions not used by running code": 0,
    "methods and members not used by running code": 4,
    "settings that nobody sets": 0,
    "dependencies declared and not used": 0,
    "dependencies imported and not declared": 0,
    "state in modules": 7,
    "long modules": 2,
}
"""The largest figure that passes. Lower a limit when the code has improved; never raise one."""

HEAD = f"""# Structure of the code

Written by `make structure` from the syntax trees. `make lint` fails if a figure is worse than its limit in
`scripts/structure.py`, or if this page is out of date. `make structure` also prints each finding with its
line. When a figure has become better, lower its limit to it.

The code in `{"`, `".join(SOURCES)}` is measured. Tests, `tools/bench` and
`scripts/` are read only to see what they use.

- A class **shares its name** if another top-level class has the same name. A **type alias** has the name of a
  class if a top-level class of another module has it: a reader takes one for the other.
- **`Any`** is counted wherever it is used, except in imports. Lines are all lines of the files.
- The **length** of a function is its number of lines from `def` to the end, without its docstring and its
  decorators. Methods and nested functions are functions too.
- A function is **fully annotated** if its result and all its parameters are, except `self` and `cls`.
- The **files of a shot's path** are what a reader opens who follows a shot from the object event to the
  anomaly event: the files of {", ".join(SHOT_PATH)} that
  `python -m shotwatch_…` imports or starts as a process. The next figure adds the files of other packages
  that these import directly. A file with nothing but a docstring does not count.
  Why no fewer: each of the five services has a start, settings, wiring and decisions, 20 files together.
  Ingest has a dozen more, because it reads files of unknown origin in processes of their own. Inference
  has six more, for models, incidents and events. The files of other packages are the classes of the
  domain, and one file for each job at the edges, in the detector and in the measurements
  ([ADR 32](adr/0032-the-structure-before-and-after.md)). This program counts 45 and 92 in commit
  `291a2152`, the last one before `libs/shots`: so the second figure has grown.
- A definition is **used by running code** if references lead to it from what runs. That is a statement at
  the top level of a module, an entry point in a `pyproject.toml`, a function that a decorator of ours
  registers (a route, a command), or what the `__all__` of {", ".join(PUBLISHED)} names for others. Names
  are resolved through imports. Methods and members of enumerations are compared by their bare name, so an
  unused one is not found if another one of that name is used. A member that only comes from outside, such
  as the value of a query parameter, counts as unused.
- **Nobody sets** a setting if its variable is in no manifest, stack, test, benchmark or document except
  `docs/settings.md`, and its name is no keyword argument there.
- **State in modules** is a name that a function rebinds or changes in place, a function that caches its
  results, and an attribute that is set on another module.
- A module is **long** if it has more than {LONG_MODULE} lines.

"""

TAIL = """
## English

`make lint` also runs `scripts/english.py` on the documents, on docstrings, comments and messages, on the
names in the code, on the operators' page, and on the comments of manifests, of scripts and of the Makefile.
It finds

- *word*: a word that [vocabulary.yaml](vocabulary.yaml) bans, with what to write instead; code in Markdown
  and between backticks is not checked;
- *name*: such a word in the name of a module, class, function, parameter or variable;
- *docstring*: a docstring of a function, tests and properties excepted, that does not begin with an
  imperative verb of the vocabulary (add the verb if it is one), or one of a class that begins with a
  question word;
- *sentence*: a sentence of more than 40 words.

`scripts/english-baseline.json` holds how many findings each file has; a file that has more fails. After
mending some, run `make english`: it prints what is left and lowers the baseline. It does not write a
baseline with more findings of a rule in all files together, so text may move to another file. The terms to
use are in [glossary.md](glossary.md).

Vale is not used: its packages on PyPI and npm download the program from GitHub on first use, and building
it needs Go. proselint 0.16 has no vocabulary of one's own, and finds typographic quotes and multiplication
signs in these documents.
"""


@dataclass(frozen=True)
class Measure:
    """A figure, what to do if it is worse than its limit, and the findings behind it."""

    name: str
    advice: str
    figure: float
    findings: list[Occurrence]

    @property
    def is_worse(self) -> bool:
        """Whether the figure exceeds its limit."""
        return self.figure > LIMITS[self.name]


def measures(code: Code) -> list[Measure]:
    """Return all measures, in the order of the page."""
    lines = sum(module.lines for module in code.modules)
    uses = uses_of_any(code)
    lengths = function_lengths(code.modules)
    own, direct = shot_path(code)
    return [
        _count("classes that share their name", "rename one, or make one class of both", shared_names(code)),
        _count("type aliases with the name of a class", "rename it, or use the class", borrowed_names(code)),
        Measure("uses of `Any` per 1,000 lines", "name the type", round(1000 * len(uses) / lines, 1), uses),
        Measure("function length, median", "split long functions", statistics.median(lengths), []),
        Measure(
            "function length, 90th percentile", "split long functions", lengths[len(lengths) * 9 // 10], []
        ),
        _count("functions not fully annotated", "annotate them", unannotated(code)),
        _count("files of a shot's path", "shorten the path", _files(code, own)),
        _count(
            "files of a shot's path, with what they import directly",
            "shorten the path",
            _files(code, own | direct),
        ),
        _count("definitions not used by running code", "delete them", unused_definitions(code)),
        _count("methods and members not used by running code", "delete them", unused_members(code)),
        _count("settings that nobody sets", "make a constant of it", unset_settings(code)),
        _count("dependencies declared and not used", "remove the line", unimported_dependencies(code)),
        _count("dependencies imported and not declared", "declare it", undeclared_dependencies(code)),
        _count("state in modules", "keep it in an object that is passed to its users", mutable_state(code)),
        _count("long modules", "split it by job", long_modules(code)),
    ]


def _count(name: str, advice: str, findings: list[Occurrence]) -> Measure:
    return Measure(name, advice, len(findings), findings)


def shared_names(code: Code) -> list[Occurrence]:
    """Return every top-level class that shares its name with another one."""
    found = defaultdict(list)
    for module in code.modules:
        for node in module.statements:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(code.occurrence(module, node, node.name))
    return [each for _, namesakes in sorted(found.items()) if len(namesakes) > 1 for each in namesakes]


def borrowed_names(code: Code) -> list[Occurrence]:
    """Return every type alias at the top of a module that has the name of a class of another module."""
    classes = {
        node.name: module
        for module in code.modules
        for node in module.statements
        if isinstance(node, ast.ClassDef)
    }
    return [
        code.occurrence(module, node, target.id)
        for module in code.modules
        for node in module.statements
        if isinstance(node, ast.Assign) and not _is_type_variable(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
        and not target.id.startswith("_")
        and classes.get(target.id, module) is not module
    ]


def _is_type_variable(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "TypeVar"


def uses_of_any(code: Code) -> list[Occurrence]:
    """Return every use of `typing.Any`."""
    return [
        code.occurrence(module, node, "Any")
        for module in code.modules
        for node in module.nodes
        if isinstance(node, ast.Name) and node.id == "Any"
    ]


def function_lengths(modules: Iterable[Module]) -> list[int]:
    """Return the number of lines of each function without its docstring, ascending."""
    return sorted(
        _line_count(node)
        - (_line_count(node.body[0]) if ast.get_docstring(node, clean=False) is not None else 0)
        for module in modules
        for node in module.nodes
        if isinstance(node, Function)
    )


def _line_count(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def unannotated(code: Code) -> list[Occurrence]:
    """Return the functions that lack the annotation of a parameter or of the result."""
    return [
        code.occurrence(module, node, node.name)
        for module in code.modules
        for node in module.nodes
        if isinstance(node, Function) and not _is_annotated(node)
    ]


def _is_annotated(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.args
    parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    bare = [each for each in parameters if each and not each.annotation and each.arg not in ("self", "cls")]
    return function.returns is not None and not bare


def shot_path(code: Code) -> tuple[set[Module], set[Module]]:
    """Return the modules of the services on a shot's path, and the other modules that they import."""
    own: set[Module] = set()
    direct: set[Module] = set()
    for package in (f"shotwatch_{service}" for service in SHOT_PATH):
        waiting = [f"{package}.__main__"]
        while waiting:
            module = code.graph.modules[waiting.pop()]
            if module in own:
                continue
            own.add(module)
            for name in code.graph.imported_modules(module) | _started_by(code, module):
                if name.partition(".")[0] == package:
                    waiting.append(name)
                else:
                    direct.add(code.graph.modules[name])
    return {each for each in own if each.has_code}, {each for each in direct if each.has_code}


def _started_by(code: Code, module: Module) -> set[str]:
    """Return the modules whose names stand in a string, as arguments of `python -m`."""
    texts = {
        node.value for node in module.nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return texts & code.graph.modules.keys()


def _files(code: Code, modules: Iterable[Module]) -> list[Occurrence]:
    return sorted(
        (code.occurrence(each, each.syntax, each.name) for each in modules), key=lambda each: each.path
    )


def long_modules(code: Code) -> list[Occurrence]:
    """Return the modules that are too long, the longest first."""
    long = [module for module in code.modules if module.lines > LONG_MODULE]
    return [
        code.occurrence(module, module.syntax, f"over {module.lines // 100 * 100} lines")
        for module in sorted(long, key=lambda module: -module.lines)
    ]


LISTED = {
    "classes that share their name",
    "type aliases with the name of a class",
    "definitions not used by running code",
    "methods and members not used by running code",
    "settings that nobody sets",
    "dependencies declared and not used",
    "dependencies imported and not declared",
    "state in modules",
    "long modules",
}
"""The measures whose findings the page lists."""


def page(found: Iterable[Measure]) -> str:
    """Return the page."""
    found = list(found)
    rows = "".join(f"| {each.name} | {each.figure:g} | {LIMITS[each.name]:g} |\n" for each in found)
    lists = "".join(
        f"\n## {each.name.capitalize()}\n\n" + "".join(f"- {line}\n" for line in _lines(each.findings))
        for each in found
        if each.name in LISTED and each.findings
    )
    return f"{HEAD}| measure | today | limit |\n| --- | --- | --- |\n{rows}{lists}{TAIL}"


def _lines(findings: Iterable[Occurrence]) -> list[str]:
    """Return a line for each text, with the files where it was found."""
    files = defaultdict(list)
    for each in findings:
        files[each.text].append(f"`{each.path.as_posix()}`")
    return [f"{text}: {', '.join(paths)}" for text, paths in files.items()]


def main() -> None:
    """Print and write, or check."""
    found = measures(Code(REPOSITORY))
    if sys.argv[1:] == ["--check"]:
        mistakes = [
            f"{each.name}: {each.figure:g}, at most {LIMITS[each.name]:g} allowed: {each.advice}"
            for each in found
            if each.is_worse
        ]
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page(found):
            mistakes.append("docs/structure.md is out of date: run `make structure`")
        if mistakes:
            sys.exit("\n".join([*mistakes, "`make structure` prints each finding with its place."]))
        return
    for measure in found:
        print(f"{measure.name}: {measure.figure:g} (limit {LIMITS[measure.name]:g})")
        for each in measure.findings if measure.name in LISTED else []:
            print(f"  {each.path.as_posix()}:{each.line}: {each.text}")
    PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
