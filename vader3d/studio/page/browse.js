// The second tab: data sets and trainings that the command named.

import { $, ask, element, tell } from "./common.js";

const LIVE_SECONDS = 2; // between looks at a training
const data = { shelf: null, set: 0, next: null, object: null, scene: null, view: -1, strip: null, plot: null };
const shown = new Map(); // run's number -> the preview that was chosen, or nothing for the newest

export function browse(shelf) {
  if (data.shelf) return; // the page was opened a second time, by the token
  data.shelf = shelf;
  $("sets").replaceChildren(...shelf.data.map((set, i) => element("option", { value: i, textContent: set.title || `data ${i + 1}` })));
  $("sets-label").hidden = shelf.data.length < 2;
  $("runs").replaceChildren(...shelf.runs.map((run, i) => element("article", { id: `run-${i}`, className: "card" }, element("h3", { textContent: run.name }))));
  const first = shelf.data.length ? openSet(0).catch((error) => tell("trouble-data", error)) : null;
  Promise.all([first, look()]).then(() => { // shown at once, so that nothing jumps
    $("data-section").hidden = !shelf.data.length;
    $("runs-section").hidden = !shelf.runs.length;
    dispatchEvent(new Event("resize")); // the canvas was not laid out
    live();
  });
}

// Data sets

async function openSet(number) {
  data.set = number;
  const set = data.shelf.data[number];
  const [height, width] = set.size;
  $("set-words").textContent = `${set.objects} objects, pictures of ${width} x ${height} px${set.learned ? "; the model learned from these" : ""}`;
  await find();
  const first = $("objects").querySelector("button");
  if (first) await openObject(Number(first.dataset.number));
}

async function find(after = 0) {
  const words = encodeURIComponent($("words").value.slice(0, 100));
  const found = await ask("GET", `v1/data/${data.set}/objects?after=${after}&words=${words}`);
  const made = found.objects.map((object) => {
    const picture = element("img", { src: `v1/data/${data.set}/objects/${object.number}.webp`, alt: "", width: 96, height: 96, loading: "lazy" });
    const button = element("button", { type: "button", className: "thing" }, picture, element("span", { textContent: object.caption || object.name }));
    button.dataset.number = object.number;
    button.addEventListener("click", () => openObject(object.number).catch((error) => tell("trouble-data", error)));
    return button;
  });
  if (after) $("objects").append(...made);
  else $("objects").replaceChildren(...made);
  $("none-found").hidden = Boolean(made.length || after);
  data.next = found.next;
  $("more-objects").hidden = found.next === null;
  mark();
}

function mark() {
  for (const button of $("objects").children) button.setAttribute("aria-pressed", String(Number(button.dataset.number) === data.object));
}

export async function openObject(number, set = data.set) {
  tell("trouble-data", null);
  data.set = set;
  const scene = await ask("GET", `v1/data/${set}/objects/${number}`);
  Object.assign(data, { object: number, scene, view: -1, strip: await loaded(scene.strip) });
  mark();
  $("object-title").textContent = scene.name;
  const facts = [`${scene.cameras.length} views`, scene.category, ...scene.tags, scene.creator && `by ${scene.creator}`, scene.licence];
  $("object-facts").textContent = facts.filter(Boolean).join(" · ");
  $("captions").replaceChildren(...scene.captions.map(([text, source]) => element("li", {}, text, source ? element("small", { textContent: ` ${source}` }) : "")));
  $("object").hidden = false;
  drawObject();
}

async function loaded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

function drawObject() {
  const { scene, strip } = data;
  data.plot ??= window.cameraPlot($("cameras"));
  data.plot.show(scene, data.view);
  const masks = $("masks").checked, count = scene.cameras.length;
  const width = strip.width / count, height = strip.height;
  $("views").replaceChildren(...scene.cameras.map((_, i) => {
    const canvas = element("canvas", { width, height });
    const pen = canvas.getContext("2d");
    pen.drawImage(strip, i * width, 0, width, height, 0, 0, width, height);
    if (masks) {
      pen.globalCompositeOperation = "source-in"; // white where something is seen, black behind it
      pen.fillStyle = "#fff";
      pen.fillRect(0, 0, width, height);
      pen.globalCompositeOperation = "destination-over";
      pen.fillStyle = "#000";
      pen.fillRect(0, 0, width, height);
    }
    const kind = scene.heldout.includes(i) ? "held out" : "trains";
    const button = element("button", { type: "button", className: "thing", title: kind }, canvas, `${i}`);
    button.setAttribute("aria-label", `view ${i}, ${kind}`);
    button.setAttribute("aria-pressed", String(i === data.view));
    button.classList.toggle("heldout", scene.heldout.includes(i));
    button.addEventListener("click", () => {
      data.view = data.view === i ? -1 : i;
      data.plot.show(scene, data.view);
      [...$("views").children].forEach((each, n) => each.setAttribute("aria-pressed", String(n === data.view)));
    });
    return button;
  }));
}

$("sets").addEventListener("change", () => openSet(Number($("sets").value)).catch((error) => tell("trouble-data", error)));
$("masks").addEventListener("change", drawObject);
$("more-objects").addEventListener("click", () => find(data.next).catch((error) => tell("trouble-data", error)));
$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  find().catch((error) => tell("trouble-data", error));
});

// Trainings

async function look() {
  for (const i of data.shelf.runs.keys()) {
    try {
      await showRun(i, await ask("GET", `v1/runs/${i}`));
      tell("trouble-runs", null);
    } catch (error) {
      tell("trouble-runs", error);
    }
  }
}

async function live() {
  if (!$("panel-browse").hidden && !document.hidden) await look();
  setTimeout(live, LIVE_SECONDS * 1000);
}

export function spoken(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function showRun(number, run) {
  const card = $(`run-${number}`), seen = JSON.stringify(run);
  if (card.dataset.seen === seen) return;
  card.dataset.seen = seen;
  if (!card.querySelector("progress")) {
    const slider = element("input", { type: "range", min: 0, step: 1 });
    const picture = element("img", { alt: "what it drew" });
    slider.addEventListener("input", () => {
      shown.set(number, Number(slider.value));
      card.dataset.seen = "";
      showPreview(card, number);
    });
    card.replaceChildren(
      element("h3", { textContent: `${run.title} (${run.name})` }),
      element("p", { className: "state" }),
      element("progress", { max: 1, ariaLabel: `of ${run.title}` }),
      element("dl"),
      element("div", { className: "chart" }),
      element("figure", { className: "preview" }, picture, element("figcaption", {}, element("label", {}, element("span"), slider))),
    );
  }
  const left = run.seconds_left === null ? "" : `, ${spoken(run.seconds_left)} left`;
  card.querySelector(".state").textContent = `${run.state}: ${Math.floor(run.share * 100)} %, ${run.seen.toLocaleString("en")} objects seen in ${spoken(run.seconds)}${left}`;
  card.querySelector("progress").value = run.share;
  const numbers = Object.entries(run.numbers).flatMap(([name, value]) => [element("dt", { textContent: name.replaceAll("_", " ") }), element("dd", { textContent: Number(value.toPrecision(3)) })]);
  card.querySelector("dl").replaceChildren(...numbers);
  const drawing = new DOMParser().parseFromString(run.chart, "text/html"); // the server's own, of numbers; scripts do not run
  card.querySelector(".chart").replaceChildren(...drawing.body.childNodes);
  card.previews = run.previews;
  return showPreview(card, number);
}

function showPreview(card, number) {
  const last = card.previews.length - 1, chosen = Math.min(shown.get(number) ?? last, last);
  const figure = card.querySelector("figure");
  figure.hidden = last < 0;
  if (last < 0) return;
  if (chosen === last) shown.delete(number); // follows the training again
  figure.querySelector("input").max = last;
  figure.querySelector("input").value = chosen;
  figure.querySelector("span").textContent = `What it drew after ${card.previews[chosen].toLocaleString("en")} objects (${chosen + 1} of ${last + 1})`;
  const address = `v1/runs/${number}/previews/${card.previews[chosen]}.png`;
  const picture = figure.querySelector("img");
  if (picture.getAttribute("src") === address) return null;
  picture.setAttribute("src", address);
  return picture.decode().catch(() => null); // gone, or overtaken by the next one
}
