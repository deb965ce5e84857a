// The page for raw files. The browser reads the file; the server only sends it. Text is shown by write() alone.

import { API, at, element, write } from "/page/common.js";

const LONGEST_MS = 30000; // of one request to the worker; a hostile file may keep it busy for ever

const id = new URLSearchParams(location.search).get("object") ?? "";
const worker = new Worker("/page/raw-worker.js", { type: "module" });
const waiting = new Map();
let asked = 0;

function askWorker(name, argument, transferred = []) {
  asked += 1;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail(`no answer within ${LONGEST_MS / 1000} s: the file may be damaged`), LONGEST_MS);
    waiting.set(asked, { resolve, reject, timer });
    worker.postMessage({ id: asked, name, argument }, transferred);
  });
}

/** End the worker, and refuse everything that waits for it. */
function fail(why) {
  worker.terminate();
  waiting.forEach(({ reject, timer }) => { clearTimeout(timer); reject(new Error(why)); });
  waiting.clear();
}

worker.addEventListener("message", ({ data }) => {
  const { resolve, reject, timer } = waiting.get(data.id);
  waiting.delete(data.id);
  clearTimeout(timer);
  if (data.wrong === undefined) resolve(data.answer);
  else reject(new Error(data.wrong));
});
worker.addEventListener("error", () => fail("the reader of HDF5 did not start: is h5wasm installed?"));

async function attempt(work) {
  try {
    at("problem").hidden = true;
    await work();
  } catch (error) {
    at("problem").hidden = false;
    write(at("problem"), error.message);
    write(at("status"), "");
  }
}

async function openFile() {
  const answer = await fetch(`${API}/ledger/objects/${encodeURIComponent(id)}/content`);
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  if (!answer.ok) throw new Error((await answer.json()).detail);
  const bytes = await answer.arrayBuffer();
  const size = bytes.byteLength;
  fill(at("tree"), "", await askWorker("open", bytes, [bytes]));
  at("file").hidden = false;
  write(at("status"), `${size.toLocaleString("en")} bytes`);
}

function fill(list, path, { members, more }) {
  list.replaceChildren(...members.map((member) => entry(path, member)));
  if (more) list.append(element("li", `… and ${more} more`));
}

function entry(path, { name, kind }) {
  const row = element("li");
  if (kind === "link") {
    write(row, `${name} → a link`);
    return row;
  }
  const button = element("button", kind === "group" ? `▸ ${name}` : name);
  button.type = "button";
  const own = `${path}/${name}`;
  button.addEventListener("click", () => attempt(() => (kind === "group" ? toggle(row, button, own, name) : show(own))));
  row.append(button);
  return row;
}

async function toggle(row, button, path, name) {
  const open = row.querySelector("ul");
  open?.remove();
  write(button, `${open ? "▸" : "▾"} ${name}`);
  button.setAttribute("aria-expanded", String(!open));
  if (open) return;
  const list = element("ul");
  row.append(list);
  fill(list, path, await askWorker("list", path));
}

async function show(path) {
  const { shape, type, attributes, image, sides, values, more } = await askWorker("read", path);
  write(at("shown"), path);
  const facts = [["shape", shape.join(" × ") || "one value"], ["type", type], ...attributes];
  at("facts").replaceChildren(...facts.flatMap(([name, fact]) => [element("dt", name), element("dd", fact)]));
  at("image").hidden = image === undefined;
  at("values").hidden = image !== undefined;
  if (image) draw(image, sides, path);
  else write(at("values"), values.join(" ") + (more ? ` … and ${more} more` : ""));
}

/** Draw the values from black to white, from the lowest to the highest. */
function draw(values, [height, width], path) {
  const canvas = at("image");
  Object.assign(canvas, { width, height });
  canvas.setAttribute("aria-label", path);
  let [low, high] = [Infinity, -Infinity];
  values.forEach((value) => {
    if (value < low) low = value;
    if (value > high) high = value;
  });
  const picture = new ImageData(width, height);
  values.forEach((value, n) => {
    const grey = 255 * (value - low) / (high - low || 1);
    picture.data.set([grey, grey, grey, 255], 4 * n);
  });
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

await attempt(openFile);
