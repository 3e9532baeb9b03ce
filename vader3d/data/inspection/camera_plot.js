// Draws the cube, its axes, the hull's points and the cameras: dragging turns, the wheel zooms.
const scenes = JSON.parse(document.getElementById("scenes").textContent);
const canvas = document.getElementById("view"), pen = canvas.getContext("2d");
const choice = document.getElementById("object"), pictures = document.getElementById("pictures");
let scene = scenes[0], chosen = -1, turn = -0.9, tilt = 0.4, zoom = 1;
scenes.forEach((each, number) => choice.add(new Option(each.name, number)));

// A point of the world as [x, y] on the canvas, its distance, and how many pixels one unit is there.
function project(point) {
  const c = Math.cos(turn), s = Math.sin(turn);
  const x = c * point[0] + s * point[1], y = -s * point[0] + c * point[1];
  const into = Math.cos(tilt) * y - Math.sin(tilt) * point[2];
  const up = Math.cos(tilt) * point[2] + Math.sin(tilt) * y;
  const reach = Math.max(...scene.cameras.map(corners => Math.hypot(...corners[0])), 2), far = 3.2 * reach + into;
  const unit = zoom * 1.35 * Math.min(canvas.width, canvas.height) / far;
  return [canvas.width / 2 + x * unit, canvas.height / 2 - up * unit, far, unit];
}

function line(points, colour, width) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.beginPath();
  points.map(project).forEach(([x, y], number) => number ? pen.lineTo(x, y) : pen.moveTo(x, y));
  pen.stroke();
}

function drawCube() {
  for (const a of [-1, 1]) for (const b of [-1, 1]) {
    line([[a, b, -1], [a, b, 1]], "#777", 1);
    line([[a, -1, b], [a, 1, b]], "#777", 1);
    line([[-1, a, b], [1, a, b]], "#777", 1);
  }
}

function drawHull() {
  const dots = scene.points.map((point, number) => [project(point), scene.colours[number]]);
  dots.sort((a, b) => b[0][2] - a[0][2]).forEach(([[x, y, , unit], colour]) => {
    const side = unit * 0.07;
    pen.fillStyle = colour;
    pen.fillRect(x - side / 2, y - side / 2, side, side);
  });
}

function drawCamera([apex, ...corners], number) {
  const colour = number == chosen ? "#fff" : scene.heldout.includes(number) ? "#e8a33d" : "#5aa9e6";
  corners.forEach(corner => line([apex, corner], colour, 1));
  line([...corners, corners[0]], colour, 1);
  line([corners[0], corners[1]], colour, 3); // the picture's upper border
  if (number == chosen) line([apex, [0, 0, 0]], "#fff8", 1);
}

function draw() {
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = canvas.clientHeight * devicePixelRatio;
  drawCube();
  drawHull();
  line([[0, 0, 0], [1.3, 0, 0]], "#e66", 2);
  line([[0, 0, 0], [0, 1.3, 0]], "#6c6", 2);
  line([[0, 0, 0], [0, 0, 1.3]], "#68f", 2);
  scene.cameras.forEach(drawCamera);
}

function show() {
  pictures.innerHTML = "";
  const [width, height] = scene.size, factor = Math.min(1, 72 / width);
  const w = width * factor, h = height * factor;
  scene.cameras.forEach((_, number) => {
    const box = document.createElement("div");
    box.title = `view ${number}`;
    box.style.cssText = `width: ${w}px; height: ${h}px; background-image: url(${scene.strip}); `
      + `background-size: ${w * scene.cameras.length}px ${h}px; background-position: ${-number * w}px 0`;
    box.className = (scene.heldout.includes(number) ? "heldout " : "") + (number == chosen ? "chosen" : "");
    box.onclick = () => {
      chosen = number == chosen ? -1 : number;
      show();
    };
    pictures.append(box);
  });
  draw();
}

choice.onchange = () => {
  scene = scenes[choice.value];
  chosen = -1;
  show();
};
canvas.onpointermove = event => {
  if (!event.buttons) return;
  turn += event.movementX * 0.008;
  tilt = Math.max(-1.5, Math.min(1.5, tilt + event.movementY * 0.008));
  draw();
};
canvas.onwheel = event => {
  zoom *= Math.exp(-event.deltaY * 0.001);
  draw();
  event.preventDefault();
};
onresize = draw;
show();
