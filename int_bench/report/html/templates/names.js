// Names before and after erasing; patches with their boxes, points and masks.
function names(step) {
  const rows = [...step.candidates].sort((x, y) => y.weight - x.weight || y.difference - x.difference);
  const traced = rows.some((c) => c.before);
  const most = Math.max(1e-9, ...rows.flatMap((c) => [...(c.before || []), ...(c.after || [])]));
  const head = ["name", !TWO && "proposed by", traced && "probability before → after erasing", traced && !TWO && "fall by patch",
    "largest fall, Eq. 3", "weight, Eq. 6"];
  const shownRows = rows.slice(0, 12);
  return el("div", { class: "wide" }, lead(step), el("table", { class: "names" },
    el("thead", null, el("tr", null, head.filter(Boolean).map((words) => el("th", { scope: "col" }, words)))),
    el("tbody", null, shownRows.map((c) => {
      const k = widest(c);
      return el("tr", { class: c.name === step.prompt ? "won" : "" },
        el("td", null, said(c.name)),
        !TWO && el("td", { class: "where" }, c.patches.map(place).join(", ")),
        traced && el("td", null, c.before ? fall(c.before[k], c.after ? c.after[k] : null, most) : "–",
          el("small", null, step.patches && step.patches[k] ? " " + place(step.patches[k].patch) : "")),
        traced && !TWO && el("td", null, c.before && c.after ? cells(step, c) : "–"),
        el("td", { class: "num" }, small(c.difference)),
        el("td", null, share(c.weight)));
    }))), rows.length > 12 && el("p", { class: "fine" }, rows.length - 12 + " more names weigh less."),
    traced && rows.some((c) => !c.after) && el("p", { class: "fine" }, "Nothing was erased, so that no name could fall."));
}

// In words: which name lost most when the object was erased.
function lead(step) {
  const fallen = step.candidates.filter((c) => c.before && c.after).map((c) => [c, widest(c)])
    .filter(([c, k]) => c.before[k] > c.after[k]).sort(([x, i], [y, j]) => y.before[j] - y.after[j] - x.before[i] + x.after[i])[0];
  if (!fallen) return null;
  const [c, k] = fallen;
  return el("p", null, "Erasing the object costs ", el("b", null, said(c.name)), " most: " + small(c.before[k]) + " → " + small(c.after[k]),
    step.patches && step.patches[k] ? " in the patch " + place(step.patches[k].patch) : "", ".");
}

function widest(c) {
  if (!c.before) return 0;
  const falls = c.before.map((p, k) => (c.after ? p - c.after[k] : p));
  return falls.indexOf(Math.max(...falls));
}

function fall(before, after, most) {
  const x = (p) => 6 + (p / most) * 118;
  const to = after === null ? before : after;
  const drawn = svg("svg", { class: "fall" + (to > before ? " rise" : ""), width: 130, height: 14, viewBox: "0 0 130 14", role: "img", "aria-label": small(before) + " to " + small(to) },
    svg("line", { class: "track", x1: 6, x2: 124, y1: 7, y2: 7 }),
    svg("line", { class: "gap", x1: x(before), x2: x(to), y1: 7, y2: 7 }),
    svg("circle", { class: "after", cx: x(to), cy: 7, r: 4 }), svg("circle", { class: "before", cx: x(before), cy: 7, r: 4.5 }));
  return [drawn, " ", small(before), after === null ? "" : " → " + small(after)];
}

function cells(step, c) {
  const falls = c.before.map((p, k) => p - c.after[k]);
  const most = Math.max(1e-9, ...step.candidates.flatMap((x) => (x.before && x.after ? x.before.map((p, k) => p - x.after[k]) : [0])));
  return svg("svg", { class: "cells", width: falls.length * 13, height: 16, viewBox: "0 0 " + falls.length * 13 + " 16" },
    falls.map((d, k) => svg("rect", { x: k * 13, y: 1, width: 13, height: 14, rx: 2, fill: d >= 0 ? "var(--bad)" : "var(--a)", "fill-opacity": 0.08 + 0.92 * Math.min(1, Math.abs(d) / most) },
      svg("title", null, (step.patches && step.patches[k] ? place(step.patches[k].patch) + ": " : "") + small(c.before[k]) + " → " + small(c.after[k])))));
}

function share(weight) {
  return [svg("svg", { class: "share", width: 90, height: 10, viewBox: "0 0 90 10" },
    svg("rect", { class: "rail", x: 0, y: 0, width: 90, height: 10, rx: 3 }),
    svg("rect", { x: 0, y: 0, width: 90 * Math.max(0, Math.min(1, weight)), height: 10, rx: 3 })), " ", number(weight, 2)];
}

function patches(run, step, story) {
  if (!step.patches || !step.patches.length || !run.size) return null;
  const [height, width] = run.size;
  const answer = (patch) => (step.answers || []).find((a) => a.patch === patch);
  const mask = (patch) => (step.masks || []).find((m) => m.patch === patch);
  const stage = el("div");
  const only = (patch) => (patch === null ? step.patches.map((p) => p.patch) : [patch]);
  const draw = (patch) => stage.replaceChildren(overlay(step, story, width, height, only(patch), patch, answer, mask));
  const rows = step.patches.map(({ patch }) => {
    const said_ = answer(patch), made = mask(patch);
    return el("tr", { "data-patch": patch, tabindex: "0" },
      el("td", null, mini(step, "mask_" + patch) || "–"),
      el("td", null, place(patch), step.winning_patch === patch && " ", step.winning_patch === patch && el("span", { class: "tag taken", title: "the patch of Eq. 5" }, "Eq. 5")),
      el("td", null, said_ ? said(said_.names.join(", ") || "nothing") : "–", said_ && said_.environment && el("small", null, " in ", said(said_.environment))),
      el("td", { class: "num" }, made && made.similarity !== null ? number(made.similarity) : "–"),
      el("td", null, made && made.weight !== null ? share(made.weight) : "–"));
  });
  const pick = (row) => {
    const on = row.classList.toggle("on");
    rows.forEach((other) => other !== row && other.classList.remove("on"));
    draw(on ? row.getAttribute("data-patch") : null);
  };
  rows.forEach((row) => {
    row.addEventListener("click", () => pick(row));
    row.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(row); } });
  });
  draw(null);
  const key = (kind, words) => el("span", null, el("i", { class: kind }), words);
  const marks = el("div", { class: "marks" }, key("c-vlm", "box that the VLM gave"), key("c-det", "box that the segmenter got"),
    key("c-own", "the prompt's box"), key("d c-on", "point on"), key("d c-off", "point off"));
  return el("div", null, el("h3", null, "Patches"), el("div", { class: "patches" },
    el("div", null, stage, marks),
    el("div", { class: "wide" }, el("table", null, el("thead", null, el("tr", null,
      ["mask", "patch", "the VLM says", "similarity, Eq. 10", "weight, Eq. 11"].map((w) => el("th", { scope: "col" }, w)))), el("tbody", null, rows)))), chats(step));
}

function mini(step, name) {
  const at = step.pictures && step.pictures[name];
  if (!at || !step.sheet) return null;
  const [, , w, h] = at;
  return svg("svg", { class: "mini", viewBox: "0 0 " + w + " " + h, role: "img", "aria-label": name },
    svg("svg", { x: 0, y: 0, width: w, height: h, viewBox: at.join(" ") }, sheet(step)));
}

function overlay(step, story, width, height, chosen, picked, answer, mask) {
  const rect = (b, kind) => svg("rect", { class: kind, x: b[0], y: b[1], width: Math.max(0, b[2] - b[0]), height: Math.max(0, b[3] - b[1]) });
  const parts = [];
  const at = step.pictures && step.pictures.view;
  if (at && step.sheet) parts.push(svg("svg", { x: 0, y: 0, width, height, viewBox: at.join(" "), preserveAspectRatio: "none" }, sheet(step)));
  else if (story.thumb) { const image = svg("image", { x: 0, y: 0, width, height, preserveAspectRatio: "none" }); image.setAttribute("href", story.thumb); parts.push(image); }
  for (const patch of chosen) {
    const where = step.patches.find((p) => p.patch === patch), said_ = answer(patch), made = mask(patch);
    if (picked !== null) parts.push(rect(where.box_image, "patchbox"));
    if (said_ && said_.box_image) parts.push(rect(said_.box_image, "vlm"));
    for (const box of (made && made.boxes_image) || []) parts.push(rect(box, "det"));
    const dot = Math.max(width, height) / 75;
    for (const [x, y, on] of (made && (picked !== null || patch === "original") && made.points_image) || [])
      parts.push(svg("circle", { class: "point " + (on ? "on" : "off"), cx: x, cy: y, r: dot }));
  }
  if (step.box) parts.push(rect(step.box, "own"));
  return svg("svg", { class: "shot", viewBox: "0 0 " + width + " " + height, role: "img", "aria-label": "boxes and points on the view" }, parts);
}

function chats(step) {
  const told = (step.answers || []).filter((a) => a.said && a.said.length);
  if (!told.length) return null;
  return el("details", null, el("summary", null, "What the VLM was asked and answered, word for word"),
    el("dl", { class: "chat" }, told.flatMap((a) => a.said.map((turn, i) => [el("dt", null, i ? "" : place(a.patch)),
      el("dd", null, el("span", { class: "q" }, said(turn.question)), el("br"), said(turn.answer))]))));
}

// Methods without patches: what they asked, and what the segmenter got.
function plainParts(step) {
  const answers = (step.answers || []).map((a) => el("li", null, a.task ? [said(a.task), ": "] : "",
    a.names.length ? said(a.names.join(", ")) : a.box_image ? "a box" : "no box", a.environment && [" in ", said(a.environment)]));
  const found = (step.detections || []).map((d) => el("li", null, "detected with " + number(d.score, 2)));
  const boxes = (step.masks || []).reduce((sum, m) => sum + m.boxes_image.length, 0);
  return [answers.length > 0 && el("ul", { class: "notes" }, answers), found.length > 0 && el("ul", { class: "notes" }, found),
    boxes > 0 && el("p", { class: "fine" }, boxes + (boxes > 1 ? " boxes" : " box") + " went to the segmenter."), chats(step),
    !step.sheet && el("p", { class: "fine" }, "keep=trace stores what was seen and weighed as well.")];
}
