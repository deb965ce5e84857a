"""Check the English of documents, docstrings, comments, messages and names against docs/vocabulary.yaml.

Without an option, print each finding and write the number of findings of each rule in each file to
scripts/english-baseline.json. With `--check`, fail if a file has more than that. The baseline only shrinks:
it is not written if all files together have more findings of a rule than before. So text may move between
files.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import texts
import yaml
from texts import Text

REPOSITORY = Path(__file__).resolve().parent.parent
VOCABULARY = REPOSITORY / "docs" / "vocabulary.yaml"
BASELINE = REPOSITORY / "scripts" / "english-baseline.json"
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md")
CODE = ("libs", "services", "tools", "cli", "client", "deploy", "scripts", "tests")
READERS = {".md": texts.of_markdown, ".py": texts.of_python, ".js": texts.of_script, ".html": texts.of_page}
"""Suffix of a file → what yields its texts."""
COMMENTED = (
    *("Makefile", "Dockerfile", ".importlinter", "docker-compose.yml", ".ci/run", "facilities/*.yaml"),
    *("deploy/make-env", "deploy/install", "deploy/serve", "deploy/secrets.txt", "deploy/**/*.y*ml"),
    *("deploy/**/*.conf", "deploy/**/*.env", "scripts/setup", "scripts/fuzz", "scripts/lock"),
)
"""Files whose comments are checked."""
MAX_WORDS = 40
"""A sentence with more words is too long."""

Counts = dict[str, dict[str, int]]
"""File → rule → number of findings."""


@dataclass(frozen=True)
class Remark:
    """A place that breaks a rule."""

    path: str
    line: int
    rule: str
    text: str


class Vocabulary:
    """The rules on words."""

    def __init__(self, source: str) -> None:
        given = yaml.safe_load(source)
        self._instead = {word: each["write"] for each in given["banned"] for word in each["words"]}
        in_names = {word: each["write"] for each in given["banned_in_names"] for word in each["words"]}
        self._instead_in_names = self._instead | in_names
        self._banned = re.compile(rf"\b({'|'.join(self._instead)})\b", re.IGNORECASE)
        self._allowed = re.compile(rf"\b({'|'.join(given['allowed'])})\b", re.IGNORECASE)
        self._verbs = frozenset(given["verbs"])

    def mistakes(self, text: Text) -> Iterator[tuple[str, str]]:
        """Yield the rule and the explanation of each mistake in a text."""
        if text.kind == "name":
            for word in words_of_name(text.text) & self._instead_in_names.keys():
                yield "name", f"`{text.text}`: instead of “{word}” write: {self._instead_in_names[word]}"
            return
        for found in self._banned.finditer(self._allowed.sub("", text.text)):
            yield "word", f"instead of “{found[0]}” write: {self._instead[found[0].lower()]}"
        if text.kind != "message":
            for sentence in re.split(r"(?<=[.!?])[)”\"]*\s+", text.text):
                length = len(re.findall(r"[^\W\d_][\w'’-]*", sentence))
                if length > MAX_WORDS:
                    yield "sentence", f"{length} words, more than {MAX_WORDS}: “{sentence[:60]}…”"
        first = re.split(r"\W", text.text.lower(), maxsplit=1)[0]
        if text.kind == "function" and first not in self._verbs:
            yield (
                "docstring",
                f"begins with “{first}”, not with an imperative verb that {VOCABULARY.name} lists",
            )
        if text.kind == "class" and first in {"what", "how", "who", "where", "when", "whether", "why"}:
            yield "docstring", f"begins with “{first}”, not with the noun that the class is"


def words_of_name(name: str) -> set[str]:
    """Return the words of an identifier, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def findings(root: Path, vocabulary: Vocabulary) -> Iterator[Remark]:
    """Yield what breaks a rule in the documents and the code below a folder."""
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        found = READERS.get(path.suffix, texts.of_comments)(path.read_text(encoding="utf-8"))
        if path.suffix == ".py":
            found = chain([Text("name", 1, path.stem)], found)
        for text in found:
            for rule, mistake in vocabulary.mistakes(text):
                if rule != "docstring" or not name.startswith("tests/"):
                    yield Remark(name, text.line, rule, mistake)


def _files(root: Path) -> Iterator[Path]:
    """Yield the files with texts, each once."""
    for pattern in DOCUMENTS:
        yield from sorted(root.glob(pattern))
    for folder in CODE:
        for suffix in (".py", ".js", ".html"):
            yield from sorted((root / folder).rglob(f"*{suffix}"))
    for pattern in COMMENTED:
        yield from sorted(root.glob(pattern))


def counted(found: Iterable[Remark]) -> Counts:
    """Return the number of findings of each file by rule."""
    counts: Counts = {}
    for (path, rule), number in sorted(Counter((each.path, each.rule) for each in found).items()):
        counts.setdefault(path, {})[rule] = number
    return counts


def totals(counts: Counts) -> Counter[str]:
    """Return the number of findings of all files by rule."""
    return sum((Counter(each) for each in counts.values()), Counter())


def more(found: Iterable[Remark], baseline: Counts) -> list[Remark]:
    """Return the findings of each rule in each file that has more of them than the baseline allows."""
    found = list(found)
    now = counted(found)
    return [
        each for each in found if now[each.path][each.rule] > baseline.get(each.path, {}).get(each.rule, 0)
    ]


def main() -> None:
    """Check, or print and write."""
    found = list(findings(REPOSITORY, Vocabulary(VOCABULARY.read_text(encoding="utf-8"))))
    baseline: Counts = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    checks = sys.argv[1:] == ["--check"]
    for each in more(found, baseline) if checks else found:
        print(f"{each.path}:{each.line}: {each.rule}: {each.text}")
    now, before = totals(counted(found)), totals(baseline)
    print("; ".join(f"{rule}: {now[rule]} (baseline {before[rule]})" for rule in sorted(now | before)))
    if checks and more(found, baseline):
        sys.exit(
            f"These files have more findings of these rules than {BASELINE.name} allows: mend the new ones"
        )
    if not checks:
        grown = [rule for rule in now if baseline and now[rule] > before[rule]]
        if grown:
            sys.exit(f"{BASELINE.name} was not written: there are more findings of: {', '.join(grown)}")
        rows = [f"  {json.dumps(path)}: {json.dumps(rules)}" for path, rules in counted(found).items()]
        BASELINE.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
