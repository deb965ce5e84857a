"""What comes from outside is shown by every command, and acts on no terminal."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import RenderableType

from shotwatch_cli.checks import CheckResult, CheckStatus
from shotwatch_cli.commands.doctor import finding_table
from shotwatch_cli.dead_letters import message_table, shown_message
from shotwatch_cli.demo.figures import SlowChange
from shotwatch_cli.demo.report import _slow_changes
from shotwatch_cli.events import event_line
from shotwatch_cli.feedback import contribution_table, event_table, fact_table, statement_table
from shotwatch_cli.models import history_table, version_table
from shotwatch_cli.output import LiteralConsole, counting, print_json, styled, table
from shotwatch_cli.processes import process_table
from shotwatch_common.printable import printable
from shotwatch_common.telemetry import configure_logs
from shotwatch_embedded.status import Role, State, Status
from shotwatch_operations.broker.dead_letter_queue import DeadLetter
from shotwatch_shots.event import AnomalyEvent, Contribution
from shotwatch_shots.vocabulary import AnomalyKind

from .rest import run_against, served
from .test_cli_events import event

HOSTILE = (
    "\x1b[2J\x1b]0;taken\x07 [red]m[/red] :smile: \u202egnp.\u2069 \x9b31m\x85\x7f\r\n\tforged \u061c\u200f"
)
REPOSITORY = Path(__file__).resolve().parents[2]
ANSI_FILE = REPOSITORY.parent / "shared" / "cases" / "hostile" / "LA_ansi_60s_snapshot_2022-07-01_07-33-00.h5"
ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.just(HOSTILE)
WIDTH = 10_000


def shown(renderable: RenderableType) -> str:
    """What a terminal without colours is sent."""
    page = io.StringIO()
    LiteralConsole(file=page, width=WIDTH, force_terminal=True, color_system=None).print(renderable)
    return page.getvalue()


def acts_on_nothing(page: str) -> bool:
    return all(each == "\n" or each.isprintable() for each in page)


def hostile_event(text: str) -> AnomalyEvent:
    plain = event(7)
    contribution = Contribution(device=text, feature=text, value=1, reference=1, sigmas=1, unit=text)
    changed = {
        "why": text,
        "devices": [text],
        "shot": text,
        "image_url": text,
        "contributions": [contribution],
    }
    return plain.model_copy(update={"data": plain.data.model_copy(update=changed)})


def pages(text: str) -> list[RenderableType]:
    """Everything that shows text from outside, with this text in it."""
    anomaly = hostile_event(text)
    standing = {"verdict": text, "label": text, "acknowledged_by": text, "snoozed_until": text}
    standing["acknowledged_caller"] = text
    statement = dict.fromkeys(("event", "at", "who", "caller", "action", "label", "until", "note"), text)
    dead_lettered = DeadLetter("id", text, text, 1, 0, text, text.encode(errors="replace"))
    record = {"raised": 1, "confirmed": 0, "false": 0}
    version = {"version": text, "aliases": [text], "created_at": text, "shadow": None, "record": record}
    change = {"at": text, "version": text, "before": text, "who": text, "rollback": True, "why": text}
    process = Status(text, Role.SERVICE, State.READY, 1, 0, None, Path("log") / text.replace("\0", ""), 1, {})
    return [
        event_line(anomaly),
        event_table([anomaly], {"incident": standing}),
        fact_table(anomaly, standing),
        contribution_table(anomaly.data.contributions),
        statement_table([statement]),
        message_table(text, [dead_lettered]),
        shown_message(dead_lettered),
        version_table([{**version, "tags": {"architecture": text}}]),
        history_table([change]),
        process_table(text, [process]),
        finding_table([CheckResult(text, CheckStatus.FAIL, text, text)]),
        _slow_changes([SlowChange(AnomalyKind.DRIFT, text)]),
        table(text, [text], [[text]]),
        styled(("error: ", "bold red"), text),
        text,
    ]


@settings(max_examples=40, deadline=None)
@given(ANY_TEXT)
def test_no_page_holds_a_character_that_a_terminal_acts_upon(text: str) -> None:
    for renderable in pages(text):
        assert acts_on_nothing(shown(renderable))


def test_every_page_shows_the_hostile_text_in_full_with_escapes() -> None:
    for renderable in pages(HOSTILE):
        page = shown(renderable).replace("\n", r"\n")  # a message of several lines keeps its lines
        assert printable(HOSTILE) in page


@pytest.mark.skipif(not ANSI_FILE.exists(), reason=f"{ANSI_FILE} is not here")
def test_names_and_states_of_the_hostile_file_act_on_nothing() -> None:
    result: list[str] = []

    def collect(name: str, found: h5py.Group | h5py.Dataset) -> None:
        result.append(name)
        if isinstance(found, h5py.Dataset) and name.endswith("STATE"):
            result.append(found[()].decode())

    with h5py.File(ANSI_FILE) as file:
        file.visititems(collect)
    assert any("\x1b" in text for text in result)
    for text in result:
        for renderable in pages(text):
            assert acts_on_nothing(shown(renderable))


def test_a_text_of_outside_forges_no_line_of_tail() -> None:
    assert shown(event_line(hostile_event("seen\n#8  critical"))).count("\n") == 1


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_narrow_terminal_loses_nothing_of_an_escaped_cell(width: int) -> None:
    page = io.StringIO()
    LiteralConsole(file=page, width=width).print(table("", ["name"], [["\u202e" * 30]]))
    cells = [line.strip("│ \n") for line in page.getvalue().split("\n") if line.startswith("│")]
    assert "".join(cells) == "\\u202e" * 30


def test_a_progress_bar_shows_markup_and_escapes_as_text() -> None:
    page = io.StringIO()
    with counting() as progress:
        progress.add_task(HOSTILE, total=2)
        LiteralConsole(file=page, width=WIDTH).print(progress.get_renderable())
    assert acts_on_nothing(page.getvalue())
    assert "[red]m[/red] :smile: " in page.getvalue()


def test_a_spinner_shows_markup_and_escapes_as_text() -> None:
    page = io.StringIO()
    console = LiteralConsole(file=page, width=WIDTH, force_terminal=True, color_system=None)
    status = console.status(HOSTILE)
    console.print(status.renderable)
    status.update(f"[/red] {HOSTILE}")
    console.print(status.renderable)
    assert acts_on_nothing(page.getvalue())
    assert page.getvalue().count("[red]m[/red] :smile: ") == 2


@given(ANY_TEXT)
def test_json_is_visible_ascii_and_reads_back_as_it_was(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        page = io.StringIO()
        patch.setattr("sys.stdout", page)
        print_json({"name": text})
    assert page.getvalue().rstrip("\n").isascii()
    assert acts_on_nothing(page.getvalue())
    assert json.loads(page.getvalue()) == {"name": text}


def test_a_log_line_is_one_line_of_visible_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("ingest").warning("rejected", key=HOSTILE)
    structlog.reset_defaults()
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert acts_on_nothing(line)
    assert json.loads(line)["key"] == HOSTILE


@pytest.mark.parametrize(
    "arguments", [("events", "list"), ("events", "show", "event-7"), ("models", "list", "--history")]
)
def test_commands_that_ask_the_rest_api_show_hostile_answers_as_text(arguments: tuple[str, ...]) -> None:
    with served(answers) as url:
        result = run_against(url, *arguments)
    assert result.exit_code == 0, result.stderr
    assert acts_on_nothing(result.stdout)
    assert r"\x1b[2J" in result.stdout
    assert "[red]m[/red] :smile: " in result.stdout


def test_a_problem_that_the_rest_api_reports_is_shown_as_text() -> None:
    with served(lambda _: None) as url:
        result = run_against(url, "events", "show", "\x1b[2J")
    assert result.exit_code == 1
    assert acts_on_nothing(result.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        (HOSTILE,),
        (f"--{HOSTILE}",),
        ("upload", HOSTILE.replace("/", "")),
        ("events", "list", "--severity", HOSTILE),
        ("dead", HOSTILE),
        ("keys", "list", "--file", HOSTILE),
        ("ledger", "--from", HOSTILE),
    ],
    ids=["command", "option", "file", "choice", "subcommand", "keys file", "time"],
)
def test_what_is_wrong_with_an_argument_is_stated_without_acting_on_the_terminal(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.rich_utils.COLOR_SYSTEM", None)
    with served(lambda _: None) as url:
        result = run_against(url, *arguments)
    assert result.exit_code != 0
    assert acts_on_nothing(result.stdout + result.stderr)
    assert "[2J" in result.stderr.replace("\n", ""), "the argument is quoted"


@pytest.mark.parametrize(
    "line",
    [
        "print(name)",
        "import sys; sys.stdout.write(name)",
        "import typer; typer.echo(name)",
        "from rich.console import Console; Console().print(name)",
        "import rich; rich.print(name)",
    ],
)
def test_nothing_is_printed_but_through_the_consoles_of_output(line: str) -> None:
    """`make lint` refuses a command that prints by itself."""
    command = [Path(sys.executable).with_name("ruff"), "check", "--no-cache", "--output-format", "concise"]
    in_a_command = ["--stdin-filename", REPOSITORY / "cli/src/shotwatch_cli/commands/new.py", "-"]
    found = subprocess.run([*command, *in_a_command], input=line, capture_output=True, text=True)
    assert re.search("T201|TID251", found.stdout)


def test_the_traceback_of_a_defect_acts_on_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise AssertionError(HOSTILE)

    monkeypatch.setattr("shotwatch_cli.commands.events.event_table", fail)
    with served(answers) as url:
        result = run_against(url, "events", "list")
    assert result.exit_code == 1
    assert acts_on_nothing(result.stderr)
    assert "Traceback" in result.stderr
    assert printable(HOSTILE).split("\\n")[0] in result.stderr


def answers(path: str) -> Any:
    record = {"raised": 1, "confirmed": 0, "false": 0}
    version = {
        "version": "1",
        "aliases": [HOSTILE],
        "created_at": "",
        "tags": {},
        "shadow": None,
        "record": record,
    }
    change = {"at": "", "version": "1", "before": None, "who": HOSTILE, "rollback": False, "why": ""}
    document = hostile_event(HOSTILE).model_dump(mode="json", by_alias=True)
    standing = {"verdict": None, "acknowledged_by": HOSTILE, "snoozed_until": None}
    standing["acknowledged_caller"] = HOSTILE
    match path.partition("?")[0].removeprefix("/api/v1/").split("/"):
        case ["models"]:
            return {"versions": [version], "loads": [], "promotion_differences": [HOSTILE]}
        case ["models", "promotions"]:
            return {"promotions": [change]}
        case ["events"]:
            return {
                "events": [document],
                "standings": {"incident": standing},
                "last": 7,
                "more": False,
                "reset": False,
            }
        case ["events", "event-7"]:
            return document
        case ["events", "event-7", "feedback"]:
            return {"standing": standing, "statements": []}
