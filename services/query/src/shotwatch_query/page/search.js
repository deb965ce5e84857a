// The search by value. Its address brings back what one saw. Text from outside is shown by write() alone.

import { API, ask, at, drawn, element, write } from "/page/common.js";

const ROWS_OF_PAGE = 2000;
const MOST_ROWS = 20000; // of a plot; the files for export have more
const MOST_SHOWN = 500; // in the table
const PATH = "/tables/shots";
const SAVED = "/tables/searches";
const LONG_TIMEOUT_MS = 60000; // aggregates take up to half a minute, and may wait for others
const FIELDS = ["place", "from", "to", "interval", "where", "derive", "aggregate", "every", "x", "y"];
const LISTS = { derive: "\n", aggregate: "\n", place: "," }; // fields with several values, and what is between them
const OWN = ["shot", "time", "place"]; // columns that need not be asked for
const WIDTH = 900, HEIGHT = 420, LEFT = 90, BOTTOM = 50, TOP = 15, RIGHT = 20;

let asked = null; // the parameters of the search whose rows are shown
let columns = []; // { name, unit, values }
let next = null;

const form = () => at("search");
const value = (name) => form().elements[name].value.trim();
const column = (name) => columns.find((each) => each.name === name);
const values = (name) => value(name).split(LISTS[name]).map((each) => each.trim()).filter(Boolean);
const count = () => columns[0]?.values.length ?? 0;
const counted = (number) => `${number} ${asked.has("aggregate") ? "period" : "shot"}${number === 1 ? "" : "s"}`;
const short = (number) => Number(number.toPrecision(5)).toString();

/** Return the parameters of the API for what the form has; aggregates come instead of columns. */
function parameters() {
  const found = new URLSearchParams();
  Object.keys(LISTS).forEach((name) => values(name).forEach((each) => found.append(name, each)));
  ["from", "to", "interval", "where"].filter(value).forEach((name) => found.append(name, value(name)));
  if (value("aggregate")) found.append("every", value("every"));
  else ["score", "kinds", ...plotted()].forEach((name) => found.append("columns", name));
  return found;
}

/** Return the address of the shots that are shown, in a format or from a cursor on. */
const address = (more) => `${PATH}?${asked}&${new URLSearchParams(more)}`;
const plotted = () => [value("x"), value("y")].filter((name) => name && !OWN.includes(name));

function keepAddress() {
  const needed = (name) => value(name) && (name !== "every" || value("aggregate"));
  const given = FIELDS.filter(needed).map((name) => [name, value(name)]);
  history.replaceState(null, "", `/search?${new URLSearchParams(given)}`);
}

async function search() {
  keepAddress();
  asked = parameters();
  columns = [];
  next = null;
  await further();
}

/** Read another page; a page may have no rows and yet a next one. */
async function further() {
  await explained("searching …", async () => {
    const more = next === null ? {} : { cursor: next };
    const signal = AbortSignal.timeout(LONG_TIMEOUT_MS);
    const page = await ask(address({ limit: ROWS_OF_PAGE, ...more }), { signal });
    columns = page.columns.map((each) => ({ ...each, values: [...(column(each.name)?.values ?? []), ...each.values] }));
    next = page.next;
    show();
  });
}

/** Do something that asks the API, and show what is wrong if it fails. */
async function explained(meanwhile, act) {
  write(at("status"), meanwhile);
  at("problem").hidden = true;
  try {
    await act();
  } catch (error) {
    write(at("status"), "");
    at("problem").replaceChildren(...[error.message, ...(error.excerpt ?? [])].map((line) => element("div", line)));
    at("problem").hidden = false;
    if (!count()) ["more", "rows", "plot"].forEach((id) => { at(id).hidden = true; });
  }
}

function show() {
  write(at("status"), `${counted(count())}${next ? ", and there may be more" : ""}`);
  at("further").hidden = !next || count() >= MOST_ROWS;
  ["csv", "parquet"].forEach((format) => { at(format).href = API + address({ format, limit: 100000 }); });
  at("more").hidden = at("rows").hidden = !count();
  showRows();
  const first = columns.find((each) => !OWN.includes(each.name));
  showPlot(column(value("x") || "time"), column(value("y") || "score") ?? first);
}

function showRows() {
  const shown = Math.min(count(), MOST_SHOWN);
  const table = element("table");
  table.append(element("caption", `the first ${shown} of ${counted(count())}`));
  const head = table.createTHead().insertRow();
  columns.forEach((each) => {
    const cell = element("th", each.unit ? `${each.name} / ${each.unit}` : each.name);
    cell.scope = "col";
    head.append(cell);
  });
  const body = table.createTBody();
  for (let row = 0; row < shown; row += 1) {
    const line = body.insertRow();
    columns.forEach((each) => line.append(element("td", text(each.values[row]))));
  }
  at("rows").replaceChildren(table);
}

function text(cell) {
  if (cell === null) return "";
  if (Array.isArray(cell)) return cell.join(", ");
  return typeof cell === "number" ? short(cell) : String(cell);
}

/** Return the values as numbers: times in ms; NaN where there is none. */
function numbers(each) {
  return each.values.map((cell) => {
    if (typeof cell === "string") return Date.parse(cell);
    return cell === null || Array.isArray(cell) ? NaN : Number(cell);
  });
}

function showPlot(horizontal, vertical) {
  const points = horizontal && vertical ? pairs(numbers(horizontal), numbers(vertical)) : [];
  at("plot").hidden = points.length === 0;
  if (points.length === 0) return;
  const across = axis(points.map(([x]) => x), LEFT, WIDTH - RIGHT);
  const up = axis(points.map(([, y]) => y), HEIGHT - BOTTOM, TOP);
  const name = `${vertical.name} against ${horizontal.name}, ${counted(points.length)}`;
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": name });
  const frame = `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}`;
  svg.append(drawn("path", { class: "axis", d: frame }));
  const path = points.map(([x, y]) => `M${across.at(x).toFixed(1)} ${up.at(y).toFixed(1)}h0`).join("");
  svg.append(drawn("path", { class: "points", d: path }));
  [[across.low, "start"], [across.high, "end"]].forEach(([at_, anchor]) => {
    svg.append(label(mark(horizontal, at_), across.at(at_), HEIGHT - BOTTOM + 20, anchor));
  });
  [up.low, up.high].forEach((at_) => svg.append(label(mark(vertical, at_), LEFT - 6, up.at(at_) + 5, "end")));
  svg.append(label(titled(horizontal), (LEFT + WIDTH) / 2, HEIGHT - 8, "middle"));
  svg.append(label(titled(vertical), LEFT + 8, TOP + 14, "start"));
  at("plot").replaceChildren(svg, element("figcaption", name));
}

function pairs(xs, ys) {
  return xs.map((x, row) => [x, ys[row]]).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
}

/** Return the range of values, and where on the axis from `start` to `end` a value lies. */
function axis(values, start, end) {
  const low = values.reduce((least, each) => Math.min(least, each), Infinity);
  const high = values.reduce((most, each) => Math.max(most, each), -Infinity);
  const at_ = (each) => start + (end - start) * (high > low ? (each - low) / (high - low) : 0.5);
  return { low, high, at: at_ };
}

const mark = (each, at_) => (each.name === "time" ? new Date(at_).toISOString().slice(0, 19).replace("T", " ") : short(at_));
const titled = (each) => (each.unit ? `${each.name} / ${each.unit}` : each.name);

function label(words, x, y, anchor) {
  const made = drawn("text", { x, y, "text-anchor": anchor });
  write(made, words);
  return made;
}

function options(list, names) {
  at(`${list}-known`).replaceChildren(...names.map((name) => Object.assign(document.createElement("option"), { value: name })));
}

/** Offer the columns of the place; of several there is no list. */
async function offerColumns() {
  const place = value("place");
  const found = await ask(`${PATH}/columns?${new URLSearchParams({ place })}`).catch(() => ({ columns: [] }));
  options("columns", found.columns.map((each) => each.name));
}

// Saved searches have no span of time.

const saved = () => `${SAVED}/${encodeURIComponent(at("name").value.trim())}`;

async function load() {
  await explained("", async () => {
    const { search: found } = await ask(saved());
    ["interval", "where", "every"].forEach((name) => { form().elements[name].value = found[name] ?? ""; });
    Object.entries(LISTS).forEach(([name, between]) => { form().elements[name].value = found[name].join(between); });
    [form().elements.x.value = "", form().elements.y.value = ""] = found.columns;
    await offerColumns();
    await search();
  });
}

async function save() {
  await explained("", async () => {
    const search = { interval: value("interval") || null, where: value("where") || null, every: value("every") };
    Object.keys(LISTS).forEach((name) => { search[name] = values(name); });
    if (!value("aggregate")) search.columns = plotted();
    const headers = { "Content-Type": "application/json" };
    await ask(saved(), { method: "PUT", headers, body: JSON.stringify(search) });
    await offerSaved();
    write(at("status"), "saved");
  });
}

async function remove() {
  await explained("", async () => {
    await ask(saved(), { method: "DELETE" });
    await offerSaved();
    write(at("status"), "removed");
  });
}

async function offerSaved() {
  options("saved", (await ask(SAVED)).searches.map((each) => each.name));
}

async function begin() {
  const given = new URLSearchParams(location.search);
  FIELDS.filter((name) => given.has(name)).forEach((name) => { form().elements[name].value = given.get(name); });
  at("further-fields").open = given.has("derive") || given.has("aggregate");
  form().addEventListener("submit", (event) => { event.preventDefault(); search(); });
  at("further").addEventListener("click", further);
  form().elements.place.addEventListener("change", offerColumns);
  Object.entries({ load, save, remove }).forEach(([id, act]) => at(id).addEventListener("click", act));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, textarea, select")) return;
    event.preventDefault();
    form().elements.where.focus();
  });
  options("places", (await ask("/facility")).places.map((each) => each.place));
  await offerSaved();
  if (!value("place")) return;
  await offerColumns();
  await search();
}

begin();
