// The labelling page. A judgement is safe from the moment it is submitted: it gets its id here and waits in an outbox
// in localStorage until the server has stored it, so neither a reload nor a server that is away loses or doubles it.

const OUTBOX = "loupe.outbox";
const AHEAD = 8; // images fetched before they are needed
const RETRY_MS = 2000;
const LOOK_MS = 5000; // between looks for new images when there are none
const SHIFT = "loupe.shift";
const SHIFT_LASTS_MS = 12 * 3600 * 1000; // a shift that ended is worse than none

const at = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const product = parameters.get("product");
const inspector = parameters.get("inspector");

let queue = []; // tasks still to come, each with its image already loading
let current = null; // the task on the screen
let ready = false; // its image is on the screen: until then the browser shows the one before, which nobody must judge
let shownAt = 0;
const broken = new Set(); // images that could not be loaded
let chosen = []; // classes on the image, in the order in which they were named
let refusal = ""; // why the server gives no tasks
let lost = ""; // why the server did not take a judgement
let away = false;
let loaded = false;
let judgedBefore = 0;
let unlabelled = 0;

// Runs of `work` never overlap; asked for while it runs, it runs once more, so that nothing is overlooked.
function oneAtATime(work) {
  let running = null;
  let again = false;
  async function run() {
    do {
      again = false;
      await work();
    } while (again);
    running = null;
  }
  return () => {
    again = true;
    running ??= run();
    return running;
  };
}

// ---- outbox: one localStorage entry a judgement, so that two open tabs never overwrite each other's ----

function waiting() {
  return Object.keys(localStorage)
    .filter((key) => key.startsWith(`${OUTBOX}.`))
    .sort()
    .map((key) => ({ key, judgement: JSON.parse(localStorage.getItem(key)) }));
}

function keep(judgement) {
  localStorage.setItem(`${OUTBOX}.${Date.now().toString(36)}.${judgement.id}`, JSON.stringify(judgement));
}

const sendAll = oneAtATime(async () => {
  try {
    for (const { key, judgement } of waiting()) {
      const response = await fetch("/api/labels", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(judgement),
      });
      if (response.status >= 500) throw new Error("the server can't store now");
      // What the server refuses for good would block the ones behind it; people are told.
      if (!response.ok) lost = `A judgement was not stored: ${await reasonOf(response)}`;
      localStorage.removeItem(key);
      answered();
      showState();
    }
  } catch {
    away = true; // the server is away: everything stays in the outbox
  }
  showState();
});

function answered() {
  if (away) broken.clear(); // it was the server that was away, not the images
  away = false;
}

async function reasonOf(response) {
  const body = await response.json().catch(() => ({ what: `HTTP ${response.status}`, remedy: "" }));
  return `${body.what}: ${body.remedy}`;
}

// ---- tasks ----

const fill = oneAtATime(async () => {
  try {
    // Judged after the request left and stored before its answer came: only what is noted now can tell.
    const before = known();
    const n = Math.min(200, before.size + Math.max(1, AHEAD - queue.length));
    const query = new URLSearchParams({ product, inspector, n });
    const response = await fetch(`/api/tasks?${query}`);
    if (response.status >= 500) throw new Error("the server can't read now");
    answered();
    refusal = response.ok ? "" : await reasonOf(response);
    if (response.ok) take(await response.json(), before);
  } catch {
    away = true;
  }
  if (!current) next();
  showState();
});

function take(work, before) {
  judgedBefore = work.judged;
  unlabelled = work.unlabelled;
  loaded = true;
  work.tasks.filter((task) => !before.has(task.image_sha256)).forEach(add);
}

// Images that are on the screen, about to be, judged without the server having stored it, or broken.
function known() {
  const tasks = [current, ...queue, ...waiting().map(({ judgement }) => judgement)];
  return new Set([...broken, ...tasks.filter((task) => task).map((task) => task.image_sha256)]);
}

function add(task) {
  if (known().has(task.image_sha256)) return;
  const image = new Image();
  image.src = task.image_url; // preloads: the address is cached for ever
  queue.push({ ...task, image });
}

function next() {
  current = queue.shift() ?? null;
  ready = false;
  chosen = [];
  press(at("unsure"), false);
  press(at("also"), false);
  at("severity").value = "";
  at("comment").value = "";
  const picture = at("image");
  if (current) picture.src = current.image_url;
  else picture.removeAttribute("src");
  showChoice();
  showState();
}

function onLoaded() {
  ready = true;
  shownAt = performance.now();
  showChoice();
}

function onBroken() {
  broken.add(current.image_sha256);
  lost = "An image could not be loaded and was passed over.";
  next();
  fill();
}

// ---- what the inspector does ----

// A class takes the place of what was chosen; after `Also` it comes beside it, or goes again. No part is good and bad.
function choose(button) {
  if (!ready) return;
  const name = button.dataset.name;
  const isGood = (one) => at("classes").querySelector(`[data-name="${CSS.escape(one)}"]`).dataset.good === "true";
  if (!isPressed("also") || isGood(name)) chosen = [name];
  else if (chosen.includes(name)) chosen = chosen.filter((one) => one !== name);
  else chosen = [...chosen.filter((one) => !isGood(one)), name];
  press(at("also"), false);
  showChoice();
}

function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

const isPressed = (id) => at(id).getAttribute("aria-pressed") === "true";

function toggle(id) {
  press(at(id), !isPressed(id));
}

// The browser remembers the shift, so that it is named once and not with every image.
function shift() {
  const said = JSON.parse(localStorage.getItem(SHIFT) ?? "null");
  return said && Date.now() - said.at < SHIFT_LASTS_MS ? said.name : "";
}

function onShift() {
  localStorage.setItem(SHIFT, JSON.stringify({ name: at("shift").value.trim(), at: Date.now() }));
}

function submit() {
  if (!ready || !chosen.length || !at("severity").reportValidity()) return;
  keep({
    id: uuid(),
    product,
    image_sha256: current.image_sha256,
    inspector,
    class_name: chosen[0],
    also: chosen.slice(1),
    severity: at("severity").value === "" ? null : at("severity").valueAsNumber,
    unsure: isPressed("unsure"),
    comment: at("comment").value.trim(),
    seconds: Math.round(performance.now() - shownAt) / 1000,
    judged_at: new Date().toISOString(),
    shift: shift(),
  });
  lost = "";
  document.activeElement.blur();
  at("shift").value = shift();
  next();
  sendAll().then(fill);
}

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Older browsers, and pages that are served without TLS, lack randomUUID.
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.key === "Enter" && event.target.tagName !== "A") {
    event.preventDefault();
    if (event.target.id === "shift") event.target.blur();
    else submit();
  } else if (event.key === "Escape") {
    event.target.blur();
  } else if (event.target.tagName !== "INPUT") {
    if (event.key.toLowerCase() === "u") toggle("unsure");
    if (event.key.toLowerCase() === "a") toggle("also");
    const button = at("classes").children[Number(event.key) - 1];
    if (/^[1-9]$/.test(event.key) && button) choose(button);
  }
}

// ---- what is shown ----

function showChoice() {
  for (const button of at("classes").children) {
    button.setAttribute("aria-checked", String(chosen.includes(button.dataset.name)));
    button.disabled = !ready;
  }
  at("image").classList.toggle("loading", !ready);
  at("submit").disabled = !ready || !chosen.length;
}

function showState() {
  const count = waiting().length;
  at("waiting").textContent = count && away ? `${count} waiting to be stored: the server is away` : "";
  if (at("work").hidden) return;
  const more = unlabelled >= 1000 ? "1000+" : unlabelled;
  at("progress").textContent = `${judgedBefore} judged by you, ${more} that nobody has judged`;
  at("message").textContent = lost || refusal || (current ? "" : emptyReason());
}

function emptyReason() {
  if (away) return "The server is away. What you judged is safe in this browser; the page goes on by itself.";
  if (!loaded) return "Loading…";
  return "Nothing left to judge now. New images from the line appear here by themselves.";
}

function drawClasses(classes) {
  const buttons = classes.map((entry, position) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.name = entry.name;
    button.dataset.good = String(entry.ok);
    button.title = entry.description;
    button.setAttribute("role", "checkbox");
    if (position < 9) {
      const key = document.createElement("kbd");
      key.textContent = String(position + 1);
      button.append(key);
    }
    button.append(entry.name);
    button.addEventListener("click", () => {
      choose(button);
      button.blur(); // so that the next Enter submits and does not press the button again
    });
    return button;
  });
  at("classes").replaceChildren(...buttons);
  showChoice();
}

// ---- start ----

async function askWho() {
  at("start").hidden = false;
  at("start").elements.inspector.value = inspector ?? "";
  const products = await fetch("/api/products").then((response) => response.json());
  const select = at("start").elements.product;
  select.replaceChildren(...products.map((entry) => new Option(entry.product, entry.product)));
  if (product) select.value = product;
  at("start-hint").textContent = products.length
    ? ""
    : "There is no product yet: import labelled images first, with `loupe import PATH`.";
}

async function loadBook() {
  for (;;) {
    try {
      const response = await fetch(`/api/label-book?${new URLSearchParams({ product })}`);
      if (response.ok) return (await response.json()).classes;
      if (response.status < 500) {
        at("message").textContent = await reasonOf(response);
        return null;
      }
    } catch {
      away = true;
      showState();
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function start() {
  if (!product || !inspector) return askWho();
  at("work").hidden = false;
  at("change").hidden = false;
  at("shift").hidden = false;
  at("who").textContent = `${inspector} · ${product}`;
  const classes = await loadBook();
  if (!classes) return;
  drawClasses(classes.filter((entry) => !entry.retired));
  at("submit").addEventListener("click", submit);
  for (const id of ["unsure", "also"]) {
    at(id).addEventListener("click", () => {
      toggle(id);
      at(id).blur();
    });
  }
  at("shift").value = shift();
  at("shift").addEventListener("input", onShift);
  at("image").addEventListener("load", onLoaded);
  at("image").addEventListener("error", onBroken);
  document.addEventListener("keydown", onKey);
  setInterval(() => {
    if (away || !current) fill();
  }, LOOK_MS);
  await fill();
}

start();
sendAll();
setInterval(() => {
  if (waiting().length) sendAll();
}, RETRY_MS);
