"""How like generated objects their files are, by judges of other hands.

    python benchmarks/assets.py surface --count 4                # 36 objects of the model that ships: minutes
    python benchmarks/assets.py judges --three FOLDER            # 9 of them; FOLDER: where `npm install three` was run

Judges read a file as it was written and draw eight views, which are compared with the volume's own pictures (four
points a voxel; foreground PSNR in dB, IoU of silhouettes). Colours are drawn without light. trimesh and usd-core read
only; a depth buffer draws what they found. three.js draws itself; splats are drawn by the plain
rasteriser of the tests.
"""

import argparse
import base64
import mimetypes
import shutil
import statistics
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image
from torch import Tensor

from vader3d import Generator
from vader3d.assets import Asset
from vader3d.export.mesh import EmptyVolumeError
from vader3d.export.mesh_pictures import mesh_pictures
from vader3d.export.placement import ExportConfig
from vader3d.export.surface import SurfaceConfig, soundness
from vader3d.geometry.cameras import orbit_cameras
from vader3d.measures.pictures import foreground_psnr, iou

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "export"))
from rasteriser import rasterise, read_splats

PROMPTS = (
    "a wooden chair",
    "a blue chair with arms",
    "a green stool",
    "a yellow round wooden table",
    "a white cabinet",
    "a bed",
    "a red sofa",
    "a white lamp",
    "",
)
SIZE = 256  # px of the pictures that are compared: the rasteriser's least width of a splat is then a third of a voxel
EYES = torch.arange(8) * 45.0 + 25, torch.tensor([0.0, 20, 40, -10, 20, 30, -30, 60])  # azimuths, elevations
DISTANCE, FOV = 4.5, 30.0  # of all cameras here
CAMERAS = orbit_cameras(*EYES, distance=DISTANCE, fov_degrees=FOV, size=SIZE)
Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # from a file's y up

Pictures = Tensor  # RGBA, colours without alpha, float [V, 4, H, W]


def of_mesh(vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray, texture: Image.Image) -> Pictures:
    """What a reader found, axes with y up, by our depth buffer."""
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=texture)
    visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    mesh = trimesh.Trimesh(np.asarray(vertices) @ Z_UP.T, faces, visual=visual, process=False)
    return torch.from_numpy(mesh_pictures(mesh, CAMERAS, samples_per_side=1)).movedim(-1, 1) / 255


def by_trimesh(path: Path) -> Pictures:
    (found,) = trimesh.load_scene(path, process=False).geometry.values()
    return of_mesh(found.vertices, found.faces, found.visual.uv, found.visual.material.baseColorTexture)


def by_usd(path: Path) -> Pictures:
    from pxr import Usd, UsdGeom

    stage = Usd.Stage.Open(str(path))
    (mesh,) = (UsdGeom.Mesh(prim) for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh))
    to_metres = UsdGeom.GetStageMetersPerUnit(stage)
    faces = np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    uv = np.array(UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st").Get())
    with zipfile.ZipFile(path) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".png"))
        texture = Image.open(BytesIO(packed.read(name)))
    return of_mesh(np.array(mesh.GetPointsAttr().Get()) * to_metres, faces, uv, texture)


def by_rasteriser(path: Path) -> Pictures:
    splats = read_splats(path.read_bytes())
    views = zip(CAMERAS.world_from_camera, CAMERAS.intrinsics, strict=True)
    drawn = torch.tensor(np.stack([rasterise(splats, *each, SIZE, SIZE) for each in views])).movedim(-1, 1).float()
    return torch.cat([drawn[:, :3] / drawn[:, 3:].clamp_min(1e-6), drawn[:, 3:]], 1).clamp(0, 1)


THREE_PAGE = """<script type="importmap">{"imports": {"three": "/node_modules/three/build/three.module.js",
"three/addons/": "/node_modules/three/examples/jsm/"}}</script><script type="module">
import * as T from 'three'; import { GLTFLoader } from 'three/addons/loaders/GLTFLoader.js';
const renderer = new T.WebGLRenderer({alpha: true, antialias: false, preserveDrawingBuffer: true});
const scene = new T.Scene(), camera = new T.PerspectiveCamera(FOV, 1, .1, 100);
renderer.setSize(SIZE, SIZE); renderer.setClearColor(0, 0);
window.show = async url => { const loaded = await new GLTFLoader().loadAsync(url); scene.clear();
  loaded.scene.traverse(o => { if (o.isMesh) o.material = new T.MeshBasicMaterial({map: o.material.map}) });
  scene.add(loaded.scene) };
window.draw = (x, y, z) => { camera.position.set(x, y, z); camera.lookAt(0, 0, 0); renderer.render(scene, camera);
  return renderer.domElement.toDataURL('image/png') }; window.ready = true;
</script>""".replace("SIZE", str(SIZE)).replace("FOV", str(FOV))


@contextmanager
def three_judge(installed: Path) -> Iterator[Callable[[Path], Pictures]]:
    """Debian's Chromium; nothing is asked of any host: what the page wants comes from here."""
    from playwright.sync_api import Route, sync_playwright

    place: dict[str, Path] = {}

    def answer(route: Route) -> None:
        name = route.request.url.split("/", 3)[3]
        if not name:
            return route.fulfill(body=THREE_PAGE, content_type="text/html")
        path = place.get(name, installed / name)
        return route.fulfill(body=path.read_bytes(), content_type=mimetypes.guess_type(name)[0] or "model/gltf-binary")

    arguments = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=arguments, timeout=300_000)
        page = browser.new_page()
        page.set_default_timeout(300_000)
        page.route("**/*", answer)
        page.goto("http://localhost/")
        page.wait_for_function("window.ready")

        def judge(path: Path) -> Pictures:
            place["object.glb"] = path
            page.evaluate("show('/object.glb')")
            eyes = (CAMERAS.centres.numpy() @ Z_UP).tolist()
            shots = [page.evaluate("([x, y, z]) => draw(x, y, z)", eye).partition(",")[2] for eye in eyes]
            pictures = [Image.open(BytesIO(base64.b64decode(shot))).convert("RGBA") for shot in shots]
            return torch.from_numpy(np.stack([np.asarray(each) for each in pictures])).movedim(-1, 1) / 255

        yield judge
        browser.close()


def truth(asset: Asset) -> tuple[Tensor, Tensor]:
    """The volume's own pictures, a ray a pixel: colour on black, opacity."""
    return asset.finely().render(CAMERAS)


def compared(truth: tuple[Tensor, Tensor], seen: Pictures) -> tuple[float, float]:
    """Foreground PSNR in dB and IoU of silhouettes, means of the views, against the volume's own pictures."""
    colour, opacity = truth
    psnr = foreground_psnr(seen[:, :3] * seen[:, 3:], colour, opacity)
    return float(psnr.mean()), float(iou(seen[:, 3], opacity[:, 0]).mean())


def objects(count: int) -> list[Asset]:
    """`count` of each of PROMPTS by the model that ships, seed 0."""
    return Generator.from_pretrained()(PROMPTS, count=count, seed=0)


def surface(assets: list[Asset], **_: object) -> None:
    """Of each mesh at defaults: likeness, soundness; of all: how they spread."""
    config, likenesses = SurfaceConfig(), []
    for asset in assets:
        try:
            mesh = asset.mesh(config)
        except EmptyVolumeError as error:
            print(f"{asset.name}: {error}", flush=True)
            continue
        likenesses.append(asset.likeness(mesh))
        print(f"{asset.name}: {likenesses[-1]}; {soundness(mesh)}", flush=True)
    for what, values in (("IoU", [each.iou for each in likenesses]), ("dB", [each.psnr for each in likenesses])):
        low, *_, high = statistics.quantiles(values, n=10) if len(values) > 1 else values * 2
        middle = statistics.median(values)
        print(f"{what}: mean {statistics.mean(values):.3f}, median {middle:.3f}, tenths {low:.3f} to {high:.3f}")
    print(f"IoU of .95 or more: {sum(each.iou >= 0.95 for each in likenesses)} of {len(likenesses)}")


def judges(assets: list[Asset], *, three: Path | None = None) -> None:
    """A table: an object a line, a judge a column."""
    named: dict[str, tuple[str, Callable[[Path], Pictures]]] = {
        "trimesh, GLB": ("glb", by_trimesh),
        "usd-core, USDZ": ("usdz", by_usd),
        "rasteriser, splats": ("splats.ply", by_rasteriser),
    }
    with ExitStack() as open_things:
        if three:
            named["three.js, GLB"] = "glb", open_things.enter_context(three_judge(three))
        folder = Path(open_things.enter_context(tempfile.TemporaryDirectory()))
        print("| object |" + "".join(f" {name} |" for name in named))
        print("|---|" + "---|" * len(named), flush=True)
        for asset in assets:
            print(f"| {asset.name} |", end="")
            mesh, shown = asset.mesh(SurfaceConfig()), truth(asset)
            for end, judge in named.values():
                config = ExportConfig(up="z") if end == "splats.ply" else ExportConfig()
                path = asset.save(folder / f"object.{end}", config, mesh=mesh)
                print(" {:.1f} dB, {:.3f} |".format(*compared(shown, judge(path))), end="", flush=True)
            print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("surface", "judges"))
    parser.add_argument("--count", type=int, default=1, help="objects of each of nine prompts")
    parser.add_argument("--three", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    run = surface if chosen.what == "surface" else partial(judges, three=chosen.three)
    run(objects(chosen.count))


if __name__ == "__main__":
    main()
