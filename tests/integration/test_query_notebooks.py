"""Notebooks that the running API makes, and those in docs/notebooks, executed by a kernel of Jupyter."""

import os
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from .query_world import ANOMALOUS, CAMERA, SPECTRO, UNREADABLE, World, energies, raise_event, shot
from .test_client import address

SECONDS = 240
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "notebooks"


async def executed(notebook: nbformat.NotebookNode, folder: Path, key: str) -> nbformat.NotebookNode:
    """The notebook after a kernel has run it in a folder, with this key in the environment."""
    environment = {**os.environ, "SHOTWATCH_API_KEY": key}
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources)
    await client.async_execute(env=environment)
    return notebook


def notebook_of(world: World, path: str) -> nbformat.NotebookNode:
    answer = world.api.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ipynb+json")
    assert answer.headers["content-disposition"].endswith('.ipynb"')
    assert world.environment["SHOTWATCH_API_KEY"] not in answer.text
    notebook: nbformat.NotebookNode = nbformat.reads(answer.text, as_version=4)
    nbformat.validate(notebook)
    return notebook


def printed(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def pictures(notebook: nbformat.NotebookNode) -> int:
    outputs: list[Any] = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    return sum("image/png" in output.get("data", {}) for output in outputs)


async def test_the_notebook_of_a_shot_runs_and_shows_what_was_recorded(world: World, tmp_path: Path) -> None:
    key = world.let_in("notebook", "read")["Authorization"].removeprefix("Bearer ")
    notebook = await executed(notebook_of(world, f"/shots/{shot(ANOMALOUS)}/notebook"), tmp_path, key)
    shown = printed(notebook)
    assert f"{CAMERA}.h5" in shown
    assert SPECTRO in shown
    assert "63.5" in shown, "the centroid of the frame"
    assert pictures(notebook) == 3, "the frame, the spectrum, the scores around it"
    assert (tmp_path / "shot.nxs").read_bytes().startswith(b"\x89HDF")


async def test_the_notebook_of_an_event_about_an_unreadable_frame_runs(world: World, tmp_path: Path) -> None:
    event = await raise_event(world, UNREADABLE)
    key = world.let_in("notebook-event", "read")["Authorization"].removeprefix("Bearer ")
    notebook = notebook_of(world, f"/events/{event.id}/notebook")
    assert notebook.cells[0].source.startswith("# An anomaly: hot_spot\n")
    shown = printed(await executed(notebook, tmp_path, key))
    assert "wrong_shape: 101 x 128" in shown
    assert "could not be read" in shown


async def test_a_notebook_has_the_rights_of_the_key_of_whoever_runs_it(world: World, tmp_path: Path) -> None:
    key = world.let_in("notebook-label", "label")["Authorization"].removeprefix("Bearer ")
    with pytest.raises(CellExecutionError, match="NotPermitted"):
        await executed(notebook_of(world, f"/shots/{shot(0)}/notebook"), tmp_path, key)


async def example(world: World, name: str, folder: Path) -> str:
    """Run an example notebook on this world, and return what it prints."""
    notebook = jupytext.read(EXAMPLES / f"{name}.py")
    for cell in notebook.cells:
        cell.source = re.sub(r"http://127\.0\.0\.1:\d+", address(world), cell.source)
    key = world.let_in(f"notebook-{name}", "read")["Authorization"].removeprefix("Bearer ")
    return printed(await executed(notebook, folder, key))


def test_every_example_has_a_test() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"two_devices", "two_spans"}


async def test_the_example_of_two_devices_finds_that_light_follows_energy(
    world: World, tmp_path: Path
) -> None:
    shown = await example(world, "two_devices", tmp_path)
    assert f"{len(energies())} shots have both" in shown
    assert "correlation 1.000, 1000 counts/J" in shown


async def test_the_example_of_two_spans_finds_the_jump_of_the_spectrum(world: World, tmp_path: Path) -> None:
    shown = await example(world, "two_spans", tmp_path)
    [line] = [line for line in shown.splitlines() if line.startswith("spectrum_centroid")]
    _, before, after, change, sigmas = line.split()
    assert (float(before), float(after)) == (pytest.approx(1000, abs=1), pytest.approx(1010, abs=1))
    assert float(change) == pytest.approx(10, abs=1)
    assert float(sigmas) > 5


@pytest.mark.parametrize("host", ["[::1'; import os", "a b", "", "a" * 300])
def test_a_hostile_host_reaches_no_notebook(world: World, host: str) -> None:
    answer = world.api.get(f"/shots/{shot(0)}/notebook", headers={"Host": host})
    assert answer.status_code in (400, 422)
    assert "import os" not in answer.text or answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/shots/'%29%3Bimport os/notebook", "/events/nothing/notebook"])
def test_what_does_not_exist_has_no_notebook(world: World, path: str) -> None:
    answer = world.api.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
