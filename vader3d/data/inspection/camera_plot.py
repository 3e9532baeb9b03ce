"""One HTML page that turns cameras, cube and hull in 3D."""

import base64
import html
import io
import json

import numpy as np
import torch

from vader3d.data.archive.format import ObjectViews
from vader3d.data.inspection.hull import hull_surface, visual_hull


def camera_plot(title: str, objects: list[tuple[str, ObjectViews, list[int]]]) -> str:
    """The page for (name, views, held-out view numbers) triples.

    It shows the cube [-1, 1]^3 with its axes, each camera's pyramid with its picture on request, and the visual hull,
    coloured by the pictures. Where the cameras are right the hull looks like the object.
    """
    scenes = [scene_of(name, views, heldout) for name, views, heldout in objects]
    data = json.dumps(scenes, separators=(",", ":")).replace("<", "\\u003c")
    return PAGE.replace("@TITLE@", html.escape(title)).replace("@DATA@", data)


def scene_of(name: str, views: ObjectViews, heldout: list[int]) -> dict:
    points, colours = hull_surface(views, visual_hull(views))
    return {
        "name": name,
        "cameras": [pyramid(views, view) for view in range(len(views.pictures))],
        "heldout": heldout,
        "points": points.round(3).tolist(),
        "colours": ["#" + bytes(colour).hex() for colour in colours],
        "strip": picture_strip(views),
        "size": [views.cameras.width, views.cameras.height],
    }


def pyramid(views: ObjectViews, view: int) -> list[list[float]]:
    """Apex and four corners (top left, top right, bottom right, bottom left) of a small camera, in the world."""
    cameras = views.cameras[view]
    fx, fy, cx, cy = cameras.intrinsics.tolist()
    length = 0.12 * float(cameras.centres.norm())
    corners = [[0, 0], [cameras.width, 0], [cameras.width, cameras.height], [0, cameras.height]]
    local = torch.tensor([[0.0, 0, 0], *([(x - cx) / fx, (y - cy) / fy, 1.0] for x, y in corners)]) * length
    world = local @ cameras.world_from_camera[:3, :3].T + cameras.centres
    return np.round(world.tolist(), 3).tolist()


def picture_strip(views: ObjectViews) -> str:
    """All pictures side by side as one data URL."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(np.concatenate(list(views.pictures), 1), "RGBA").save(data, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()


PAGE = """<!doctype html><meta charset="utf-8"><title>@TITLE@: cameras</title>
<style>
body{margin:0;background:#1b1c20;color:#ddd;font:14px system-ui;display:flex;height:100vh}
canvas{flex:1;min-width:0;cursor:grab}aside{width:260px;padding:12px;overflow:auto}
select{width:100%}#pictures div{display:inline-block;margin:1px;border:2px solid transparent;background-color:#555}
#pictures .heldout{border-color:#e8a33d}#pictures .chosen{border-color:#fff}
</style>
<canvas id="view"></canvas>
<aside><b>@TITLE@</b><p><select id="object"></select></p>
<p>Drag turns, the wheel zooms, a click on a picture marks its camera. Blue cameras train, <span style="color:#e8a33d">
orange</span> ones are held out. The dots are the shape that all silhouettes allow: where it does not look like the
object, the cameras are wrong. Axes: <span style="color:#e66">x</span> <span style="color:#6c6">y</span>
<span style="color:#68f">z (up)</span>.</p><div id="pictures"></div></aside>
<script>
const scenes=@DATA@,canvas=document.getElementById("view"),pen=canvas.getContext("2d");
const choice=document.getElementById("object"),pictures=document.getElementById("pictures");
let scene=scenes[0],chosen=-1,turn=-0.9,tilt=0.4,zoom=1;
scenes.forEach((s,i)=>choice.add(new Option(s.name,i)));
function project(p){
  const c=Math.cos(turn),s=Math.sin(turn),x=c*p[0]+s*p[1],y=-s*p[0]+c*p[1];
  const into=Math.cos(tilt)*y-Math.sin(tilt)*p[2],up=Math.cos(tilt)*p[2]+Math.sin(tilt)*y;
  const reach=Math.max(...scene.cameras.map(k=>Math.hypot(...k[0])),2),far=3.2*reach+into;
  const unit=zoom*1.35*Math.min(canvas.width,canvas.height)/far;
  return [canvas.width/2+x*unit,canvas.height/2-up*unit,far,unit];
}
function line(points,colour,width){
  pen.strokeStyle=colour;pen.lineWidth=width;pen.beginPath();
  points.map(project).forEach((q,i)=>i?pen.lineTo(q[0],q[1]):pen.moveTo(q[0],q[1]));pen.stroke();
}
function draw(){
  canvas.width=canvas.clientWidth*devicePixelRatio;canvas.height=canvas.clientHeight*devicePixelRatio;
  for(const a of[-1,1])for(const b of[-1,1]){
    line([[a,b,-1],[a,b,1]],"#777",1);line([[a,-1,b],[a,1,b]],"#777",1);line([[-1,a,b],[1,a,b]],"#777",1);}
  scene.points.map((p,i)=>[project(p),scene.colours[i]]).sort((a,b)=>b[0][2]-a[0][2]).forEach(([q,colour])=>{
    const side=q[3]*0.07;pen.fillStyle=colour;pen.fillRect(q[0]-side/2,q[1]-side/2,side,side);});
  line([[0,0,0],[1.3,0,0]],"#e66",2);line([[0,0,0],[0,1.3,0]],"#6c6",2);line([[0,0,0],[0,0,1.3]],"#68f",2);
  scene.cameras.forEach((k,i)=>{
    const colour=i==chosen?"#fff":scene.heldout.includes(i)?"#e8a33d":"#5aa9e6";
    for(let j=1;j<5;j++)line([k[0],k[j]],colour,1);
    line([k[1],k[2],k[3],k[4],k[1]],colour,1);line([k[1],k[2]],colour,3);
    if(i==chosen)line([k[0],[0,0,0]],"#fff8",1);});
}
function show(){
  pictures.innerHTML="";const[w,h]=scene.size,f=Math.min(1,72/w);
  scene.cameras.forEach((_,i)=>{
    const box=document.createElement("div");box.title="view "+i;
    box.style.cssText=`width:${w*f}px;height:${h*f}px;background-image:url(${scene.strip});`+
      `background-size:${w*f*scene.cameras.length}px ${h*f}px;background-position:${-i*w*f}px 0`;
    box.className=(scene.heldout.includes(i)?"heldout ":"")+(i==chosen?"chosen":"");
    box.onclick=()=>{chosen=i==chosen?-1:i;show()};pictures.append(box);});
  draw();
}
choice.onchange=()=>{scene=scenes[choice.value];chosen=-1;show()};
canvas.onpointermove=e=>{if(e.buttons){turn+=e.movementX*0.008;
  tilt=Math.max(-1.5,Math.min(1.5,tilt+e.movementY*0.008));draw()}};
canvas.onwheel=e=>{zoom*=Math.exp(-e.deltaY*0.001);draw();e.preventDefault()};
onresize=draw;show();
</script>
"""
