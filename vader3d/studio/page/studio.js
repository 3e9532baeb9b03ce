// The page of `vader3d studio`: asks, watches, shows. All texts of others go in as text, never as markup.

const $ = (id) => document.getElementById(id);
const ENDED = ["done", "failed", "cancelled", "damaged"];
const PAGE = 20; // jobs a time
const state = { jobs: new Map(), chosen: null, from: null, watching: null, source: null, model: null, way: "glb" };

class Unwelcome extends Error {}

async function ask(method, path, value, headers = {}) {
  const options = { method, headers: { ...headers } };
  if (value !== undefined) {
    options.body = JSON.stringify(value);
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path, options);
  if (answer.status === 401) throw new Unwelcome();
  if (answer.status === 204) return null;
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail);
  return said;
}

function element(kind, values = {}, ...inside) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(values)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...inside);
  return made;
}

function tell(place, error) {
  $(place).textContent = error ? error.message || String(error) : "";
  if (error instanceof Unwelcome) login();
}

// The door

function login() {
  if (!$("login").open) $("login").showModal();
}

$("login").addEventListener("cancel", (event) => event.preventDefault());
$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await ask("POST", "v1/session", { secret: $("token").value });
    $("token").value = "";
    $("login").close();
    await start();
  } catch {
    $("login-trouble").textContent = "That is another token.";
  }
});

// The model

async function loadModel() {
  const model = (state.model = await ask("GET", "v1/model"));
  const words = { loading: "loading the model", ready: `ready on ${model.device}`, failed: `no model: ${model.reason}` };
  $("model").textContent = words[model.state];
  document.body.classList.toggle("no-words", !("prompt" in model.schema.properties));
  if (!$("solver").options.length) {
    const solver = model.schema.properties.solver;
    $("solver").append(...solver.enum.map((name) => element("option", { textContent: name, value: name })));
    $("solver").value = solver.default;
    for (const [name, form] of Object.entries(model.formats)) {
      if (form.here) $("format").append(element("option", { value: name, textContent: `${name}: ${form.what}` }));
    }
  }
  if (model.state === "loading") setTimeout(() => loadModel().catch((error) => tell("trouble", error)), 1000);
}

// Asking

function numbers(text) {
  return text.split(/[\s,]+/).filter(Boolean).map(Number);
}

async function submit(request, place) {
  tell(place, null);
  try {
    const job = await ask("POST", "v1/jobs", request, { "Idempotency-Key": crypto.randomUUID?.() ?? "" });
    take(job);
    watch();
  } catch (error) {
    tell(place, error);
  }
}

function settings() {
  return {
    steps: $("steps").value ? Number($("steps").value) : null,
    guidance: Number($("guidance").value),
    solver: $("solver").value,
    stochastic: $("stochastic").checked,
    negative_prompt: $("negative").value,
  };
}

$("make").addEventListener("submit", (event) => {
  event.preventDefault();
  const prompts = $("prompts").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const asked = { prompts: prompts.length ? prompts : [""], seeds: numbers($("seeds").value), count: Number($("count").value) };
  submit({ ...asked, ...settings() }, "trouble");
});

$("surprise").addEventListener("click", () => {
  const seed = Math.floor(Math.random() * 1e9);
  $("seeds").value = seed;
  submit({ prompts: [""], seeds: [seed], count: Number($("count").value) || 4, ...settings() }, "trouble");
});

// Watching: one job at a time by events, since a browser opens few connections

function watch() {
  const waiting = [...state.jobs.values()].filter((job) => !ENDED.includes(job.state));
  const next = waiting.find((job) => job.state === "running") ?? waiting.sort((a, b) => a.number - b.number)[0];
  $("work").hidden = !next;
  if (!next || state.watching === next.id) return;
  state.source?.close();
  state.watching = next.id;
  const source = (state.source = new EventSource(`v1/jobs/${next.id}/events`));
  source.addEventListener("job", (event) => {
    const job = JSON.parse(event.data);
    take(job);
    showWork(job);
    if (!ENDED.includes(job.state)) return;
    source.close();
    state.watching = null;
    watch();
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) return; // it comes again by itself
    state.watching = null;
    setTimeout(() => refresh().catch((error) => tell("trouble", error)), 2000);
  });
  showWork(next);
}

function showWork(job) {
  const done = job.assets.filter((asset) => asset.state !== "waiting").length;
  const step = job.steps && job.state === "running" ? `, step ${job.step} of ${job.steps}` : "";
  $("progress-words").textContent = `${job.state}: ${done} of ${job.assets.length} objects${step}`;
  $("progress").value = job.assets.length ? (done + (job.steps ? job.step / job.steps / 2 : 0)) / job.assets.length : 0;
  const names = Object.keys(job.previews);
  const pictures = $("previews");
  while (pictures.children.length > names.length) pictures.lastChild.remove();
  names.forEach((name, i) => {
    if (!pictures.children[i]) pictures.append(element("img", { alt: "what it is becoming", width: 96, height: 96 }));
    if (pictures.children[i].src !== job.previews[name]) pictures.children[i].src = job.previews[name];
  });
}

$("cancel").addEventListener("click", () => {
  if (state.watching) ask("DELETE", `v1/jobs/${state.watching}`).then(take).catch((error) => tell("trouble", error));
});

// The gallery

function take(job) {
  const before = state.jobs.get(job.id);
  if (before && before.version > job.version) return;
  state.jobs.set(job.id, job);
  const seen = JSON.stringify([job.state, job.reason, job.assets, job.remarks]);
  if (before && before.seen === seen) {
    job.seen = seen;
    return;
  }
  job.seen = seen;
  $("empty").hidden = true;
  const old = $(`job-${job.id}`);
  const made = entry(job);
  if (old) {
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    old.replaceWith(made);
    if (focused) $(focused)?.focus();
    return;
  }
  const after = [...$("gallery").children].find((each) => Number(each.dataset.number) < job.number);
  $("gallery").insertBefore(made, after ?? null);
}

function entry(job) {
  const request = job.request;
  const prompts = (request.prompts ?? []).filter(Boolean).join(" / ");
  const title = { vary: "varied", between: "a way between two" }[request.kind] ?? (prompts || "whatever the model knows");
  const notes = [job.state, job.reason, ...job.remarks].filter(Boolean).join("; ");
  const things = element("div", { className: "pictures" }, ...job.assets.map((asset) => thing(job, asset)));
  const made = element("li", { id: `job-${job.id}` }, element("h3", { textContent: title }), element("p", { textContent: notes }), things);
  made.dataset.number = job.number;
  if (request.kind === "between" && job.assets.some((asset) => asset.state === "ready")) made.append(slider(job));
  return made;
}

function thing(job, asset) {
  if (asset.state !== "ready" && asset.state !== "empty") {
    return element("div", { className: "none", textContent: asset.state === "waiting" && ENDED.includes(job.state) ? "not made" : asset.state });
  }
  const name = `${asset.prompt || "object"}, seed ${asset.seed}, number ${asset.index}`;
  const picture = element("img", { src: `v1/assets/${asset.id}.webp`, alt: name, width: 128, height: 128, loading: "lazy" });
  const made = element("button", { type: "button", className: "thing", id: `asset-${asset.id}` }, picture, `seed ${asset.seed}, ${asset.index}`);
  made.setAttribute("aria-pressed", String(state.chosen === asset.id));
  made.addEventListener("click", () => choose(asset));
  return made;
}

function slider(job) {
  const input = element("input", { type: "range", min: 0, max: job.assets.length - 1, step: 1, value: 0 });
  input.addEventListener("input", () => {
    const asset = job.assets[Number(input.value)];
    if (asset.state === "ready") choose(asset, false);
  });
  return element("label", {}, "From the one to the other", input);
}

async function refresh(before) {
  const jobs = await ask("GET", `v1/jobs?most=${PAGE}${before ? `&before=${before}` : ""}`);
  jobs.forEach(take);
  $("more").hidden = jobs.length < PAGE;
  watch();
}

$("more").addEventListener("click", () => {
  const least = Math.min(...[...state.jobs.values()].map((job) => job.number));
  refresh(least).catch((error) => tell("trouble", error));
});

// One object

const WAYS = { glb: "Orbit", webp: "Turntable", "depth.png": "Depth", "normals.png": "Normals" };

function choose(asset, moves = true) {
  $(`asset-${state.chosen}`)?.setAttribute("aria-pressed", "false");
  state.chosen = asset.id;
  $(`asset-${asset.id}`)?.setAttribute("aria-pressed", "true");
  $("look").hidden = false;
  $("look-title").textContent = asset.prompt || "Object";
  const mesh = asset.faces ? `${asset.faces} faces, watertight: ${asset.watertight ? "yes" : "no"}, shells: ${asset.shells}` : "no mesh";
  const like = asset.likeness && asset.likeness < 0.5 ? "; its mesh is unlike its pictures" : "";
  $("facts").textContent = `${asset.name}: ${mesh}${like}`;
  $("from").disabled = $("to").disabled = false;
  $("to").disabled = !state.from || state.from === asset.id;
  tell("trouble-here", null);
  show(asset.state === "empty" ? "webp" : state.way, asset);
  if (moves) {
    $("look-title").focus({ preventScroll: true });
    $("look").scrollIntoView({ block: "nearest" });
  }
}

async function show(way, asset = null) {
  const id = asset?.id ?? state.chosen;
  state.way = way;
  for (const button of $("ways").children) button.setAttribute("aria-pressed", String(button.dataset.way === way));
  const address = `v1/assets/${id}.${way}`;
  if (way !== "glb") {
    const picture = element("img", { src: address, alt: `${WAYS[way]} of the object` });
    picture.addEventListener("error", () => tell("trouble-here", new Error("This picture could not be made.")));
    return $("stage").replaceChildren(picture);
  }
  await import("./model-viewer.min.js");
  if (state.chosen !== id || state.way !== way) return;
  const there = $("stage").querySelector("model-viewer");
  const phone = state.model.formats.usdz.here ? `v1/assets/${id}.usdz` : "";
  if (there) {
    there.setAttribute("ios-src", phone);
    return there.setAttribute("src", address);
  }
  const viewer = element("model-viewer");
  for (const [name, value] of Object.entries({ src: address, "ios-src": phone, alt: "the object, to be turned", "camera-controls": "", "shadow-intensity": "1", "touch-action": "pan-y", "interaction-prompt": "none", ar: "", "ar-modes": "webxr quick-look" })) viewer.setAttribute(name, value);
  viewer.addEventListener("error", () => tell("trouble-here", new Error("This mesh could not be shown.")));
  return $("stage").replaceChildren(viewer);
}

for (const [way, words] of Object.entries(WAYS)) {
  const button = element("button", { type: "button", textContent: words });
  button.dataset.way = way;
  button.addEventListener("click", () => show(way));
  $("ways").append(button);
}

$("take").addEventListener("submit", async (event) => {
  event.preventDefault();
  tell("trouble-here", null);
  const options = { preset: $("preset").value, size_cm: $("size").value, texture_size: $("texture").value };
  if (options.texture_size) options.colour = "texture";
  const query = new URLSearchParams(Object.entries(options).filter(([, value]) => value));
  try {
    const answer = await fetch(`v1/assets/${state.chosen}.${$("format").value}?${query}`);
    if (!answer.ok) throw new Error((await answer.json()).detail);
    const name = /filename\*?="?(?:utf-8'')?([^";]+)/i.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? "object";
    const link = element("a", { href: URL.createObjectURL(await answer.blob()), download: decodeURIComponent(name) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) {
    tell("trouble-here", error);
  }
});

$("vary").addEventListener("submit", (event) => {
  event.preventDefault();
  const box = numbers($("box").value);
  const seed = Math.floor(Math.random() * 1e9);
  const how = { strength: Number($("strength").value), keep_box: box.length ? box : null };
  submit({ kind: "vary", source: state.chosen, count: 4, seeds: [seed], ...how }, "trouble-here");
});

$("from").addEventListener("click", () => {
  state.from = state.chosen;
  $("from").disabled = true;
});

$("to").addEventListener("click", () => {
  submit({ kind: "between", source: state.from, towards: state.chosen, count: 8 }, "trouble-here");
});

$("delete").addEventListener("click", async () => {
  const gone = state.chosen;
  try {
    await ask("DELETE", `v1/assets/${gone}`);
  } catch (error) {
    return tell("trouble-here", error);
  }
  const job = state.jobs.get(gone.split("-")[0]);
  job.assets = job.assets.filter((asset) => asset.id !== gone);
  if (job.assets.length) $(`job-${job.id}`).replaceWith(entry(job));
  else {
    $(`job-${job.id}`).remove();
    state.jobs.delete(job.id);
  }
  $("look").hidden = true;
  $("gallery-title").scrollIntoView({ block: "nearest" });
});

// Beginning

async function start() {
  const code = location.hash.slice(1);
  if (code) {
    history.replaceState(null, "", location.pathname);
    await ask("POST", "v1/session", { secret: code }).catch(() => null);
  }
  try {
    await loadModel();
    await refresh();
  } catch (error) {
    tell("trouble", error instanceof Unwelcome ? null : error);
    if (error instanceof Unwelcome) login();
  }
}

start();
