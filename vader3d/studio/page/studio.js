// The page of `vader3d studio`: asks, watches, shows.

import { browse, openObject } from "./browse.js";
import { $, Unwelcome, ask, element, tell } from "./common.js";

const ENDED = ["done", "failed", "cancelled", "damaged"];
const PAGE = 20; // jobs a time
const AT_ONCE = 4; // objects of a job, at most
const state = { jobs: new Map(), chosen: null, from: null, watching: null, source: null, model: null, shelf: null, way: "glb", mine: null };

// The door

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
  const known = model.schema["x-model"].words;
  $("known").hidden = !known;
  $("known-words").textContent = known ? known.join(", ") : "";
  const { reconstruct, parts, clips } = model.can;
  $("from-pictures").hidden = !reconstruct;
  $("move").hidden = !parts;
  document.body.classList.toggle("moves", Boolean(parts)); // its look is taller from the beginning, so that nothing jumps
  if (parts && !$("clip").options.length) {
    const own = element("option", { value: "", textContent: "a motion of mine" });
    $("clip").append(...clips.map((name) => element("option", { value: name, textContent: name })), own);
    showMotion();
  }
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
  $("work").hidden = false; // at once: what comes later jumps
  try {
    const job = await ask("POST", "v1/jobs", request, { "Idempotency-Key": crypto.randomUUID?.() ?? "" });
    state.mine = job.id; // its first object is shown, unless another is chosen meanwhile
    take(job);
    watch();
  } catch (error) {
    $("work").hidden = !$("progress-words").textContent; // nothing was made yet
    tell(place, error);
  }
}

function settings() {
  return {
    steps: $("steps").value ? Number($("steps").value) : null,
    guidance: Number($("guidance").value),
    solver: $("solver").value,
    stochastic: $("stochastic").checked,
    redraws: $("redraws").checked ? 8 : 0,
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

// Files: sent one after another; the server knows them by what they hold

async function send(body, type) {
  const answer = await fetch("v1/uploads", { method: "POST", headers: { "Content-Type": type }, body });
  if (answer.status === 401) throw new Unwelcome();
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail);
  return said.id;
}

const bare = (name) => name.split(/[\\/]/).pop().replace(/\.[a-z]+$/i, "");

async function pictures(files) {
  const ids = new Map();
  const cameras = files.find((file) => file.name.toLowerCase().endsWith(".json"));
  const photos = files.filter((file) => file !== cameras);
  for (const photo of photos) {
    $("sent").textContent = `sending ${ids.size + 1} of ${photos.length}`;
    ids.set(bare(photo.name), await send(photo, photo.type));
  }
  $("sent").textContent = `${photos.length} sent`;
  if (!cameras) return [...ids.values()];
  const known = JSON.parse(await cameras.text());
  const frames = (known.frames ?? []).map((frame) => ({ ...frame, file_path: ids.get(bare(frame.file_path ?? "")) })).filter((frame) => frame.file_path);
  if (!frames.length) throw new Error(`None of the photographs is named in ${cameras.name}.`);
  return [await send(JSON.stringify({ ...known, frames }), "application/json")];
}

$("rebuild").addEventListener("submit", async (event) => {
  event.preventDefault();
  tell("trouble-pictures", null);
  try {
    await submit({ kind: "reconstruct", pictures: await pictures([...$("photos").files]) }, "trouble-pictures");
  } catch (error) {
    tell("trouble-pictures", error);
  }
});

function showMotion() {
  $("motion-label").hidden = Boolean($("clip").value);
  $("motion").required = !$("clip").value;
}

$("clip").addEventListener("change", showMotion);

$("move").addEventListener("submit", async (event) => {
  event.preventDefault();
  tell("trouble-here", null);
  try {
    const driving = $("clip").value || (await send($("motion").files[0], "application/json"));
    await submit({ kind: "animate", source: state.chosen, driving, relative: $("relative").checked }, "trouble-here");
  } catch (error) {
    tell("trouble-here", error);
  }
});

// Watching: one job at a time by events, since a browser opens few connections

function watch() {
  const waiting = [...state.jobs.values()].filter((job) => !ENDED.includes(job.state));
  const next = waiting.find((job) => job.state === "running") ?? waiting.sort((a, b) => a.number - b.number)[0];
  if (next) $("work").hidden = false;
  $("cancel").disabled = !next;
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
  const said = step ? `${done} of ${job.assets.length} made` : job.state; // aloud, so not every step
  if ($("said").textContent !== said) $("said").textContent = said;
  $("progress").value = job.assets.length ? Math.min(1, (done + (job.steps && done < job.assets.length ? job.step / job.steps / 2 : 0)) / job.assets.length) : 0;
  $("work-title").textContent = ENDED.includes(job.state) ? "Made last" : "In the making";
  if (ENDED.includes(job.state)) return; // its last previews stay, so that nothing jumps
  const names = Object.keys(job.previews);
  const pictures = $("previews");
  const places = Math.max(names.length, Math.min(AT_ONCE, job.assets.length)); // from the beginning, so that nothing jumps
  if (pictures.dataset.job !== job.id) pictures.replaceChildren();
  pictures.dataset.job = job.id;
  while (pictures.children.length > places) pictures.lastChild.remove();
  while (pictures.children.length < places) pictures.append(element("img", { alt: "", width: 96, height: 96 }));
  for (const name of names) { // one that is made stays until another takes its place
    const all = [...pictures.children];
    const place = all.find((each) => each.dataset.asset === name) ?? all.find((each) => !names.includes(each.dataset.asset));
    place.dataset.asset = name;
    if (place.src !== job.previews[name]) Object.assign(place, { src: job.previews[name], alt: "what it is becoming" });
  }
}

$("cancel").addEventListener("click", () => {
  if (state.watching) cancel(state.watching);
});

function cancel(id) {
  ask("DELETE", `v1/jobs/${id}`).then(take).then(watch).catch((error) => tell("trouble", error));
}

// The gallery

function take(job) {
  const before = state.jobs.get(job.id);
  state.jobs.set(job.id, job);
  const seen = JSON.stringify([job.state, job.reason, job.assets, job.remarks]);
  if (before && before.seen === seen) {
    job.seen = seen;
    return;
  }
  job.seen = seen;
  $("empty").hidden = true;
  const first = job.assets.find((asset) => asset.state === "ready");
  if (first && state.mine === job.id) setTimeout(() => state.mine === job.id && choose(first, false));
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
  const title = { vary: "varied", between: "a way between two", animate: "moving", reconstruct: "of photographs" }[request.kind] ?? (prompts || "whatever the model knows");
  const notes = [job.state, job.reason, ...job.remarks].filter(Boolean).join("; ");
  const rows = request.kind === "make" && request.prompts.length > 1 ? request.prompts : [null]; // a grid: a row a prompt
  const things = rows.flatMap((prompt) => {
    const some = job.assets.filter((asset) => prompt === null || asset.prompt === prompt);
    const pictures = element("div", { className: "pictures" }, ...some.map((asset) => thing(job, asset)));
    return prompt === null ? [pictures] : [element("h4", { textContent: prompt || "whatever the model knows" }), pictures];
  });
  const made = element("li", { id: `job-${job.id}` }, element("h3", { textContent: title }), element("p", { textContent: notes }), ...things);
  made.dataset.number = job.number;
  if (job.state === "queued") {
    const button = element("button", { type: "button", textContent: "Cancel" });
    button.addEventListener("click", () => cancel(job.id));
    made.append(button);
  }
  if (request.kind === "between" && job.assets.some((asset) => asset.state === "ready")) made.append(slider(job));
  return made;
}

function thing(job, asset) {
  if (asset.state !== "ready" && asset.state !== "empty") {
    const words = asset.state === "waiting" && ENDED.includes(job.state) ? "not made" : asset.state;
    return element("div", { className: "none", title: asset.reason ?? "" }, element("span", { textContent: words }));
  }
  const name = `${asset.prompt || "object"}, seed ${asset.seed}, number ${asset.index}`;
  const picture = element("img", { src: `v1/assets/${asset.id}.webp`, alt: name, width: 128, height: 128, loading: "lazy" });
  const made = element("button", { type: "button", className: "thing", id: `asset-${asset.id}` }, picture, element("span", { textContent: `seed ${asset.seed}, ${asset.index}` }));
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

const WAYS = { glb: "Orbit", wire: "Wireframe", splats: "Splats", webp: "Turntable", "depth.png": "Depth", "normals.png": "Normals" };

const MESHES = ["glb", "wire", "splats"];

function choose(asset, moves = true) {
  $(`asset-${state.chosen}`)?.setAttribute("aria-pressed", "false");
  state.chosen = asset.id;
  state.mine = null;
  $(`asset-${asset.id}`)?.setAttribute("aria-pressed", "true");
  $("doing").hidden = $("ways").hidden = $("near").hidden = false;
  $("look-title").textContent = asset.prompt || "Object";
  const mesh = asset.faces ? `${asset.faces} faces, watertight: ${asset.watertight ? "yes" : "no"}, shells: ${asset.shells}` : "no mesh";
  const like = asset.likeness && asset.likeness < 0.5 ? "; its mesh is unlike its pictures" : "";
  $("facts").textContent = `${asset.name}: ${mesh}${like}`;
  const job = state.jobs.get(asset.id.split("-")[0]);
  const drawn = !["animate", "reconstruct"].includes(job.request.kind); // only those have others like them
  $("vary").hidden = $("way-card").hidden = !drawn;
  $("from").disabled = state.from === asset.id;
  $("to").disabled = !state.from || state.from === asset.id;
  tell("trouble-here", null);
  for (const button of $("ways").querySelectorAll("[data-way]")) button.hidden = asset.state === "empty" && MESHES.includes(button.dataset.way);
  show(asset.state === "empty" && MESHES.includes(state.way) ? "webp" : state.way, asset);
  neighbours(asset.id).catch((error) => tell("trouble-here", error));
  if (moves) {
    $("look-title").focus({ preventScroll: true });
    $("look").scrollIntoView({ block: "nearest" });
  }
}

async function show(way, asset = null) {
  const id = asset?.id ?? state.chosen;
  state.way = way;
  if (!["glb", "wire"].includes(way)) $("pause").hidden = true;
  for (const button of $("ways").querySelectorAll("[data-way]")) button.setAttribute("aria-pressed", String(button.dataset.way === way));
  try {
    await ({ glb: orbit, wire: orbit, splats }[way] ?? picture)(id, way);
  } catch (error) {
    tell("trouble-here", error);
  }
}

function isWanted(id, way) {
  return state.chosen === id && state.way === way;
}

function picture(id, way) {
  const made = element("img", { src: `v1/assets/${id}.${way}`, alt: `${WAYS[way]} of the object` });
  made.addEventListener("error", () => tell("trouble-here", new Error("This picture could not be made.")));
  $("stage").replaceChildren(made);
}

async function orbit(id, way) {
  await import("./model-viewer.min.js");
  if (!isWanted(id, way)) return;
  const address = `v1/assets/${id}.glb`;
  const phone = state.model.formats.usdz.here ? `v1/assets/${id}.usdz` : "";
  const there = $("stage").querySelector("model-viewer");
  const viewer = there ?? element("model-viewer");
  const settings = { src: address, "ios-src": phone, alt: "the object, to be turned", "camera-controls": "", "shadow-intensity": "1", "touch-action": "pan-y", "interaction-prompt": "none", autoplay: "", ar: "", "ar-modes": "webxr quick-look" };
  for (const [name, value] of Object.entries(settings)) if (viewer.getAttribute(name) !== value) viewer.setAttribute(name, value);
  if (there) return wire(there);
  viewer.addEventListener("load", () => {
    wire(viewer);
    $("pause").hidden = !viewer.availableAnimations.length;
    pause(false);
  });
  viewer.addEventListener("error", () => tell("trouble-here", new Error("This mesh could not be shown.")));
  $("stage").replaceChildren(viewer);
}

function pause(still) {
  const viewer = $("stage").querySelector("model-viewer");
  if (still) viewer?.pause();
  else viewer?.play();
  $("pause").textContent = still ? "Play" : "Pause";
}

$("pause").addEventListener("click", () => pause($("pause").textContent === "Pause"));

// The viewer has no wireframes of its own; its scene is that of three.js.
function wire(viewer) {
  const scene = viewer[Object.getOwnPropertySymbols(viewer).find((symbol) => symbol.description === "scene")];
  scene?.model?.traverse((node) => {
    if (node.material) node.material.wireframe = state.way === "wire";
  });
  scene?.queueRender();
}

async function splats(id, way) {
  const { showSplats } = await import("./splats.js");
  const answer = await fetch(`v1/assets/${id}.splats.ply`);
  if (!answer.ok) throw new Error((await answer.json()).detail);
  const data = await answer.arrayBuffer();
  if (!isWanted(id, way)) return;
  const canvas = element("canvas", { id: "splats", tabIndex: 0, role: "img" });
  canvas.setAttribute("aria-label", "the object as Gaussian splats; arrow keys turn, + and - zoom");
  $("stage").replaceChildren(canvas);
  showSplats(canvas, data);
}

// What of the training lies nearest to it; by names where the data set is at hand
async function neighbours(id) {
  const { nearest } = await ask("GET", `v1/assets/${id}`);
  if (state.chosen !== id) return;
  $("near").hidden = !nearest?.length;
  if (!nearest?.length) return;
  const set = state.shelf.data.findIndex((each) => each.learned);
  $("nearest").replaceChildren(...nearest.map((each) => {
    const words = each.caption || each.name || `number ${each.number}`;
    const inside = [element("img", { src: each.picture, alt: "", width: 96, height: 96 }), element("span", { textContent: words })];
    if (set < 0) return element("div", { className: "thing" }, ...inside);
    const made = element("button", { type: "button", className: "thing" }, ...inside);
    made.addEventListener("click", () => {
      openTab("browse");
      openObject(each.number, set).catch((error) => tell("trouble-data", error));
    });
    return made;
  }));
  $("near-words").textContent = nearest[0].copy
    ? "It stands far nearer to the first of these than another training object does: take it for a copy."
    : "Not taken for a copy: it lies about as far from them as they do from each other.";
}

for (const [way, words] of Object.entries(WAYS)) {
  const button = element("button", { type: "button", textContent: words });
  button.dataset.way = way;
  button.addEventListener("click", () => show(way));
  $("ways").insertBefore(button, $("pause"));
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
  const keep = $("keep").value;
  const box = numbers(keep === "box" ? $("box").value : keep);
  const seed = Math.floor(Math.random() * 1e9);
  const how = { strength: Number($("strength").value), keep_box: box.length ? box : null };
  submit({ kind: "vary", source: state.chosen, count: 4, seeds: [seed], ...how }, "trouble-here");
});

$("keep").addEventListener("change", () => {
  $("box-label").hidden = $("keep").value !== "box";
});

$("from").addEventListener("click", () => {
  state.from = state.chosen;
  $("from").disabled = $("to").disabled = true;
  $("way-words").textContent = `It begins with ${$("look-title").textContent}; choose the other one, then End here.`;
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
  state.chosen = null;
  $("doing").hidden = $("ways").hidden = $("near").hidden = true;
  $("look-title").textContent = "Object";
  $("stage").replaceChildren(element("p", { textContent: "It is deleted." }));
  $("gallery-title").scrollIntoView({ block: "nearest" });
});

// Tabs

const TABS = ["make", "browse"];

function openTab(name) {
  for (const each of TABS) {
    $(`panel-${each}`).hidden = each !== name;
    $(`tab-${each}`).setAttribute("aria-selected", String(each === name));
    $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
  }
  sessionStorage.setItem("tab", name);
  dispatchEvent(new Event("resize")); // canvases were not laid out
}

for (const name of TABS) {
  $(`tab-${name}`).addEventListener("click", () => openTab(name));
  $(`tab-${name}`).addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const other = TABS[1 - TABS.indexOf(name)];
    openTab(other);
    $(`tab-${other}`).focus();
  });
}

// Beginning

async function start() {
  const code = location.hash.slice(1);
  if (code) {
    history.replaceState(null, "", location.pathname);
    await ask("POST", "v1/session", { secret: code }).catch(() => null);
  }
  try {
    await loadModel();
    const shelf = (state.shelf = await ask("GET", "v1/shelf"));
    $("tabs").hidden = !shelf.data.length && !shelf.runs.length;
    if (!$("tabs").hidden) {
      openTab(TABS.includes(sessionStorage.getItem("tab")) ? sessionStorage.getItem("tab") : "make");
      browse(shelf);
    }
    await refresh();
    const [newest] = [...state.jobs.values()].flatMap((job) => job.assets.filter((asset) => asset.state === "ready"));
    if (newest && !state.chosen) choose(newest, false);
  } catch (error) {
    tell("trouble", error);
  }
  document.body.classList.remove("starting"); // shown when it is known what there is, so that nothing jumps
}

start();
