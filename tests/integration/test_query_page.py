"""The operators' page in a real browser, logged in by the form."""

import asyncio
import io
import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Browser, Page, expect

from shotwatch_common.printable import printable
from shotwatch_shots.event import AnomalyEvent, Evidence
from shotwatch_shots.ledger import Entry, ReadFacts
from shotwatch_shots.records import ObjectRef
from shotwatch_shots.vocabulary import AnomalyKind, FeedbackAction, ObjectState, Phase

from .browser import browser as chromium
from .query_world import ANOMALOUS, CAMERA, FIRST_PULSE, LA, SHOTS, World, block_key, raise_event, shot

WITHIN_MS = 15_000
"""A deadline for a busy machine: the stream is asked for every quarter of a second."""


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@dataclass(frozen=True, slots=True)
class Screen:
    """The page, and every error that the browser complained of."""

    page: Page
    errors: list[str]


async def logged_in(browser: Browser, world: World, name: str, scopes: str) -> Screen:
    key = world.let_in(name, scopes)["Authorization"].removeprefix("Bearer ")
    page, errors = await browser.new_page(viewport={"width": 1600, "height": 1000}), []
    page.set_default_timeout(WITHIN_MS)
    expect.set_options(timeout=WITHIN_MS)
    await page.goto(str(world.api.base_url.join("/")))
    await page.get_by_label("API key").fill(key)
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.get_by_role("button", name="Log in").click()
    await expect(page.locator("#connection")).to_have_text("● live")
    return Screen(page, errors)


@pytest.fixture
async def screen(browser: Browser, world: World, request: pytest.FixtureRequest) -> AsyncIterator[Screen]:
    screen = await logged_in(browser, world, re.sub(r"\W", "_", request.node.name), "read,label")
    yield screen
    await screen.page.close()
    assert screen.errors == []


async def test_the_address_with_the_token_opens_the_page_and_no_request_has_it_in_its_address(
    browser: Browser, world: World
) -> None:
    token = world.let_in("address", "read,label")["Authorization"].removeprefix("Bearer ")
    home, context = str(world.api.base_url.join("/")), await browser.new_context()
    page, addresses = await context.new_page(), []
    context.on("request", lambda request: addresses.append((request.url, request.headers.get("referer", ""))))
    await page.goto(f"{home}#token={token}")
    await expect(page.locator("#connection")).to_have_text("● live")
    assert (page.url, await page.evaluate("history.length")) == (home, 2)
    assert len(addresses) > 5
    assert [reported for reported in addresses if any(token in part for part in reported)] == []
    for kept in ("document.cookie", "JSON.stringify([localStorage, sessionStorage, history.state])"):
        assert token not in await page.evaluate(kept)
    [cookie] = await context.cookies()
    assert (cookie["value"], cookie["httpOnly"], cookie["sameSite"]) == (token, True, "Strict")
    await context.close()


async def test_an_address_with_a_wrong_token_leads_to_the_form(browser: Browser, world: World) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{world.api.base_url.join('/')}#token=shotwatch_wrong")
    await expect(page.get_by_label("API key")).to_be_visible(timeout=WITHIN_MS)
    assert "shotwatch_wrong" not in page.url
    await context.close()


async def test_the_page_shows_a_place_and_how_long_it_has_been_silent(screen: Screen) -> None:
    tile = screen.page.get_by_role("article").filter(has_text=LA.place.in_words)
    await expect(tile).to_contain_text("600 shots/min")
    await expect(tile).to_contain_text("score 1.0 of 5.0")
    await expect(screen.page.locator("#shots")).to_contain_text("shot")


async def test_an_event_appears_and_changes_in_place_without_a_reload(screen: Screen, world: World) -> None:
    opened = await raise_event(world, 200, why="first seen")
    row = screen.page.get_by_role("listitem").filter(has_text="first seen")
    await expect(row).to_contain_text("open since")
    await raise_event(world, 201, opened=200, why="worse now")
    await expect(screen.page.get_by_role("listitem").filter(has_text="worse now")).to_have_count(1)
    await expect(row).to_have_count(0)
    await raise_event(world, 202, opened=200, why="it is over", phase=Phase.CLOSED)
    over = screen.page.get_by_role("listitem").filter(has_text="worse now")
    await expect(over).to_contain_text("over ·")
    assert opened.data.incident == opened.id


async def test_text_of_an_event_is_shown_as_text(screen: Screen, world: World) -> None:
    why = "<img src=x onerror=\"document.title='taken'\"><b>bold</b>"
    await raise_event(world, 210, why=why)
    row = screen.page.get_by_role("listitem").filter(has_text=why)
    await row.get_by_role("button").press("Enter")
    await expect(screen.page.locator("#details-why")).to_have_text(why)
    assert await screen.page.locator("li b, dialog b, li img").count() == 0
    await expect(screen.page).not_to_have_title("taken")


async def test_what_cannot_be_seen_is_shown_as_an_escape(screen: Screen, world: World) -> None:
    hostile = "gas\u202enoitpircsed\u2069 \x1b[2J\u061c\u200f\x85\r\n\ttab\u00a0end"
    await raise_event(world, 211, why=f"hostile: {hostile}")
    row = screen.page.get_by_role("listitem").filter(has_text="hostile: ")
    await row.get_by_role("button").press("Enter")
    for place in (row.locator(".why"), screen.page.locator("#details-why")):
        assert await place.text_content() == f"hostile: {printable(hostile)}"


async def test_a_page_whose_number_lies_beyond_the_end_reads_its_lists_anew(
    screen: Screen, world: World
) -> None:
    """As it is when the database was emptied while the page was open."""
    gone = await raise_event(world, 220, why="of the old database")
    await expect(screen.page.get_by_role("listitem").filter(has_text="of the old database")).to_have_count(1)
    async with world.archive() as archive:
        end = await archive.events.last_number()
        await archive._database["events"].delete_one({"_id": gone.id})
    beyond = {"known": end + 1000}
    await screen.page.route(
        "**/events/stream?since=*",
        lambda route: (
            route.continue_(url=re.sub(r"since=\d+", f"since={beyond.pop('known')}", route.request.url))
            if beyond
            else route.continue_()
        ),
    )
    await screen.page.context.set_offline(True)
    await expect(screen.page.locator("#connection")).to_contain_text("reconnecting since")
    await screen.page.context.set_offline(False)
    await expect(screen.page.get_by_role("listitem").filter(has_text="of the old database")).to_have_count(0)
    await expect(screen.page.locator("#connection")).to_have_text("● live")
    assert not beyond
    await raise_event(world, 221, why="of the new database")
    await expect(screen.page.get_by_role("listitem").filter(has_text="of the new database")).to_have_count(1)


async def shown(screen: Screen, event: AnomalyEvent) -> None:
    row = screen.page.get_by_role("listitem").filter(has_text=event.data.why)
    await row.get_by_role("button").click()
    await expect(screen.page.get_by_role("dialog")).to_be_visible()


async def test_a_click_shows_the_frame_and_acknowledging_is_kept(screen: Screen, world: World) -> None:
    event = await raise_event(world, 8, why="check this")
    await shown(screen, event)
    frame = screen.page.get_by_role("img", name="frame").locator("image")
    await expect(frame).to_have_attribute("href", re.compile(f"{CAMERA}/image$"))
    assert await frame.get_attribute("width") == "128"
    await screen.page.get_by_role("button", name="Acknowledge", exact=True).click()
    await expect(screen.page.locator("#answer")).to_have_text("saved")
    async with world.archive() as archive:
        (statement,) = await archive.feedback.of_incident(event.data.incident)
    assert statement.action is FeedbackAction.ACKNOWLEDGED
    await expect(screen.page.locator("#incidents")).to_contain_text(f"acknowledged by {statement.who}")


async def test_who_may_only_read_is_offered_no_opinion(browser: Browser, world: World) -> None:
    screen = await logged_in(browser, world, "onlooker", "read")
    event = await raise_event(world, 9, why="only read")
    await shown(screen, event)
    await expect(screen.page.get_by_role("button", name="Acknowledge", exact=True)).to_have_count(0)
    await screen.page.close()


async def test_the_page_reports_it_when_it_receives_nothing_any_more(screen: Screen) -> None:
    await screen.page.context.set_offline(True)
    await expect(screen.page.locator("#connection")).to_contain_text("reconnecting since")
    await screen.page.context.set_offline(False)
    await expect(screen.page.locator("#connection")).to_have_text("● live")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_the_description_is_shown_with_nothing_from_elsewhere(
    browser: Browser, world: World, path: str
) -> None:
    page, complaints, answered = await browser.new_page(), list[str](), list[str]()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("response", lambda response: answered.append(response.url))
    await page.goto(str(world.api.base_url.join(path)))
    shown = page.get_by_text("Search shots; members, features, score and reasons of one.")
    await expect(shown.first).to_be_visible(timeout=WITHIN_MS)
    await page.close()
    # ReDoc asks for the logo of its makers: the policy keeps it from doing so
    assert [each for each in complaints if "cdn.redoc.ly/redoc/logo" not in each] == []
    own = (str(world.api.base_url.join("/")), "data:", "blob:")
    assert [url for url in answered if not url.startswith(own)] == []


# The search by value.

SEARCH = f"search?place={LA.place}&from={FIRST_PULSE}&to={FIRST_PULSE + 100 * SHOTS}"
X = f"{CAMERA.replace('-', '_')}.centroid_x"


async def test_the_address_of_a_search_brings_back_its_shots_and_its_plot(
    screen: Screen, world: World
) -> None:
    page = screen.page
    await page.goto(str(world.api.base_url.join(f"/{SEARCH}")))
    await expect(page.get_by_role("status")).to_have_text(f"{SHOTS} shots")
    await page.get_by_label("Horizontal").fill(X)
    await page.get_by_label("Where").fill(f"{X} is not missing and score is not missing")
    await page.get_by_role("button", name="Search", exact=True).click()
    expected = world.get(
        "tables/shots",
        **{"place": str(LA.place), "from": FIRST_PULSE, "to": FIRST_PULSE + 100 * SHOTS},
        where=f"{X} is not missing and score is not missing",
    )
    (shots,) = (each["values"] for each in expected["columns"] if each["name"] == "shot")
    picture = page.get_by_role("img", name=f"score against {X}, {len(shots)} shots")
    await expect(picture).to_be_visible()
    drawn = await page.locator("#plot .points").get_attribute("d")
    assert drawn is not None
    assert drawn.count("M") == len(shots)
    cells = page.locator("#rows tbody tr td:first-child")
    assert await cells.all_text_contents() == shots
    await page.reload()
    await expect(picture).to_be_visible()


async def test_columns_are_derived_and_aggregated_and_the_address_brings_them_back(
    screen: Screen, world: World
) -> None:
    page = screen.page
    await page.goto(str(world.api.base_url.join(f"/{SEARCH}")))
    await page.get_by_text("Derive columns").click()
    await page.get_by_label("Derive").fill("twice = score * 2\nmore = twice + 1")
    await page.get_by_label("Aggregate").fill("count\nmax(more)")
    await page.get_by_label("every").select_option("minute")
    await page.get_by_role("button", name="Search", exact=True).click()
    await expect(page.get_by_role("status")).to_have_text("1 period")
    cells = page.locator("#rows tbody td")
    expected = ["2022-07-01T07:33:00Z", str(SHOTS), "20"]  # the score of the anomaly is 9.5
    assert await cells.all_text_contents() == expected
    await page.reload()
    await expect(cells).to_have_text(expected)


async def test_a_search_is_saved_loaded_and_removed(screen: Screen, world: World) -> None:
    page = screen.page
    await page.goto(str(world.api.base_url.join(f"/{SEARCH}&where=score+%3E+5")))
    await page.get_by_text("Derive columns").click()
    name, status = page.get_by_label("Saved search"), page.get_by_role("status")
    await expect(status).to_have_text("1 shot")
    await name.fill("high scores")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(status).to_have_text("saved")
    await page.goto(
        str(world.api.base_url.join(f"/search?from={FIRST_PULSE}&to={FIRST_PULSE + 100 * SHOTS}"))
    )
    await page.get_by_text("Derive columns").click()
    await name.fill("high scores")
    await page.get_by_role("button", name="Load").click()
    await expect(status).to_have_text("1 shot")
    await expect(page.get_by_label("Where")).to_have_value("score > 5")
    await page.get_by_role("button", name="Remove").click()
    await expect(status).to_have_text("removed")
    await page.get_by_role("button", name="Load").click()
    await expect(page.get_by_role("alert")).to_contain_text("no search with the name high scores")


async def test_a_search_needs_no_mouse(screen: Screen, world: World) -> None:
    page = screen.page
    await page.goto(str(world.api.base_url.join(f"/{SEARCH}")))
    await expect(page.get_by_role("status")).to_have_text(f"{SHOTS} shots")
    await page.keyboard.press("/")
    await expect(page.get_by_label("Where")).to_be_focused()
    await page.keyboard.type("score > 5")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text("1 shot")


SCREENS = {"wall": (3840, 2160), "desk": (1920, 1080), "phone": (390, 844)}
GAPS = """() => {
  const tops = [...document.querySelectorAll("header, #search > *, main > :not(#search)")]
    .map((each) => each.getBoundingClientRect()).filter((each) => each.height).sort((a, b) => a.top - b.top);
  const bottom = (count) => Math.max(...tops.slice(0, count).map((each) => each.bottom));
  return tops.slice(1).map((each, n) => each.top - bottom(n + 1));
}"""
"""The heights of the gaps between what one sees from top to bottom, in pixels."""
AXE = Path(files("axe_playwright_python")) / "axe.min.js"


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size", SCREENS)
async def test_the_search_fits_each_screen_and_axe_finds_nothing_serious(
    screen: Screen, world: World, scheme: Literal["dark", "light"], size: str, tmp_path: Path
) -> None:
    page, (width, height) = screen.page, SCREENS[size]
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size({"width": width, "height": height})
    await page.goto(str(world.api.base_url.join(f"/{SEARCH}&derive=twice+%3D+score+*+2&y=twice")))
    await expect(page.get_by_role("img")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    gaps = await page.evaluate(GAPS)
    assert max(gaps) < 100, gaps
    if (size, scheme) == ("desk", "dark"):  # `make screenshots` keeps it in docs
        await page.screenshot(path=Path(os.environ.get("SCREENSHOTS", tmp_path)) / "search.png")
    await page.evaluate(await asyncio.to_thread(AXE.read_text))
    found = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
    assert [each["id"] for each in found["violations"] if each["impact"] in ("serious", "critical")] == []
    assert len(found["passes"]) > 10


async def test_a_wrong_expression_is_explained_where_it_is_wrong(screen: Screen, world: World) -> None:
    page = screen.page
    await page.goto(str(world.api.base_url.join(f"/{SEARCH}&where=scor+%3E+1")))
    await expect(page.get_by_role("alert")).to_contain_text("did you mean score")
    await expect(page.get_by_role("alert")).to_contain_text("^^^^")
    await expect(page.locator("#rows")).to_be_hidden()


async def test_the_shots_of_a_search_are_files_to_take_along(screen: Screen, world: World) -> None:
    page = screen.page
    await page.goto(str(world.api.base_url.join(f"/{SEARCH}&where=score+%3E+5")))
    await expect(page.get_by_role("status")).to_have_text("1 shot")
    async with page.expect_download() as started:
        await page.get_by_role("link", name="CSV").click()
    file = await (await started.value).path()
    lines = (await asyncio.to_thread(file.read_text)).splitlines()
    assert len(lines) == 2
    assert shot(ANOMALOUS) in lines[1]


async def test_an_event_is_analysed_in_a_notebook_with_its_shot_loaded(screen: Screen, world: World) -> None:
    await raise_event(world, 18, kind=AnomalyKind.ENERGY, why="to analyse")
    await screen.page.get_by_role("listitem").filter(has_text="to analyse").get_by_role("button").click()
    async with screen.page.expect_download() as started:
        await screen.page.get_by_role("link", name="Analyse in a notebook").click()
    download = await started.value
    assert download.suggested_filename == f"{shot(18)}.ipynb"
    notebook = json.loads(await asyncio.to_thread((await download.path()).read_text))
    code = "".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert f"client.shot('{shot(18)}')" in code
    assert f"connect('{str(world.api.base_url).removesuffix('/api/v1/')}')" in code


# Raw files.


def snapshot_file(frame: NDArray[np.uint16]) -> bytes:
    """A file as the control system writes it, with a link to another file and one back to its root."""
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        group = file.create_group("07-33-00-100").create_group(CAMERA)
        group["STATE"] = b"ON"
        group.create_dataset("ROIImageLow", data=frame, compression="gzip", shuffle=True)
        group["ROIImageLow"].attrs["note"] = "<b>bold</b>\u202e"
        group["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
        group["above"] = h5py.SoftLink("/")
    return data.getvalue()


async def raw_file(world: World, object_id: str, data: bytes) -> str:
    """The address of the page for a raw file that was read."""
    ref = ObjectRef(
        object_id=object_id, bucket="inbox", key=f"{object_id}.h5", etag="e", size=len(data), arrived_at=0
    )
    async with world.archive() as archive, world.store() as store:
        await store.ensure_buckets("data")
        await store.put("data", ref.key, data)
        await archive.ledger.enter(ref, "ingest")
        ingested, location = Entry(ObjectState.INGESTED, "ingest"), ("data", ref.key)
        await archive.ledger.settle_at(object_id, ingested, location, "", ReadFacts(records=1))
    return str(world.api.base_url.join(f"/raw?object={object_id}"))


async def test_the_browser_reads_a_raw_file_and_shows_what_is_in_it(screen: Screen, world: World) -> None:
    page = screen.page
    frame = np.random.default_rng(5).integers(0, 4093, (102, 128), np.uint16)
    await page.goto(await raw_file(world, "raw-shown", snapshot_file(frame)))
    await page.get_by_role("button", name="07-33-00-100").click()
    await page.get_by_role("button", name=CAMERA).click()
    await expect(page.get_by_text("elsewhere → a link")).to_be_visible()
    await page.get_by_role("button", name="STATE").click()
    await expect(page.locator("#values")).to_have_text("ON")
    await page.get_by_role("button", name="ROIImageLow").click()
    await expect(page.locator("#facts")).to_contain_text("102 × 128")
    await expect(page.locator("#facts")).to_contain_text("<b>bold</b>\\u202e")
    await expect(page.get_by_role("img", name="ROIImageLow")).to_be_visible()
    drawn = await page.evaluate(
        """() => {
          const drawing = document.getElementById("image").getContext("2d");
          return Array.from(drawing.getImageData(0, 0, 128, 102).data);
        }"""
    )
    greys = np.array(drawn).reshape(102, 128, 4)[:, :, 0]
    low, high = int(frame.min()), int(frame.max())
    np.testing.assert_allclose(greys, (frame.astype(float) - low) * 255 / (high - low), atol=1)


@pytest.mark.parametrize(
    ("name", "data"),
    [("text", b"no HDF5"), ("cut", snapshot_file(np.ones((9, 9), np.uint16))[:900])],
    ids=["text", "cut"],
)
async def test_a_file_that_is_no_hdf5_or_damaged_is_reported(
    screen: Screen, world: World, name: str, data: bytes
) -> None:
    await screen.page.goto(await raw_file(world, f"raw-{name}", data))
    await expect(screen.page.get_by_role("alert")).to_contain_text("not an HDF5 file, or it is damaged")


async def test_an_event_links_to_the_raw_files_behind_it(screen: Screen, world: World) -> None:
    evidence = Evidence(device=CAMERA, block=block_key(CAMERA), row=19, raw_object=f"{CAMERA}.h5")
    await raise_event(world, 19, kind=AnomalyKind.ENERGY, why="of a raw file", evidence=[evidence])
    await screen.page.get_by_role("listitem").filter(has_text="of a raw file").get_by_role("button").click()
    link = screen.page.get_by_role("link", name=f"{CAMERA}.h5")
    await expect(link).to_have_attribute("href", "/raw?object=0123abcd")


async def test_a_raw_file_that_does_not_exist_is_named(screen: Screen, world: World) -> None:
    await screen.page.goto(str(world.api.base_url.join("/raw?object=%3Cb%3Enothing")))
    await expect(screen.page.get_by_role("alert")).to_have_text("the ledger has no object <b>nothing")


async def test_only_the_worker_that_reads_raw_files_may_compile_web_assembly(world: World) -> None:
    paths = ("/", "/search", "/raw", "/page/raw.js", "/page/raw-worker.js", "/page/h5wasm/hdf5_hl.js")
    policies = {
        path: world.api.get(str(world.api.base_url.join(path))).headers["content-security-policy"]
        for path in paths
    }
    assert [path for path in paths if "wasm-unsafe-eval" in policies[path]] == ["/page/raw-worker.js"]
    assert "connect-src 'none'" in policies["/page/raw-worker.js"]
    assert [path for path in paths if "worker-src" in policies[path]] == ["/raw"]


async def test_the_page_may_load_nothing_from_elsewhere(world: World) -> None:
    for path in ("/", "/search", "/page/common.js", "/page/live.js", "/page/search.js", "/page/live.css"):
        answer = world.api.get(str(world.api.base_url.join(path)))
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';")
