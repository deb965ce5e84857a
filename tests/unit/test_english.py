"""The linter of English finds what breaks a rule, where it is, and counts it against the baseline."""

from pathlib import Path

import english
import pytest
import texts
import yaml
from english import Remark, Vocabulary
from texts import Text

VOCABULARY = """
banned:
  - {words: [gizmos, gizmo, so so], write: report}
  - {words: [widget], write: incident}
banned_in_names:
  - {words: [cogs], write: context}
allowed: [race widget]
verbs: [return, close]
"""


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(VOCABULARY)


def rules(vocabulary: Vocabulary, found: list[Text]) -> list[tuple[int, str, str]]:
    return [(text.line, text.kind, rule) for text in found for rule, _ in vocabulary.mistakes(text)]


def test_banned_words_of_a_document_are_found_outside_of_code(vocabulary: Vocabulary) -> None:
    source = """\
# Gizmo

Nobody
was *gizmo*.
It `gizmo` me.

```
gizmo
```

| a | b |
|---|---|
| x | So so |
"""
    assert rules(vocabulary, list(texts.of_markdown(source))) == [
        (1, "prose", "word"),
        (3, "prose", "word"),
        (13, "prose", "word"),
    ]


def test_only_whole_words_count_and_phrases_of_the_trade_are_allowed(vocabulary: Vocabulary) -> None:
    assert rules(vocabulary, [Text("prose", 1, "Ungizmo prewidgets of a race widget.")]) == []
    assert len(rules(vocabulary, [Text("prose", 1, "A widget of a race widget.")])) == 1


def test_the_comments_messages_and_names_of_a_script_are_checked(vocabulary: Vocabulary) -> None:
    source = """\
/** Gizmo of a page. */
const quiet = "a gizmo";  // gizmo
function cogs(event) {
  write(at("gizmo"), `so so ${gizmo}`);
}
"""
    assert rules(vocabulary, list(texts.of_script(source))) == [
        (1, "prose", "word"),
        (2, "prose", "word"),
        (2, "message", "word"),
        (3, "name", "name"),
        (4, "message", "word"),
    ]


def test_what_a_reader_sees_of_a_page_is_checked(vocabulary: Vocabulary) -> None:
    source = '<p id="gizmo">a <b>gizmo</b></p>\n<button name="gizmo">So so</button>\n'
    assert rules(vocabulary, list(texts.of_page(source))) == [(1, "prose", "word"), (2, "prose", "word")]


def test_the_comments_of_a_manifest_and_of_a_makefile_are_checked(vocabulary: Vocabulary) -> None:
    source = "a: gizmo  # `gizmo`\n# so\n# so\nb: 1\n\ngizmo: setup  ## Gizmo\n"
    assert rules(vocabulary, list(texts.of_comments(source))) == [(2, "prose", "word"), (6, "prose", "word")]


def test_each_part_of_a_module_is_checked_at_its_line(vocabulary: Vocabulary) -> None:
    source = '''"""What modules are gizmo."""

# Nobody is
# gizmo.  # noqa
COGS = "not gizmo"
"""Gizmo of an attribute."""


def close(gizmo: int) -> None:
    """Close it.

    Args:
        gizmo: what is gizmo, see `gizmo`.
    """
    raise ValueError(f"{gizmo} was gizmo")
'''
    assert sorted(rules(vocabulary, list(texts.of_python(source)))) == [
        (1, "prose", "word"),
        (3, "prose", "word"),
        (5, "message", "word"),
        (5, "name", "name"),
        (6, "prose", "word"),
        (9, "name", "name"),
        (13, "prose", "word"),
        (13, "prose", "word"),
        (15, "message", "word"),
    ]


@pytest.mark.parametrize(
    ("source", "is_mistake"),
    [
        ('def f():\n    """Return it."""', False),
        ('def f():\n    """Returns it."""', True),
        ('def f():\n    """The result."""', True),
        ('async def f():\n    """Whether it is so."""', True),
        ('@property\ndef f(self):\n    """The result."""', False),
        ('class A:\n    """A box."""', False),
        ('class A:\n    """What a box is."""', True),
        ('"""What the module is."""', False),
    ],
)
def test_how_docstrings_begin(vocabulary: Vocabulary, source: str, is_mistake: bool) -> None:
    found = [rule for _, _, rule in rules(vocabulary, list(texts.of_python(source)))]
    assert found == (["docstring"] if is_mistake else [])


def test_a_sentence_may_have_forty_words(vocabulary: Vocabulary) -> None:
    short = "Word " + "word " * 38 + "word. "
    assert rules(vocabulary, [Text("prose", 1, short + short)]) == []
    assert rules(vocabulary, [Text("prose", 1, short + "Another " + short)]) == [(1, "prose", "sentence")]


@pytest.mark.parametrize("name", ["gizmo", "GIZMO", "GizmoOf", "is_gizmo", "_gizmoIt", "GIZMOName", "gizmo2"])
def test_words_of_names(vocabulary: Vocabulary, name: str) -> None:
    assert [rule for rule, _ in vocabulary.mistakes(Text("name", 1, name))] == ["name"]


def test_a_name_that_only_contains_the_letters_is_fine(vocabulary: Vocabulary) -> None:
    assert list(vocabulary.mistakes(Text("name", 1, "gizmoness_ungizmo"))) == []


def test_more_of_a_rule_in_a_file_than_in_the_baseline_fails() -> None:
    found = [Remark("a.md", 1, "word", ""), Remark("a.md", 2, "word", ""), Remark("b.md", 1, "name", "")]
    assert english.counted(found) == {"a.md": {"word": 2}, "b.md": {"name": 1}}
    assert english.more(found, english.counted(found)) == []
    assert english.more(found, {"a.md": {"word": 1}, "b.md": {"name": 1}}) == found[:2]
    assert english.more(found, {"a.md": {"word": 3}}) == found[2:]


def test_a_baseline_is_rewritten_only_without_new_findings_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "vocabulary.yaml").write_text(VOCABULARY)
    monkeypatch.setattr(english, "REPOSITORY", tmp_path)
    monkeypatch.setattr(english, "VOCABULARY", tmp_path / "vocabulary.yaml")
    monkeypatch.setattr(english, "BASELINE", tmp_path / "baseline.json")
    monkeypatch.setattr("sys.argv", ["english.py"])
    old, new = tmp_path / "README.md", tmp_path / "docs" / "moved.md"
    old.write_text("It was gizmo.\n")
    english.main()
    written = english.BASELINE.read_text()
    assert yaml.safe_load(written) == {"README.md": {"word": 1}}

    new.write_text("It was gizmo.\n")
    with pytest.raises(SystemExit, match="more findings of: word"):
        english.main()
    assert english.BASELINE.read_text() == written
    old.write_text("")
    english.main()
    assert yaml.safe_load(english.BASELINE.read_text()) == {"docs/moved.md": {"word": 1}}

    monkeypatch.setattr("sys.argv", ["english.py", "--check"])
    english.main()
    old.write_text("It was gizmo.\n")
    with pytest.raises(SystemExit, match="more findings"):
        english.main()


def test_the_vocabulary_of_the_repository_is_consistent() -> None:
    given = yaml.safe_load(english.VOCABULARY.read_text(encoding="utf-8"))
    words = [word for part in ("banned", "banned_in_names") for each in given[part] for word in each["words"]]
    assert len(words) == len(set(words))
    assert not set(words) & set(given["verbs"])
    assert given["verbs"] == sorted(given["verbs"])
