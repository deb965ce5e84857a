"""What is shown to people holds no character that a terminal, a log reader or a browser would act upon."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_common.printable import printable, printable_lines

BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("LA_A1_11-Camera_1-Camera-1", "LA_A1_11-Camera_1-Camera-1"),
        ("énergie 1 µJ, λ₀ → 800 nm", "énergie 1 µJ, λ₀ → 800 nm"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b2J", r"\x9b2J"),
        ("\u202eevil", r"\u202eevil"),
        ("a\r\nb\tc\x00\x7f", r"a\r\nb\tc\x00\x7f"),
        ("line\u2028separator", r"line\u2028separator"),
        ("lone \udcff surrogate", r"lone \udcff surrogate"),
        ("tag \U000e0041", r"tag \U000e0041"),
    ],
)
def test_what_cannot_be_seen_is_written_as_an_escape(given: str, shown: str) -> None:
    assert printable(given) == shown


@pytest.mark.parametrize("mark", BIDIRECTIONAL)
def test_no_bidirectional_mark_survives(mark: str) -> None:
    assert printable(f"a{mark}b") == f"a\\u{ord(mark):04x}b"


@pytest.mark.parametrize("mark", "\u200b\u200d\ufeff\u00ad\u034f\u115f\u180e\u3164\ufe0f\uffa0\U000e0100")
def test_nothing_is_left_that_no_font_draws(mark: str) -> None:
    """Two names that differ in such a character only seem alike."""
    assert printable(f"é{mark}b").isascii() is False
    assert mark not in printable(f"é{mark}b")


def test_nothing_is_left_that_unicode_has_renderers_ignore() -> None:
    """Default_Ignorable_Code_Point of DerivedCoreProperties.txt, Unicode 16.0, has all of the older ones."""
    ignorable = (
        "00AD 034F 061C 115F-1160 17B4-17B5 180B-180D 180E 180F 200B-200F 202A-202E 2060-2064 2065 2066-206F"
        " 3164 FE00-FE0F FEFF FFA0 FFF0-FFF8 1BCA0-1BCA3 1D173-1D17A E0000 E0001 E0002-E001F E0020-E007F"
        " E0080-E00FF E0100-E01EF E01F0-E0FFF"
    )
    for span in ignorable.split():
        first, _, last = span.partition("-")
        for code in range(int(first, 16), int(last or first, 16) + 1):
            assert printable(chr(code)) == chr(code).encode("unicode_escape").decode()


@pytest.mark.parametrize("blank", "\u2800\u2d7f\u3000\u00a0\U00016fe4\U0001d159\U0001107f\U000e0020")
def test_nothing_is_left_that_seems_like_a_space_or_like_nothing(blank: str) -> None:
    assert printable(f"é{blank}b") == f"é{blank.encode('unicode_escape').decode()}b"


def test_of_letters_and_numbers_only_fillers_are_escaped() -> None:
    drawn = filter(str.isprintable, map(chr, range(sys.maxunicode + 1)))
    escaped = [each for each in drawn if printable(each) != each]
    assert [each for each in escaped if each.isalnum()] == list("\u115f\u1160\u3164\uffa0")
    assert len(escaped) < 300


@pytest.mark.parametrize(
    "name", ["Größe Ångström Łódź", "Лазер Ω₁ αβγ", "激光 レーザー 레이저", "เลเซอร์ लेज़र ليزر לייזר"]
)
def test_names_in_the_letters_of_any_script_stay_as_they_are(name: str) -> None:
    assert printable(name) == name


@pytest.mark.parametrize("word", ["Vie\u0323\u0302t", "\u05e9\u05c1\u05bc\u05b4\u0596"])
def test_marks_that_a_language_needs_stay(word: str) -> None:
    assert printable(word) == word


@pytest.mark.parametrize("mark", ["\u0301", "\u0489", "\u20dd"])
def test_marks_do_not_pile_up_over_other_lines(mark: str) -> None:
    escape = mark.encode("unicode_escape").decode()
    assert printable(f"a{1000 * mark}b{mark}") == f"a{4 * mark}{996 * escape}b{mark}"
    assert printable(f"a{3 * mark}\u034f{2 * mark}") == f"a{3 * mark}\\u034f{2 * escape}"


@given(ANY_TEXT)
def test_no_text_keeps_a_control_format_or_separator_character(text: str) -> None:
    shown = printable(text)
    forbidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert not forbidden.intersection(map(unicodedata.category, shown))
    assert shown.encode("utf-8").decode("utf-8") == shown


@given(ANY_TEXT)
def test_applying_it_twice_changes_nothing(text: str) -> None:
    assert printable(printable(text)) == printable(text)


def test_lines_stay_apart_and_are_escaped_one_by_one() -> None:
    assert printable_lines("Traceback:\n  \x1b[2J\r\n") == "Traceback:\n  \\x1b[2J\\r\n"
