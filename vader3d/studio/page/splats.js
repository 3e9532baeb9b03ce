// Gaussian splats on a canvas: the classic PLY of round ones, drawn from behind to the front. Dragging and arrow keys turn,
// the wheel, + and - zoom.

const VERTEX = `#version 300 es
uniform mat4 view;
uniform vec2 shape; // of the canvas, and how large one unit is at distance 1, in px
in vec4 place; // and standard deviation
in vec4 colour; // and peak
out vec4 shade;
void main() {
  vec4 seen = view * vec4(place.xyz, 1.0);
  gl_Position = vec4(seen.x * shape.y / shape.x, seen.y, 0.0, -seen.z / 2.4);
  gl_PointSize = max(2.0, 6.0 * place.w * 1.2 * shape.y / -seen.z);
  shade = colour;
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 shade;
out vec4 drawn;
void main() {
  vec2 off = (gl_PointCoord - 0.5) * 6.0; // in standard deviations
  float alpha = shade.a * exp(-0.5 * dot(off, off));
  if (alpha < 1.0 / 255.0) discard;
  drawn = vec4(shade.rgb * alpha, alpha);
}`;
const HARMONIC = 0.28209479177387814;

// Positions with standard deviations, and sRGB colours with peaks: Float32Array [P * 4] each.
export function parsed(data) {
  const head = new TextDecoder("latin1").decode(data.slice(0, 8192));
  const end = head.indexOf("end_header\n") + 11;
  const count = Number(/element vertex (\d+)/.exec(head)[1]);
  const names = [...head.slice(0, end).matchAll(/property float (\w+)/g)].map((found) => found[1]);
  const rows = new Float32Array(data.slice(end));
  const at = Object.fromEntries(names.map((name, i) => [name, i]));
  const places = new Float32Array(count * 4), colours = new Float32Array(count * 4);
  for (let i = 0; i < count; i++) {
    const value = (name) => rows[i * names.length + at[name]];
    places.set([value("x"), -value("y"), -value("z"), Math.exp(value("scale_0"))], i * 4); // the file is y-down
    colours.set([0, 1, 2].map((c) => 0.5 + HARMONIC * value(`f_dc_${c}`)), i * 4);
    colours[i * 4 + 3] = 1 / (1 + Math.exp(-value("opacity")));
  }
  return { count, places, colours };
}

function program(gl) {
  const made = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return made;
}

// Show the splats of a PLY's bytes on a canvas that is in the page.
export function showSplats(canvas, data) {
  const gl = canvas.getContext("webgl2", { alpha: true, premultipliedAlpha: true, preserveDrawingBuffer: true });
  if (!gl) throw new Error("This browser draws no WebGL 2, which splats need.");
  const { count, places, colours } = parsed(data);
  const used = program(gl), order = new Uint32Array(count), depths = new Float32Array(count);
  gl.useProgram(used);
  [["place", places], ["colour", colours]].forEach(([name, values]) => {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    const slot = gl.getAttribLocation(used, name);
    gl.enableVertexAttribArray(slot);
    gl.vertexAttribPointer(slot, 4, gl.FLOAT, false, 0, 0);
  });
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  let turn = 0.5, tilt = 0.35, away = 3.3, waiting = false;

  function sorted(into) { // by counting, the farthest first
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < count; i++) {
      const depth = into[0] * places[4 * i] + into[1] * places[4 * i + 1] + into[2] * places[4 * i + 2];
      depths[i] = depth;
      low = Math.min(low, depth);
      high = Math.max(high, depth);
    }
    const bins = new Uint32Array(65537), scale = 65535 / Math.max(high - low, 1e-6);
    for (let i = 0; i < count; i++) bins[((depths[i] - low) * scale | 0) + 1]++;
    for (let i = 1; i < bins.length; i++) bins[i] += bins[i - 1];
    for (let i = 0; i < count; i++) order[bins[(depths[i] - low) * scale | 0]++] = i;
  }

  function draw() {
    waiting = false;
    if (!canvas.isConnected) return;
    canvas.width = Math.max(1, canvas.clientWidth * devicePixelRatio);
    canvas.height = Math.max(1, canvas.clientHeight * devicePixelRatio);
    const c = Math.cos(turn), s = Math.sin(turn), C = Math.cos(tilt), S = Math.sin(tilt);
    const right = [c, 0, -s], up = [-s * S, C, -c * S], back = [s * C, S, c * C];
    sorted(back);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const view = [0, 1, 2].flatMap((i) => [right[i], up[i], back[i], 0]);
    gl.uniformMatrix4fv(gl.getUniformLocation(used, "view"), false, [...view, 0, 0, -away, 1]);
    gl.uniform2f(gl.getUniformLocation(used, "shape"), canvas.width, canvas.height);
    gl.drawElements(gl.POINTS, count, gl.UNSIGNED_INT, 0);
  }

  function move(right, down, farther) {
    turn -= right;
    tilt = Math.max(-1.5, Math.min(1.5, tilt + down));
    away = Math.max(1.5, Math.min(20, away * Math.exp(farther)));
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }

  const KEYS = {
    ArrowLeft: [-0.15, 0, 0], ArrowRight: [0.15, 0, 0], ArrowUp: [0, -0.15, 0], ArrowDown: [0, 0.15, 0],
    "+": [0, 0, -0.15], "-": [0, 0, 0.15],
  };
  canvas.onpointermove = (event) => event.buttons && move(event.movementX * 0.008, event.movementY * 0.008, 0);
  canvas.onwheel = (event) => {
    move(0, 0, event.deltaY * 0.001);
    event.preventDefault();
  };
  canvas.onkeydown = (event) => {
    if (!KEYS[event.key]) return;
    move(...KEYS[event.key]);
    event.preventDefault();
  };
  new ResizeObserver(draw).observe(canvas);
  draw();
}
