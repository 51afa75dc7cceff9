// The gallery: sorted, filtered, searched and paged.
const PAGE = 60;
const view = { sort: "worst", metric: 0, filter: "all", search: "", page: 0, image: null, order: [] };

const scoreOf = (entry, run = 0) => entry.runs[run].scores[view.metric];
const better = () => (DATA.metrics[view.metric] && DATA.metrics[view.metric].lower ? -1 : 1);
// How much the first run is better than the second.
function regret(entry) {
  const [a, b] = [scoreOf(entry, 0), scoreOf(entry, 1)];
  return a === null || b === null || a === undefined || b === undefined ? null : better() * (a - b);
}

const scored = DATA.metrics.length > 0;
const known = (test) => DATA.images.some(test);
const SORTS = [
  TWO && scored && ["regret", "B lost most", (e) => { const r = regret(e); return r === null ? null : -r; }],
  TWO && scored && ["gain", "B gained most", (e) => regret(e)],
  scored && ["worst", TWO ? "A worst first" : "worst first", (e) => { const s = scoreOf(e); return s === null ? null : better() * s; }],
  scored && ["best", TWO ? "A best first" : "best first", (e) => { const s = scoreOf(e); return s === null ? null : -better() * s; }],
  known((e) => e.moved !== undefined) &&
    ["moved", TWO ? "masks differ most" : "changed most over iterations", (e) => (e.moved === undefined ? null : -e.moved)],
  known((e) => e.area !== undefined) && ["small", "smallest object first", (e) => (e.area === undefined ? null : e.area)],
  ["data", "order of the data set", (e, i) => i],
  ["id", "id", null],
].filter(Boolean);

const state = (e, which) => e.runs.some((run) => run.state === which);
const FILTERS = [
  ["all", "all", () => true],
  ["right", "name right", (e) => e.runs.some((run) => run.right === true)],
  ["wrong", "name wrong", (e) => e.runs.some((run) => run.right === false)],
  ["failed", "failed", (e) => state(e, "failed")],
  ["missing", "missing or broken", (e) => state(e, "missing") || state(e, "broken")],
  TWO && ["differ", "only what differs", (e) => e.moved !== 0 || e.runs[0].prompt !== e.runs[1].prompt],
  TWO && ["names", "names differ", (e) => e.runs[0].prompt !== e.runs[1].prompt],
].filter(Boolean);

function matches(entry) {
  const words = view.search.toLowerCase().trim();
  if (!words) return true;
  const texts = [entry.id, entry.truth, ...entry.runs.map((run) => run.prompt)];
  return texts.some((text) => text && text.toLowerCase().includes(words));
}

function arrange() {
  const keep = FILTERS.find(([name]) => name === view.filter)[2];
  const rank = SORTS.find(([name]) => name === view.sort)[2];
  const order = DATA.images.map((_, i) => i).filter((i) => keep(DATA.images[i]) && matches(DATA.images[i]));
  const keys = new Map(order.map((i) => [i, rank ? rank(DATA.images[i], i) : null]));
  order.sort((i, j) => {
    if (!rank) return DATA.images[i].id < DATA.images[j].id ? -1 : 1;
    const [a, b] = [keys.get(i), keys.get(j)];
    const absent = (value) => value === null || value === undefined;
    if (absent(a) || absent(b)) return absent(a) - absent(b) || i - j;
    return a - b || i - j;
  });
  view.order = order;
}

function card(index) {
  const entry = DATA.images[index];
  const strip = el("div", { class: "strip" }, panels(index).map(([name, how]) => panel(index, how, name)));
  const words = el("div", { class: "words" },
    el("span", { class: "id" }, said(entry.id)),
    entry.runs.map((run, i) => [TWO && el("span", { class: "run-" + "ab"[i] }, "AB"[i]),
      run.state === "done" ? nameTag(run) : el("span", { class: "tag wrong", title: run.note || "" }, run.state)]),
    entry.truth && entry.runs.some((run) => run.right === false) && el("span", { class: "id" }, "is ", said(entry.truth)),
    el("span", { class: "score" }, summary(entry)));
  return el("li", null, el("button", { type: "button", class: "card", "data-image": index,
    onclick: () => go("#image=" + index) }, strip, words));
}

function summary(entry) {
  const metric = DATA.metrics[view.metric];
  if (!metric) return "";
  if (!TWO) return metric.symbol + " " + number(scoreOf(entry));
  const change = regret(entry);
  const sign = change === null ? "" : change > 0 ? " wrong" : change < 0 ? " right" : "";
  return el("span", { class: sign }, metric.symbol + " " + number(scoreOf(entry, 0)) + " → " + number(scoreOf(entry, 1)));
}

function showImages() {
  arrange();
  const last = Math.max(0, Math.ceil(view.order.length / PAGE) - 1);
  view.page = Math.min(view.page, last);
  const part = view.order.slice(view.page * PAGE, (view.page + 1) * PAGE);
  $("gallery").replaceChildren(...part.map(card));
  $("gallery").classList.toggle("two", TWO);
  $("shown").textContent = view.order.length + " of " + DATA.images.length + " images";
  const turn = (by) => () => { view.page += by; showImages(); scrollTo(0, 0); };
  $("pages").replaceChildren(...(last ? [
    el("button", { type: "button", onclick: turn(-1), disabled: view.page === 0 }, "←"),
    el("span", null, "page " + (view.page + 1) + " of " + (last + 1)),
    el("button", { type: "button", onclick: turn(1), disabled: view.page === last }, "→"),
  ] : []));
}

function options(select, list, value) {
  select.replaceChildren(...list.map(([name, words]) => el("option", { value: name }, words)));
  select.value = value;
}

function setUpImages() {
  view.sort = SORTS[0][0];
  options($("sort"), SORTS, view.sort);
  options($("filter"), FILTERS, view.filter);
  options($("metric"), DATA.metrics.map((m, i) => [String(i), m.key + (m.lower ? " ↓" : " ↑")]), "0");
  $("metric-label").hidden = !scored;
  const again = (key, cast) => (event) => { view[key] = cast(event.target.value); view.page = 0; showImages(); };
  $("sort").addEventListener("change", again("sort", String));
  $("filter").addEventListener("change", again("filter", String));
  $("metric").addEventListener("change", again("metric", Number));
  $("search").addEventListener("input", again("search", String));
  $("bar").addEventListener("submit", (event) => event.preventDefault());
  const key = (kind, words) => el("span", null, el("i", { class: kind }), words);
  const names = TWO ? [el("span", null, el("b", { class: "run-a" }, said(DATA.runs[0].label))),
    el("span", null, el("b", { class: "run-b" }, said(DATA.runs[1].label)))] : [];
  $("legend").replaceChildren(...names, el("span", null, "Each row: ", panelNames()),
    ...(DATA.truth ? [key("hit", "found"), key("over", "too much"), key("miss", "missed")] : []));
}

function panelNames() {
  return TWO ? "image, ground truth, masks of A and B, their errors" : "image, ground truth, mask, error map";
}
