// Elements are made of text nodes and attributes alone: what a file name says stays text.
const NS = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);
const TWO = DATA.runs.length > 1;
const BIT = { truth: 1, first: 2, second: 4 };

function fill(node, attrs, children) {
  for (const [key, value] of Object.entries(attrs || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child.nodeType ? child : document.createTextNode(String(child)));
  }
  return node;
}
const el = (tag, attrs, ...children) => fill(document.createElement(tag), attrs, children);
const svg = (tag, attrs, ...children) => fill(document.createElementNS(NS, tag), attrs, children);
// A text that somebody else wrote: its direction must not turn what stands around it.
const said = (text) => el("bdi", null, text);
const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const small = (value) => (value === 0 ? "0" : Math.abs(value) < 0.001 ? value.toExponential(1) : value.toFixed(3));

// Each image has a small block for the gallery and a large one for its story, read when needed.
const blocks = new Map();
function block(name) {
  if (!blocks.has(name)) {
    const node = $(name);
    blocks.set(name, node ? JSON.parse(node.textContent) : null);
  }
  return blocks.get(name);
}
const shotOf = (index) => block("shot-" + index);
const storyOf = (index) => block("story-" + index);

function picture(uri) {
  return new Promise((done) => {
    if (!uri) return done(null);
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => done(null);
    image.src = uri;
  });
}

function pixelsOf(image, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, 0, 0, width, height);
  return pen.getImageData(0, 0, width, height);
}

const COLOURS = { hit: [31, 158, 120], over: [224, 112, 42], miss: [63, 111, 216] };
function tint(out, at, colour, share) {
  for (let c = 0; c < 3; c++) out[at + c] = out[at + c] * (1 - share) + colour[c] * share;
}
function grey(out, at, factor) {
  const value = (0.3 * out[at] + 0.59 * out[at + 1] + 0.11 * out[at + 2]) * factor;
  out[at] = out[at + 1] = out[at + 2] = value;
}

// The same small label map gives truth, mask and error map: bits say which pixel is in what.
const PAINT = {
  image: () => {},
  mask: (out, at, inside) => { if (!inside) grey(out, at, 0.32); },
  error: (out, at, inside, truth) => {
    grey(out, at, 0.62);
    if (inside && truth) tint(out, at, COLOURS.hit, 0.72);
    else if (inside) tint(out, at, COLOURS.over, 0.82);
    else if (truth) tint(out, at, COLOURS.miss, 0.82);
  },
};

// The pixels of image and labels, decoded once for all of an image's panels.
async function layersOf(shot) {
  const [labels, thumb] = await Promise.all([picture(shot.labels), picture(shot.thumb)]);
  if (!labels) return null;
  const width = labels.naturalWidth, height = labels.naturalHeight;
  return { width, height, bits: pixelsOf(labels, width, height).data,
    thumb: thumb && pixelsOf(thumb, width, height).data };
}

async function paint(canvas, shot, mode, bit) {
  shot.layers = shot.layers || layersOf(shot);
  const layers = await shot.layers;
  if (!layers) return;
  const { width, height, bits, thumb } = layers;
  canvas.width = width;
  canvas.height = height;
  const shown = thumb ? new ImageData(new Uint8ClampedArray(thumb), width, height) : new ImageData(width, height);
  const out = shown.data;
  const inside = (at) => (bits[at] & bit) !== 0;
  for (let at = 0; at < out.length; at += 4) {
    out[at + 3] = 255;
    if (!thumb) out[at] = out[at + 1] = out[at + 2] = 150;
    PAINT[mode](out, at, inside(at), (bits[at] & BIT.truth) !== 0);
  }
  if (mode === "mask") outline(out, inside, width, height);
  canvas.getContext("2d").putImageData(shown, 0, 0);
}

function outline(out, inside, width, height) {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = 4 * (y * width + x);
      if (inside(at)) continue;
      const near = (x && inside(at - 4)) || (x + 1 < width && inside(at + 4)) ||
        (y && inside(at - 4 * width)) || (y + 1 < height && inside(at + 4 * width));
      if (near) { out[at] = 255; out[at + 1] = 214; out[at + 2] = 10; }
    }
  }
}

// What there is of an image, in the order in which it is shown.
function panels(index) {
  const entry = DATA.images[index], shot = shotOf(index);
  const has = (run) => entry.runs[run].state === "done";
  const truth = shot && shot.truth;
  const list = [["image", shot && shot.thumb ? ["image", 0] : "image not here"],
    ["ground truth", truth ? ["mask", BIT.truth] : "no ground truth"]];
  DATA.runs.forEach((run, i) => {
    const bit = i ? BIT.second : BIT.first;
    list.push([TWO ? "mask of " + "AB"[i] : "mask", has(i) ? ["mask", bit] : entry.runs[i].state]);
  });
  DATA.runs.forEach((run, i) => {
    const bit = i ? BIT.second : BIT.first;
    if (truth) list.push([TWO ? "error of " + "AB"[i] : "error", has(i) ? ["error", bit] : entry.runs[i].state]);
  });
  return list;
}

// Pictures are painted when they come into sight.
const painter = new IntersectionObserver((seen) => {
  for (const { isIntersecting, target } of seen) {
    if (!isIntersecting) continue;
    painter.unobserve(target);
    paint(target, ...target.what);
  }
}, { rootMargin: "200px" });

function panel(index, how, name) {
  const shot = shotOf(index);
  if (!shot) return el("div", { class: "none" }, "not on this page");
  if (typeof how === "string") return el("div", { class: "none" }, how);
  const canvas = el("canvas", { role: "img", "aria-label": name });
  canvas.what = [shot, how[0], how[1]];
  painter.observe(canvas);
  return canvas;
}

function nameTag(run) {
  if (!run.prompt) return null;
  const kind = run.right === undefined ? "" : run.right ? " right" : " wrong";
  const mark = run.right === undefined ? "" : run.right ? "✓ " : "✗ ";
  return el("span", { class: "tag" + kind }, mark, said(run.prompt));
}
