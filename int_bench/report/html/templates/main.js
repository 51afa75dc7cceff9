// Which view is shown is in the address, so that back and forward work and a place can be shared.
function go(hash) {
  if (location.hash === hash) route();
  else location.hash = hash;
}

function route() {
  const image = /^#image=(\d+)$/.exec(location.hash);
  const index = image ? Number(image[1]) : null;
  const name = index !== null && DATA.images[index] ? "image" : location.hash === "#images" ? "images" : "overview";
  const before = ["overview", "images", "image"].find((other) => !$(other).hidden);
  for (const other of ["overview", "images", "image"]) {
    $(other).hidden = other !== name;
    const tab = $("nav-" + other);
    if (other === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  if (name === "images") {
    showImages();
    const opened = before === "image" && document.querySelector('.card[data-image="' + view.image + '"]');
    if (opened) opened.focus();
    else scrollTo(0, 0);
  } else if (name === "image") {
    $("nav-image").hidden = false;
    showImage(index);
    scrollTo(0, 0);
    $("image-title").focus({ preventScroll: true });
  } else scrollTo(0, 0);
}

function jump(n) {
  const section = document.querySelector('[data-iteration="' + n + '"]');
  if (section) section.scrollIntoView({ block: "start" });
}

function turn(by) {
  const place = view.order.indexOf(view.image);
  const other = view.order[place + by];
  if (place >= 0 && other !== undefined) go("#image=" + other);
}

// Arrows move between cards as they stand on the screen.
function moveFocus(event) {
  const cards = [...document.querySelectorAll(".card")];
  const here = cards.indexOf(document.activeElement);
  const top = (card) => card.getBoundingClientRect().top;
  const across = Math.max(1, cards.filter((card) => top(card) === top(cards[0])).length);
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
  const next = here < 0 ? cards[0] : cards[here + by];
  if (next) { event.preventDefault(); next.focus(); }
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if ($("keys").open) return;
  const typing = document.activeElement.matches("select, input[type=search]");
  if (typing) {
    if (event.key === "Escape") document.activeElement.blur();
    return;
  }
  const shown = ["overview", "images", "image"].find((name) => !$(name).hidden);
  const arrow = event.key.startsWith("Arrow");
  if (event.key === "o") go("#overview");
  else if (event.key === "g") go("#images");
  else if (event.key === "t") theme();
  else if (event.key === "?") $("keys").showModal();
  else if (event.key === "/" && DATA.images.length) { event.preventDefault(); go("#images"); setTimeout(() => $("search").focus()); }
  else if (shown === "images" && arrow) moveFocus(event);
  else if (shown === "image" && event.key === "ArrowRight") turn(1);
  else if (shown === "image" && event.key === "ArrowLeft") turn(-1);
  else if (shown === "image" && event.key === "Escape") go("#images");
  else if (shown === "image" && /^[1-9]$/.test(event.key)) jump(Number(event.key));
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

setUpImages();
$("nav-overview").addEventListener("click", () => go("#overview"));
$("nav-images").addEventListener("click", () => go("#images"));
$("nav-image").addEventListener("click", () => view.image !== null && go("#image=" + view.image));
$("theme").addEventListener("click", theme);
$("help").addEventListener("click", () => $("keys").showModal());
if ($("facts-differ")) $("facts-differ").addEventListener("change", (event) => $("facts").classList.toggle("differ", event.target.checked));
document.querySelectorAll("circle[data-image]").forEach((dot) => {
  const index = Number(dot.getAttribute("data-image"));
  dot.append(svg("title", null, DATA.images[index].id));
  dot.addEventListener("click", () => go("#image=" + index));
});
addEventListener("hashchange", route);
addEventListener("keydown", onKey);
route();
