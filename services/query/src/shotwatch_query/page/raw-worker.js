// Reads a raw file with h5wasm, in a worker: a hostile file can stop or fill only this worker, which reaches nothing.

import * as h5wasm from "/page/h5wasm/hdf5_hl.js";

const MOST_NAMES = 2000; // of one group
const MOST_SIDE = 2048; // of an image
const MOST_VALUES = 4096; // of anything else
const MOST_TEXT = 2000; // characters of an attribute
const FILE = "/raw.h5";

let file = null;

const requests = { open, list, read };

onmessage = async ({ data: { id, name, argument } }) => {
  try {
    await h5wasm.ready;
    postMessage({ id, answer: requests[name](argument) });
  } catch (error) {
    postMessage({ id, wrong: String(error?.message ?? error) });
  }
};

function open(bytes) {
  h5wasm.FS.writeFile(FILE, new Uint8Array(bytes));
  file = new h5wasm.File(FILE, "r");
  if (file.file_id < 0n) throw new Error("this is not an HDF5 file, or it is damaged");
  return list("/");
}

/** Return the members of a group, the first ones of many. */
function list(path) {
  const group = file.get(path);
  if (!(group instanceof h5wasm.Group)) throw new Error(`${path} is no group`);
  const names = group.keys();
  const members = names.slice(0, MOST_NAMES).map((name) => ({ name, kind: kindOf(group, name) }));
  return { members, more: names.length - members.length };
}

/** Links are not followed: they may point to other files, or back to a group above. */
function kindOf(group, name) {
  const member = group.get(name);
  if (member instanceof h5wasm.Group) return "group";
  return member instanceof h5wasm.Dataset ? "dataset" : "link";
}

/** Return what a dataset is, and its values, or the first ones of many. */
function read(path) {
  const dataset = file.get(path);
  if (!(dataset instanceof h5wasm.Dataset)) throw new Error(`${path} is no dataset`);
  const shape = dataset.shape ?? [];
  const about = { shape, type: JSON.stringify(dataset.dtype), attributes: attributesOf(dataset) };
  const isImage = shape.length >= 2 && typeof dataset.dtype === "string" && /[bBhHiIlLqQfd]$/.test(dataset.dtype);
  return { ...about, ...(isImage ? imageOf(dataset, shape) : valuesOf(dataset, shape)) };
}

/** Return the last two dimensions at the beginning of the others. */
function imageOf(dataset, shape) {
  const sides = shape.slice(-2).map((side) => Math.min(side, MOST_SIDE));
  const ranges = [...shape.slice(0, -2).map(() => [0, 1]), ...sides.map((side) => [0, side])];
  return { image: Float64Array.from(dataset.slice(ranges), Number), sides };
}

function valuesOf(dataset, shape) {
  if (!shape.length) return { values: [text(dataset.value)], more: 0 };
  const count = Math.min(shape[0], MOST_VALUES);
  const ranges = [[0, count], ...shape.slice(1).map(() => [0, 1])];
  return { values: Array.from(dataset.slice(ranges) ?? [], text), more: shape[0] - count };
}

function attributesOf(dataset) {
  return Object.entries(dataset.attrs).slice(0, MOST_NAMES).map(([name, attribute]) => [name, text(attribute.value)]);
}

function text(value) {
  const written = ArrayBuffer.isView(value) ? Array.from(value).join(", ") : String(value);
  return written.slice(0, MOST_TEXT);
}
