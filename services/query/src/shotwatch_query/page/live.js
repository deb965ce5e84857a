// The operators' page. Text from outside is shown by write() alone: it is never markup, and cannot reverse other text.

import { API, TIMEOUT_MS, ask, at, drawn, element, write } from "/page/common.js";

const PLACES_EVERY_MS = 3000;
const STALE_S = 60;
const GRACE_MS = 3000; // the browser reconnects within a second when a stream ends
const MOST_OVER = 100;
const HOUR_MS = 3600000;
const SEVERITIES = ["info", "warning", "critical"];
const SHAPES = { info: "●", warning: "▲", critical: "■" };

/** Incidents by id, each { id, opened, event, last, superseded, standing }. */
const incidents = new Map();
const rows = new Map();
const tiles = new Map();
const connection = { stream: null, since: null, known: 0, databaseWrong: null, serverAway: null, brokenAt: 0 };
let caller = { name: "", known: false, scopes: [], trace_url: null };
let places = { now: null, places: [] };
let shown = null;
let audio = null;

const words = (name) => name.replaceAll("_", " ");
const placeName = (where) => where.place.split("-").filter((level) => level !== "00").join(" ");
const placeKey = (where) => `${where.place}/${where.interval}`;
const isOpen = (incident) => !incident.superseded && ["opened", "updated"].includes(incident.last.phase);

function clock(time) {
  const when = new Date(time);
  const today = when.toDateString() === new Date().toDateString();
  return today ? when.toLocaleTimeString("en-GB") : when.toLocaleString("en-GB").replace(",", "");
}

// Requests to the API.

/** Log in with the token of the address (`/#token=…`, as `shotwatch up` prints it), and take it out of the address. */
async function useToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return;
  history.replaceState(null, "", location.pathname);
  const form = { method: "POST", body: new URLSearchParams({ key: token }), redirect: "manual" };
  await fetch("/login", { signal: AbortSignal.timeout(TIMEOUT_MS), ...form }).catch(() => null);
}

async function begin() {
  caller = await ask("/caller");
  write(at("facility"), (await ask("/facility")).name);
  write(at("caller"), caller.known ? caller.name : "");
  at("leaving").hidden = !caller.known;
  at("who").value = caller.known ? caller.name : localStorage.getItem("who") ?? "";
  await readKinds();
  await readPast();
  listen();
}

async function readKinds() {
  const schema = await ask("/schemas/anomaly-event.json");
  const kinds = schema.$defs.AnomalyKind.enum.filter((kind) => kind !== "superseded");
  at("label").replaceChildren(...kinds.map((kind) => Object.assign(element("option", words(kind)), { value: kind })));
}

async function readPast() {
  let page = { last: 0, more: true };
  while (page.more) {
    page = await ask(`/events?latest=1000&limit=1000&since=${page.last}`);
    page.events.forEach(learn);
    learnStandings(page.standings);
  }
  connection.known = page.last;
  showIncidents();
}

/** Repeat the work until it succeeds. */
async function insist(work) {
  try {
    await work();
    connection.databaseWrong = null;
  } catch (error) {
    connection.databaseWrong = error.message;
    showConnection();
    setTimeout(() => insist(work), PLACES_EVERY_MS);
  }
}

// The stream.

function listen() {
  connection.stream?.close();
  const stream = new EventSource(`${API}/events/stream?since=${connection.known}`);
  connection.stream = stream;
  stream.addEventListener("open", () => streamState(null, connection.databaseWrong));
  stream.addEventListener("error", () => streamBroke(stream));
  stream.addEventListener("anomaly", (message) => receive(JSON.parse(message.data)));
  stream.addEventListener("reset", () => insist(startOver));
  stream.addEventListener("database", (message) => streamState(null, JSON.parse(message.data).wrong));
}

function streamState(brokenAt, databaseWrong) {
  Object.assign(connection, { brokenAt, databaseWrong });
  showConnection();
}

/** The browser reconnects by itself, unless the server answered with an error: then the page does. */
function streamBroke(stream) {
  streamState(connection.brokenAt ?? Date.now(), connection.databaseWrong);
  if (stream.readyState === EventSource.CLOSED && stream === connection.stream) setTimeout(listen, PLACES_EVERY_MS);
}

/** Forget everything: the database was emptied, or an older copy restored. */
async function startOver() {
  connection.stream.close();
  incidents.clear();
  rows.forEach((row) => row.remove());
  rows.clear();
  tiles.forEach((tile) => tile.remove());
  tiles.clear();
  places = { now: null, places: [] };
  await readPast();
  listen();
}

function receive(event) {
  learn(event);
  connection.databaseWrong = null;
  connection.known = Math.max(connection.known, event.data.sequence);
  if (event.data.severity === "critical" && ["opened", "passed"].includes(event.data.phase)) beep();
  showIncidents();
  showConnection();
}

function learn(event) {
  const { incident: id, kind, phase, supersedes, sequence } = event.data;
  const known = incidents.get(id);
  if (kind === "superseded") {
    if (known && supersedes.includes(id)) known.superseded = true;
    return;
  }
  if (known && known.last.sequence >= sequence) return;
  const changed = known ?? { id, opened: sequence, event, superseded: false, standing: {} };
  changed.last = event.data;
  if (phase !== "closed") changed.event = event;
  incidents.set(id, changed);
}

function learnStandings(standings) {
  Object.entries(standings).forEach(([id, standing]) => {
    const known = incidents.get(id);
    if (known) known.standing = standing;
  });
}

function forgetOldest(ordered) {
  const over = ordered.filter((incident) => !isOpen(incident));
  over.slice(MOST_OVER).forEach((incident) => {
    incidents.delete(incident.id);
    rows.get(incident.id)?.remove();
    rows.delete(incident.id);
  });
}

// Incidents.

function inOrder() {
  return [...incidents.values()].sort((a, b) => isOpen(b) - isOpen(a) || b.opened - a.opened);
}

function showIncidents() {
  forgetOldest(inOrder());
  const ordered = inOrder();
  ordered.forEach((incident, n) => {
    const row = rows.get(incident.id) ?? newRow(incident);
    fillRow(row, incident);
    const there = at("incidents").children[n];
    if (there !== row) at("incidents").insertBefore(row, there ?? null);
  });
  at("quiet").hidden = ordered.length > 0;
  write(at("open-count"), ordered.filter(isOpen).length);
  document.title = `${ordered.filter(isOpen).length} open · shotwatch`;
  showPlaces();
}

function newRow(incident) {
  const row = element("li");
  const button = element("button");
  button.type = "button";
  button.append(...["badge", "what", "when", "why", "sure"].map((part) => element("span", "", part)));
  button.addEventListener("click", () => openDetails(incident));
  row.append(button);
  rows.set(incident.id, row);
  return row;
}

function fillRow(row, incident) {
  const { event, last } = incident;
  const severity = event.data.severity;
  row.className = incident.superseded ? "superseded closed" : isOpen(incident) ? "open" : "closed";
  row.dataset.severity = severity;
  const texts = {
    badge: `${SHAPES[severity]} ${severity}`,
    what: `${words(event.data.kind)} · ${placeName(event.data)}`,
    when: `${stateOf(incident)} ${clock(last.since || event.data.time)}`,
    why: sentence(event.data.why),
    sure: [howSure(event.data), `${last.shots} shot${last.shots === 1 ? "" : "s"}`, standingOf(incident)]
      .filter(Boolean).join(" · "),
  };
  Object.entries(texts).forEach(([part, text]) => { write(row.querySelector(`.${part}`), text); });
}

function stateOf(incident) {
  if (incident.superseded) return "no longer true ·";
  return isOpen(incident) ? "open since" : "over ·";
}

const CHANCE = /;?\s*(never by chance|by chance (?:less than )?once [^,;]*)/;
const sentence = (why) => why.replace(CHANCE, "");

function howSure(anomaly) {
  const chance = CHANCE.exec(anomaly.why);
  if (anomaly.model === null && !chance) return "found by a rule";
  const score = `score ${anomaly.score.toPrecision(3)} of ${anomaly.threshold.toPrecision(3)}`;
  return chance ? `${chance[1]} · ${score}` : score;
}

/** Return the name that somebody gave, and the key or token that they used: `amelie (key shift-a)`. */
function signature({ acknowledged_by: who, acknowledged_caller: by }) {
  if (!by) return who;
  return by.startsWith("oidc:") ? `${who} (${by})` : `${who} (key ${by})`;
}

function standingOf({ standing }) {
  const snoozed = standing.snoozed_until && new Date(standing.snoozed_until) > new Date();
  return [
    standing.acknowledged_by && `✓ acknowledged by ${signature(standing)}`,
    snoozed && `snoozed until ${clock(standing.snoozed_until)}`,
    standing.verdict === "false" && "false alarm",
    standing.verdict === "confirmed" && `confirmed: ${words(standing.label)}`,
  ].filter(Boolean).join(" · ");
}

// Places.

async function readPlaces() {
  try {
    places = await ask("/places");
    if (connection.serverAway) listen();
    connection.serverAway = null;
  } catch (error) {
    connection.serverAway ??= { since: Date.now(), why: error.message };
  }
  showPlaces();
  showConnection();
  setTimeout(readPlaces, PLACES_EVERY_MS);
}

function showPlaces() {
  if (places.places.length) at("places").querySelector(".empty")?.remove();
  const open = [...incidents.values()].filter(isOpen);
  places.places.forEach((place) => {
    const key = placeKey(place);
    if (!tiles.has(key)) at("places").append(newTile(key));
    fillTile(tiles.get(key), place, open.filter((each) => placeKey(each.event.data) === key));
  });
}

function newTile(key) {
  const tile = element("article", "", "tile");
  const name = element("h3");
  name.append(element("span", "", "name"), element("span", "", "state"));
  tile.append(name, drawn("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" }));
  tile.append(element("p", "", "now"), element("p", "", "pace"));
  tiles.set(key, tile);
  return tile;
}

function fillTile(tile, place, open) {
  const worst = Math.max(-1, ...open.map((each) => SEVERITIES.indexOf(each.event.data.severity)));
  const severity = SEVERITIES[worst];
  if (severity) tile.dataset.severity = severity;
  else delete tile.dataset.severity;
  const score = place.scores.at(-1);
  const texts = {
    name: placeName(place),
    state: severity ? `${SHAPES[severity]} ${severity}` : "✓ quiet",
    now: score == null ? "no score" : `score ${score.toFixed(1)} of ${place.threshold?.toFixed(1) ?? "–"}`,
    pace: `${place.shot_at ? clock(place.shot_at) : "no shot"} · ${pace(place)}`,
  };
  Object.entries(texts).forEach(([part, text]) => { write(tile.querySelector(`.${part}`), text); });
  tile.querySelector("svg").replaceChildren(...sparkline(place.scores, place.threshold));
}

const pace = ({ shots_per_minute: shots }) => (shots === null ? "– /min" : `${Math.round(shots)} shots/min`);

/** Draw the scores from left to right, with a dashed threshold and marks above it. The top is twice the threshold. */
function sparkline(scores, threshold) {
  if (!threshold) return [];
  const y = (score) => 29 - 28 * Math.min(Math.max(score, 0) / (2 * threshold), 1);
  const points = scores.map((score, n) => ({ x: (100 * (n + 0.5)) / scores.length, score })).filter((p) => p.score !== null);
  const line = points.map(({ x, score }, n) => `${n ? "L" : "M"}${x} ${y(score)}`).join("");
  const anomalous = points.filter(({ score }) => score >= threshold).map(({ x, score }) => `M${x} ${y(score)}h0`).join("");
  return [
    drawn("path", { class: "threshold", d: `M0 ${y(threshold)}H100` }),
    drawn("path", { class: "score", d: line }),
    drawn("path", { class: "anomalous", d: anomalous }),
  ];
}

// Freshness of what the page shows.

function showConnection() {
  const label = at("connection");
  const trouble = whatIsWrong();
  label.dataset.state = trouble ? "away" : "live";
  write(label, trouble ?? "● live");
  showStaleness(silence());
}

function whatIsWrong() {
  const { serverAway, brokenAt, databaseWrong } = connection;
  const since = serverAway?.since ?? brokenAt;
  if (databaseWrong) return "✕ database away";
  if (since === 0) return "connecting …";
  return since === null || Date.now() - since < GRACE_MS ? null : `✕ reconnecting since ${clock(since)}`;
}

/** Return the seconds since the newest shot was judged, by the server's clock; null before the first. */
function silence() {
  const judged = places.places.map((place) => Date.parse(place.judged_at)).filter(Number.isFinite);
  return judged.length ? Math.max(0, Math.round((Date.parse(places.now) - Math.max(...judged)) / 1000)) : null;
}

function showStaleness(seconds) {
  const label = at("shots");
  const stale = seconds === null || seconds > STALE_S;
  label.dataset.state = stale ? "stale" : "live";
  if (seconds === null) write(label, "▲ no shot yet");
  else write(label, stale ? `▲ stale: no shot for ${seconds} s` : `last shot ${seconds} s ago`);
}

// Details of one incident.

async function openDetails(incident) {
  shown = incident;
  const anomaly = incident.event.data;
  write(
    at("details-title"),
    `${SHAPES[anomaly.severity]} ${anomaly.severity}: ${words(anomaly.kind)} · ${placeName(anomaly)}`,
  );
  write(at("details-why"), anomaly.why);
  write(at("details-standing"), standingOf(incident));
  write(at("answer"), "");
  at("pictures").replaceChildren();
  at("analyse").href = `${API}/events/${encodeURIComponent(incident.event.id)}/notebook`;
  at("feedback").hidden = !caller.scopes.includes("label");
  at("label").value = anomaly.kind;
  showContributions(anomaly.contributions);
  showFacts(incident);
  if (!at("details").open) at("details").showModal();
  await Promise.allSettled([showPictures(anomaly), readStanding(incident), linkFiles(anomaly)]);
}

async function readStanding(incident) {
  const feedback = await ask(`/events/${encodeURIComponent(incident.event.id)}/feedback`);
  incident.standing = feedback.standing;
  if (shown === incident) write(at("details-standing"), standingOf(incident));
  showIncidents();
}

async function showPictures(anomaly) {
  const asked = [["frame", anomaly.image_url], ["residual", anomaly.residual_url], ...spectra(anomaly)];
  const [spot, ...pictures] = await Promise.all([
    findSpot(anomaly), ...asked.filter(([, url]) => url).map(([what, url]) => load(what, url)),
  ]);
  if (shown?.event.data !== anomaly) return;
  at("pictures").replaceChildren(...pictures.map(({ what, image }) => figure(what, image, what === "spectrum" ? null : spot)));
}

function spectra(anomaly) {
  const path = (device) => `${API}/shots/${encodeURIComponent(anomaly.shot)}/devices/${encodeURIComponent(device)}`;
  return anomaly.devices.filter((device) => device.includes("Spectro")).slice(0, 2)
    .map((device) => ["spectrum", `${path(device)}/spectrum`]);
}

async function load(what, url) {
  const image = new Image();
  image.src = url;
  await image.decode().catch(() => null);
  return { what, image };
}

/** Return where the strongest contribution lies in the frame, or null if it has no position there. */
async function findSpot(anomaly) {
  const [strongest] = anomaly.contributions;
  if (!strongest || !anomaly.image_url?.includes(`/devices/${strongest.device}/`)) return null;
  const shot = await ask(`/shots/${encodeURIComponent(anomaly.shot)}`).catch(() => ({ features: [] }));
  const found = (axis) => shot.features.find(
    (each) => each.device === strongest.device && each.name === `${strongest.feature}_${axis}`,
  )?.value;
  return found("x") === undefined ? null : { x: found("x"), y: found("y") };
}

function figure(what, image, spot) {
  const made = element("figure");
  const { naturalWidth: width, naturalHeight: height } = image;
  if (!width) {
    made.append(element("figcaption", `${what}: not there any more, or not yet`));
    return made;
  }
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": what });
  picture.append(drawn("image", { href: image.src, width, height }));
  if (spot) {
    const ring = { cx: spot.x + 0.5, cy: spot.y + 0.5, r: Math.max(width, height) / 16 };
    picture.append(drawn("circle", { class: "spot under", ...ring }), drawn("circle", { class: "spot", ...ring }));
  }
  made.append(picture, element("figcaption", what));
  return made;
}

function showContributions(contributions) {
  const table = at("contributions");
  const largest = Math.max(1, ...contributions.map((each) => Math.abs(each.sigmas)));
  table.hidden = !contributions.length;
  table.tBodies[0]?.remove();
  table.createTBody().append(...contributions.map((each) => contribution(each, largest)));
}

function contribution({ device, feature, value, reference, sigmas, unit }, largest) {
  const row = element("tr");
  const bar = element("progress");
  bar.max = largest;
  bar.value = Math.abs(sigmas);
  const cell = element("td");
  cell.append(bar);
  const text = `${value.toPrecision(4)}, usually ${reference.toPrecision(4)} ${unit}`;
  row.append(element("th", words(feature)), cell, element("td", `${sigmas > 0 ? "+" : "−"}${Math.abs(sigmas).toFixed(1)} σ`));
  row.append(element("td", text), element("td", device));
  return row;
}

function showFacts({ event, last }) {
  const { shot, devices, evidence, trace_id: trace, model } = event.data;
  const files = [...new Set(evidence.map((each) => each.raw_object))];
  const facts = [
    ["how sure", howSure(event.data)],
    ["since", `${clock(last.since || event.data.time)}, ${last.shots} shots`],
    ["shot", shot],
    ["devices", devices.join(", ")],
    ["raw file", files.join(", ") || "–", "raw-files"],
    ["model", model ? `${model.name} ${model.version}` : "none: a rule"],
  ];
  const rows = facts.flatMap(([name, fact, key = ""]) => [element("dt", name), Object.assign(element("dd", fact), key ? { id: key } : {})]);
  at("facts").replaceChildren(...rows, ...traceFact(trace));
}

/** Make the names of raw files links to their content. */
async function linkFiles(anomaly) {
  const shot = await ask(`/shots/${encodeURIComponent(anomaly.shot)}`);
  const files = new Map(anomaly.evidence.map((each) => [each.raw_object, null]));
  shot.members.filter((each) => files.has(each.raw_object)).forEach((each) => files.set(each.raw_object, each.object_id));
  if (shown?.event.data !== anomaly || !files.size) return;
  const links = [...files].flatMap(([key, id]) => {
    const link = element(id ? "a" : "span", key);
    if (id) link.href = `/raw?object=${encodeURIComponent(id)}`;
    return [link, " "];
  });
  at("raw-files").replaceChildren(...links);
}

function traceFact(trace) {
  const value = element("dd", caller.trace_url ? "" : trace);
  if (caller.trace_url) {
    const link = element("a", trace);
    link.href = caller.trace_url.replace("{trace_id}", encodeURIComponent(trace));
    value.append(link);
  }
  return [element("dt", "trace"), value];
}

// Feedback.

async function giveFeedback(submitted) {
  submitted.preventDefault();
  const action = submitted.submitter?.value ?? "acknowledged";
  const opinion = { action, who: at("who").value, note: at("note").value };
  if (action === "snoozed") opinion.until = Date.now() + HOUR_MS;
  if (action === "confirmed") opinion.label = at("label").value;
  const incident = shown;
  localStorage.setItem("who", opinion.who);
  write(at("answer"), await sent(incident, opinion));
}

async function sent(incident, opinion) {
  try {
    await ask(`/events/${encodeURIComponent(incident.event.id)}/feedback`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(opinion),
    });
    at("note").value = "";
    await readStanding(incident);
    return "saved";
  } catch (error) {
    return `not saved: ${error.message}`;
  }
}

// Sound: browsers play it only after a click, such as the one that switches it on.

function beep() {
  if (!at("sound").checked || !audio) return;
  const tone = audio.createOscillator();
  tone.frequency.value = 880;
  tone.connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.3);
}

at("sound").addEventListener("change", () => { audio ??= new AudioContext(); });
at("feedback").addEventListener("submit", giveFeedback);
at("details").addEventListener("close", () => { shown = null; });
setInterval(showConnection, 1000);
await useToken();
await Promise.all([insist(begin), readPlaces()]);
