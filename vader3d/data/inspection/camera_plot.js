// Draws the cube, its axes, the hull's points and the cameras on a canvas: dragging and arrow keys turn, the wheel, + and
// - zoom. Gives show(scene, chosen): a scene of `scene_of`, and the number of the camera to mark, or -1.
function cameraPlot(canvas) {
  const pen = canvas.getContext("2d");
  let scene = null, chosen = -1, turn = -0.9, tilt = 0.4, zoom = 1;

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
    if (!scene) return;
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = canvas.clientHeight * devicePixelRatio;
    drawCube();
    drawHull();
    line([[0, 0, 0], [1.3, 0, 0]], "#e66", 2);
    line([[0, 0, 0], [0, 1.3, 0]], "#6c6", 2);
    line([[0, 0, 0], [0, 0, 1.3]], "#68f", 2);
    scene.cameras.forEach(drawCamera);
  }

  function move(right, down, larger) {
    turn += right;
    tilt = Math.max(-1.5, Math.min(1.5, tilt + down));
    zoom *= Math.exp(larger);
    draw();
  }

  const KEYS = {
    ArrowLeft: [-0.15, 0, 0], ArrowRight: [0.15, 0, 0], ArrowUp: [0, -0.15, 0], ArrowDown: [0, 0.15, 0],
    "+": [0, 0, 0.15], "-": [0, 0, -0.15],
  };
  canvas.onpointermove = event => {
    if (event.buttons) move(event.movementX * 0.008, event.movementY * 0.008, 0);
  };
  canvas.onwheel = event => {
    move(0, 0, -event.deltaY * 0.001);
    event.preventDefault();
  };
  canvas.onkeydown = event => {
    if (!KEYS[event.key]) return;
    move(...KEYS[event.key]);
    event.preventDefault();
  };
  addEventListener("resize", draw);
  return {
    show(next, camera = -1) {
      scene = next;
      chosen = camera;
      draw();
    },
  };
}
