// One image: what was proposed, erased, weighed and chosen, iteration by iteration.
function showImage(index) {
  const entry = DATA.images[index], shot = shotOf(index);
  const story = shot && { ...shot, ...storyOf(index) };
  view.image = index;
  if (!view.order.includes(index)) arrange();
  const place = view.order.indexOf(index);
  const step = (by, words) => {
    const other = place < 0 ? undefined : view.order[place + by];
    return el("button", { type: "button", class: "step", disabled: other === undefined,
      onclick: () => go("#image=" + other) }, words);
  };
  const head = el("div", { class: "head" },
    el("h2", { tabindex: "-1", id: "image-title" }, said(entry.id)),
    entry.truth && el("span", { class: "tag" }, "is ", said(entry.truth)),
    entry.runs.map((run, i) => [TWO && el("span", { class: "run-" + "ab"[i] }, "AB"[i]), nameTag(run)]),
    el("span", { class: "where" }, place < 0 ? "" : place + 1 + " of " + view.order.length),
    el("div", { class: "moves" }, step(-1, "← previous"), step(1, "next →")));
  const big = el("div", { class: TWO ? "big six" : "big" }, panels(index).map(([name, how]) =>
    el("figure", null, panel(index, how, name), el("figcaption", null, said(name)))));
  const notes = entry.runs.map((run, i) => run.note && el("p", { class: "callout warn" },
    TWO && "AB"[i] + ": ", said(run.note)));
  const parts = [head, notes, big, scores(entry)];
  if (story && story.runs) parts.push(...stepsOf(index, entry, story));
  else parts.push(el("p", { class: "callout" }, story ? "The iterations of this image are not on this page."
    : "This image had no room on this page; a larger --budget holds it."));
  $("image").replaceChildren(...parts.flat().filter(Boolean));
}

function scores(entry) {
  return el("ul", { class: "scores" }, DATA.metrics.map((metric, m) => {
    const values = entry.runs.map((run) => number(run.scores[m]));
    return el("li", null, metric.symbol, " ", el("small", null, metric.protocol), " ",
      el("b", null, values.join(" → ")));
  }));
}

function stepsOf(index, entry, story) {
  if (TWO) return pair(story, entry);
  const run = story.runs[0];
  if (!run || !run.steps.length) return [];
  return [choice(run, DATA.runs[0]), weights(run, entry), ...run.steps.map((step, n) => iteration(run, step, n, story))].filter(Boolean);
}

function pair(story, entry) {
  const both = (make) => {
    const made = story.runs.map((run, i) => (run && run.steps.length ? make(run, i) : null));
    return made.some(Boolean) && el("div", { class: "cols" }, made.map((part) => part || el("div")));
  };
  return [both((run, i) => el("h2", { class: "run-" + "ab"[i] }, said(DATA.runs[i].label))),
    both((run, i) => choice(run, DATA.runs[i])), both((run) => weights(run, entry)), ...beside(story)].filter(Boolean);
}

// Two runs: each iteration side by side; where nothing differs it is left out if asked.
function beside(story) {
  const [a, b] = story.runs;
  if (!a || !b) return [];
  const count = Math.max(a.steps.length, b.steps.length);
  const same = (n) => a.steps[n] && b.steps[n] && a.steps[n].prompt === b.steps[n].prompt && a.steps[n].mask === b.steps[n].mask;
  const rows = [...Array(count).keys()].map((n) => el("div", { class: "cols" + (same(n) ? " same" : "") },
    [a, b].map((run) => (run.steps[n] ? iteration(run, run.steps[n], n, story) : el("div")))));
  const hide = (event) => rows.forEach((row) => { row.hidden = event.target.checked && row.classList.contains("same"); });
  const equal = rows.filter((row) => row.classList.contains("same")).length;
  return [el("label", { class: "check" }, el("input", { type: "checkbox", onchange: hide }),
    "only what differs (" + equal + " of " + count + " iterations are the same)"), ...rows];
}

function choice(run, side) {
  const costs = run.steps.map((step) => step.cost);
  const told = costs.every((cost) => cost !== undefined);
  const chosen = run.chosen;
  const sentence = [];
  if (told && run.steps.length > 1 && side.rule !== "last") {
    const others = costs.map((cost, n) => [cost, n]).filter(([, n]) => n !== chosen).sort((x, y) => x[0] - y[0]);
    const gap = others[0][0] - costs[chosen];
    sentence.push("Iteration " + (chosen + 1) + " was taken: it costs " + costs[chosen].toFixed(0) +
      ", the next, iteration " + (others[0][1] + 1) + ", " + others[0][0].toFixed(0) +
      (gap === 0 ? ". They are equal, and the earlier one is taken." : " (+" + gap.toFixed(gap < 10 ? 1 : 0) + ")."));
  } else if (run.steps.length > 1 && chosen !== null) sentence.push("Iteration " + (chosen + 1) + " was taken.");
  const most = Math.max(1, ...costs.filter((cost) => cost !== undefined));
  const list = el("ol", { class: "costs" }, run.steps.map((step, n) => el("li", { class: n === chosen ? "taken" : "" },
    step.mask ? el("img", { src: step.mask, alt: "mask of iteration " + (n + 1) }) : el("div", { class: "none" }, "mask not kept"),
    el("div", { class: "row" }, el("a", { href: "#step", "data-step": n + 1, onclick: (event) => { event.preventDefault(); jump(n + 1); } }, String(n + 1)),
      said(step.prompt)),
    told && el("div", { class: "row" }, el("small", null, "cost"), el("b", null, step.cost.toFixed(step.cost < 10 ? 1 : 0))),
    told && meter(step.cost / most), n === chosen && el("span", { class: "tag taken" }, "taken"))));
  if (run.steps.length < 2 && !told) return null;
  return el("section", { class: "panel" }, el("h3", null, "Which mask, and why"),
    el("p", { class: "lead" }, side.words ? "The rule: " + side.words + ". " : "", sentence), list);
}

function meter(share, width = 120) {
  return svg("svg", { class: "meter", viewBox: "0 0 " + width + " 7", preserveAspectRatio: "none" },
    svg("rect", { x: 0, y: 0, width: Math.max(0, Math.min(1, share)) * width, height: 7 }));
}

// The weights of Eq. 6: how the evidence of all iterations gathers on one name.
function weights(run, entry) {
  const steps = run.steps.filter((step) => step.candidates && step.candidates.length);
  if (!steps.length) return null;
  const names = [...new Set(steps.flatMap((step) => step.candidates.map((c) => c.name)))];
  const at = (step, name) => { const c = step.candidates.find((x) => x.name === name); return c ? c.weight : 0; };
  const series = names.map((name) => [name, steps.map((step) => at(step, name))])
    .sort((x, y) => y[1][y[1].length - 1] - x[1][x[1].length - 1]).slice(0, 6);
  const top = Math.max(1, ...series.flatMap(([, values]) => values));
  const x = (i) => 40 + (steps.length > 1 ? (i * 360) / (steps.length - 1) : 0);
  const y = (value) => 150 - (value / top) * 130;
  const ends = apart(series.map(([, values]) => y(values[values.length - 1])), 15, 158);
  const lines = series.map(([name, values], k) => {
    const label = ends[k];
    return svg("g", { class: "n" + k }, svg("path", { d: "M" + values.map((v, i) => x(i) + " " + y(v)).join("L") }),
      values.map((v, i) => svg("circle", { cx: x(i), cy: y(v), r: 3.5 })),
      svg("text", { x: x(steps.length - 1) + 10, y: label + 4 }, name + "  " + number(values[values.length - 1], 2)));
  });
  const grid = [0, top / 2, top].map((v) => [svg("line", { class: "grid", x1: 40, x2: x(steps.length - 1), y1: y(v), y2: y(v) }),
    svg("text", { class: "tick", x: 32, y: y(v) + 4, "text-anchor": "end" }, number(v, 1))]);
  const ticks = steps.map((_, i) => svg("text", { class: "tick", x: x(i), y: 170, "text-anchor": "middle" }, String(i + 1)));
  const [winner, values] = series[0];
  const words = el("p", { class: "lead" }, "Of ", String(names.length), names.length > 1 ? " names, " : " name, ", el("b", null, said(winner)),
    " ends with the weight ", number(values[values.length - 1], 2), series[1] ? [", before ", said(series[1][0]), " with " + number(series[1][1].slice(-1)[0], 2)] : "",
    entry.truth ? [". What is there: ", said(entry.truth)] : "", ".");
  return el("section", { class: "panel weights" }, el("h3", null, "How the names fared: weights of Eq. 6 after each iteration"), words,
    svg("svg", { viewBox: "0 0 560 178", role: "img", "aria-label": "weights over iterations" }, grid, ticks, lines));
}

// Labels from the highest to the lowest, at least a gap apart and none below the lowest place.
function apart(places, gap, lowest) {
  const moved = [...places];
  for (let k = 1; k < moved.length; k++) moved[k] = Math.max(moved[k], moved[k - 1] + gap);
  for (let k = moved.length - 1, most = lowest; k >= 0; k--, most -= gap) moved[k] = Math.min(moved[k], most);
  return moved;
}

function iteration(run, step, n, story) {
  const taken = n === run.chosen;
  const shots = el("div", { class: "shots" + (TWO ? "" : " fixed") }, seen(run, step, n, story));
  return el("section", { class: "panel", id: TWO ? null : "step-" + (n + 1), "data-iteration": n + 1 },
    el("h3", null, "Iteration " + (n + 1), step.prompt ? [": ", said(step.prompt)] : "", " ", taken && el("span", { class: "tag taken" }, "taken")),
    shots, step.candidates && names(step), patches(run, step, story), !step.patches && plainParts(step));
}

// Pictures of the sheet, cut out by the view box.
function cut(step, name, words, marks, run, patch) {
  const place = step.pictures && step.pictures[name];
  if (!place || !step.sheet) return null;
  const [x, y, w, h] = place;
  const drawn = svg("svg", { class: "shot", viewBox: "0 0 " + w + " " + h, role: "img", "aria-label": words },
    svg("svg", { x: 0, y: 0, width: w, height: h, viewBox: [x, y, w, h].join(" ") }, sheet(step)), marks && marks(w, h));
  return drawn;
}

function sheet(step) {
  const ends = Object.values(step.pictures).map(([x, y, w, h]) => [x + w, y + h]);
  const image = svg("image", { x: 0, y: 0, width: Math.max(...ends.map((e) => e[0])), height: Math.max(...ends.map((e) => e[1])), preserveAspectRatio: "none" });
  image.setAttribute("href", step.sheet);
  return image;
}

function seen(run, step, n, story) {
  const figure = (drawn, words) => drawn && el("figure", null, drawn, el("figcaption", null, words));
  const view = cut(step, "view", "view " + (n + 1)) || (n === 0 && story.thumb ? el("img", { class: "shot", src: story.thumb, alt: "image" }) : null);
  const list = [figure(view, n === 0 ? "what it saw: the image, X₁" : "what it saw, Eq. 12: X" + sub(n + 1)),
    figure(cut(step, "hole", "what was erased"), "what was erased (white)"),
    figure(cut(step, "erased", "erased"), "with the object erased, Eq. 4: X′" + sub(n + 1)),
    figure(step.mask && el("img", { class: "shot", src: step.mask, alt: "mask" }), (step.soft ? "soft mask M" : "mask M") + sub(n + 1))];
  const more = Object.keys(step.pictures || {}).filter((name) => name.startsWith("erased_"));
  list.push(...more.map((name) => figure(cut(step, name, name), "erased: " + place(name.slice(7)))));
  return list.filter(Boolean);
}
const sub = (n) => [...String(n)].map((d) => "₀₁₂₃₄₅₆₇₈₉"[d]).join("");
const place = (patch) => (patch === "original" ? "whole image" : patch.replaceAll("_", " "));
