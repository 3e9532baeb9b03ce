"""Commands that are killed, or whose disk fills up or breaks, at every event of every file.

As a program, with faults.cpp preloaded: `faults.py INPUTS COMMAND STRIDE ...` runs each command for every STRIDE-th
event of an undisturbed one, disturbed there in each of the `WAYS` and then once more, and prints a line of JSON: what
is `wrong` where that does not lead to what the undisturbed one gives, how many `events` there are, how many `tried`.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import av
import judged_models
import torch
import torch.utils.tensorboard
from clips import passing, write_clip
from figures import PARTS, nodding
from foreign import trimesh_views, write_srn
from photographed import wall_session, write_posed_photos
from PIL import WebPImagePlugin  # noqa: F401
from tiny import THINGS, ring, write_things

from vader3d import assets
from vader3d.autodecoder.parts import PartConfig
from vader3d.cli.main import main
from vader3d.data.making import finishing
from vader3d.data.motion import write_motion
from vader3d.demo import run as demo_run
from vader3d.evaluation import chunks, runner
from vader3d.export import mesh_pictures
from vader3d.export.mesh import volume_to_mesh
from vader3d.generate import previews
from vader3d.native.library import library
from vader3d.presets import preset
from vader3d.snapshots import load_snapshot
from vader3d.study import run as study_run
from vader3d.study.plans import STUDIES

KILL, COUNT = -1, 0
WAYS = {"killed": KILL, "a full disk": errno.ENOSPC, "a broken disk": errno.EIO}
OFTEN = "--set loop.checkpoint_seconds=0 --set loop.log_seconds=0 --set loop.preview_seconds=0"
COMMANDS = {
    "prepare srn": "prepare srn {inputs}/cars --output {room}/out.zip --size 16 --processes 1",
    "prepare srn in shards": "prepare srn {inputs}/trucks --output {room}/out --size 16 --processes 1 "
    "--objects-per-shard 1",
    "prepare photos": "prepare photos {inputs}/photos --output {room}/out.zip --size 16 --processes 1",
    "prepare video": "prepare video {inputs}/clips --output {room}/out.zip --size 16 --processes 1 --views 4",
    "prepare shards": "prepare shards {inputs}/things.zip --output {room}/new/out --objects-per-shard 1 --processes 1",
    "prepare join": "prepare join {inputs}/things.zip {inputs}/one.zip --output {room}/out.zip --processes 1",
    "prepare captions": "prepare captions {inputs}/things.zip --output {room}/out.zip",
    "inspect": "inspect {inputs}/things.zip --output {room}/out",
    "train autodecoder": "train autodecoder --data {inputs}/things.zip --output {room}/out --preset tiny "
    f"--set loop.objects_seen=6 --set loop.batch=2 {OFTEN}",
    "train diffusion": "train diffusion --autodecoder {inputs}/ae --output {room}/out --preset tiny "
    f"--set loop.objects_seen=6 --set loop.batch=2 {OFTEN}",
    "evaluate": "evaluate --model {inputs}/model --data {inputs}/things.zip --output {room}/out "
    "--protocol {inputs}/tiny.json",
    "study": "study normalisation --data {inputs}/things.zip --output {room}/out --preset tiny --seeds 1 "
    "--set autodecoder.loop.objects_seen=4 --set diffusion.loop.objects_seen=32 "
    "--set protocol.samples=2 --set protocol.views=1 --set protocol.steps=[1]",
}
COMMANDS |= {
    "generate": "generate --model {inputs}/model --output {room}/out --count 2 --steps 1 --formats glb obj ply webp "
    "--texture-size 64 --faces 500",
    "animate": "animate --model {inputs}/figure --seed 1 --driving {inputs}/nod.json --size 16 --output {room}/out.mp4",
    "animate by a clip": "animate --model {inputs}/figure --seed 1 --driving {inputs}/disc.mp4 --output {room}/out.mp4 "
    "--size 16 --clip-size 16 --steps 2 --fine-steps 1 --colour vertex",
    "reconstruct": "reconstruct --model {inputs}/model --data {inputs}/one.zip --output {room}/out --steps 2 "
    "--fine-steps 1 --colour vertex",
    "save": "save {inputs}/model --output {room}/out",
    "demo": "demo --data {inputs}/things.zip --output {room}/out",
}
CLOCKS = ("seconds", "time", "share_of_peak")  # what no two runs have alike
NEVER_ALIKE = (".html", "seconds.json")  # seconds, in words and as numbers
NOT_COMPARED = ("state.previous.pt",)  # one time earlier than the newest, if there was one


def write_inputs(folder: Path) -> None:
    """All that the commands read."""
    two = dict(list(THINGS.items())[:2])
    archive = write_things(folder / "things.zip", two, views=6, size=12)
    write_srn(folder / "cars" / "car", trimesh_views(size=16)[:3])
    for number in range(3):
        write_srn(folder / "trucks" / f"truck {number}", trimesh_views(size=16)[number : number + 2])
    for number in range(2):  # with cameras, before a wall: masks are made, nothing is matched
        session = wall_session(THINGS["green table"], ring(8, 32), seed=number)
        write_posed_photos(folder / "photos" / f"table {number}", session)
    for number in range(2):
        write_clip(folder / "clips" / f"disc {number}.mp4", passing(12, seed=number)[0])
    write_things(folder / "one.zip", dict(list(THINGS.items())[2:3]), views=6, size=12)
    judged_models.write_model(folder / "model", archive)
    decoder = replace(preset("tiny").autodecoder.decoder, extra_channels=2)
    (folder / "figure").mkdir()
    parts = PartConfig(names=PARTS, pictures=2)
    judged_models.write_model(folder / "figure", archive, decoder=decoder, parts=parts)
    write_clip(folder / "disc.mp4", passing(6)[0])
    write_motion(folder / "nod.json", nodding(2))
    judged_models.write_protocol(
        folder / "tiny.json", samples=2, steps=[1], sets=["reconstruction", "generated"], memorisation=2, resamples=2
    )
    more = ["--preset", "tiny", "--set", "loop.objects_seen=4"]
    main(["train", "autodecoder", "--data", str(archive.path), "--output", str(folder / "ae"), *more])


def quick() -> None:
    """Frozen networks that cost nothing, studies of two variants, several chunks of everything."""
    assets.LOOKS, assets.COLOUR_LOOKS, assets.LOOK_SIZE, mesh_pictures.SAMPLES_PER_SIDE = 2, 2, 8, 1
    assets.volume_to_mesh = partial(volume_to_mesh, resolution=2)
    turning, mesh_turning = assets.Asset.turntable, assets.Asset.mesh_turntable
    assets.Asset.turntable = lambda asset, *_, **__: turning(asset, 3, size=8)
    assets.Asset.mesh_turntable = lambda asset, *_, **__: mesh_turning(asset, 2, size=8)
    chunks.CHUNK, runner.load_features = judged_models.SMALL_CHUNK, lambda *_, **__: judged_models.tiny_features("tiny")
    finishing.INDEX_SECONDS = 0.0
    study_run.protocol_facts = lambda *_: {"protocol": "tiny"}
    tiny = preset("tiny")
    stages = {
        name: replace(stage, loop=replace(stage.loop, objects_seen=objects))
        for name, stage, objects in (("autodecoder", tiny.autodecoder, 4), ("diffusion", tiny.diffusion, 32))
    }
    demo_run.preset, demo_run.load_features = lambda name: replace(tiny, **stages), lambda: None
    demo_run.ASSETS, previews.PREVIEWED, previews.PREVIEW_STEPS, previews.PREVIEW_PX = 2, 2, 1, 8
    demo_run.protocol_run = lambda name, seed: short(runner.with_samples(runner.protocol_run(name, seed=seed), 2))
    for name, study in list(STUDIES.items()):
        STUDIES[name] = replace(study, variants=dict(list(study.variants.items())[:2]))
    library()
    torch.set_num_threads(1)


def short(run: runner.ProtocolRun) -> runner.ProtocolRun:
    """The same with two steps."""
    return run._replace(protocol=replace(run.protocol, steps=(2,)))


class Room:
    """A folder in which one command is run again and again."""

    def __init__(self, inputs: Path, command: str):
        self.inputs, self.folder, self.said = inputs, inputs / f"room-{os.getpid()}", inputs / f"said-{os.getpid()}"
        self.arguments = COMMANDS[command].format(inputs=inputs, room=self.folder).split()
        self.preloaded = ctypes.CDLL(None)
        sys.argv = ["vader3d", *self.arguments]

    def life(self, mode: int, at: int = 0) -> tuple[int, int]:
        """Exit code (negative: killed) and the events there were."""
        heard, told = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                said = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                for stream in (1, 2):
                    os.dup2(said, stream)
                self.preloaded.faults_arm(os.fsencode(self.folder), mode, ctypes.c_long(at))
                main(self.arguments)
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
            finally:
                events = self.preloaded.faults_count()
                self.preloaded.faults_arm(b"", COUNT, ctypes.c_long(0))
                sys.stderr.flush()
                os.write(told, str(events).encode())
                os._exit(code)
        os.close(told)
        with os.fdopen(heard) as pipe:
            events = int(pipe.read() or 0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), events

    def warm(self) -> None:
        """Run the command in this very process, so that lives, which are forked, find all that it imports."""
        self.begin()
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.suppress(SystemExit):
            main(self.arguments)

    def begin(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def undisturbed(self) -> tuple[dict[str, str], int]:
        """What the command gives, and its events."""
        self.begin()
        code, events = self.life(COUNT)
        assert code == 0, self.said.read_text()
        return contents(self.folder), events

    def trouble(self, mode: int, at: int, wanted: dict[str, str]) -> str:
        """What is wrong after one event, in words; empty where nothing is."""
        self.begin()
        code, _ = self.life(mode, at)
        said = self.said.read_text()
        if mode == KILL and code != -signal.SIGKILL:
            return f"ended with {code}: {said[-500:]}"
        if mode != KILL and code not in (0, 2):
            return f"ended with {code}: {said[-500:]}"
        error = [line for line in said.splitlines() if line.startswith("error: ")][-1:]
        if code == 2 and (str(self.folder) not in "".join(error) or "Traceback" in said):
            return f"names no file: {said[-500:]}"
        if code and (again := self.life(COUNT)[0]):
            return f"cannot go on, {again}: {self.said.read_text()[-500:]}"
        found = contents(self.folder)
        unlike = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        if mode == errno.EIO and not code:  # done, but for what could not be deleted
            unlike = [name for name in unlike if not (name.endswith(".lock") or ".parts" in name)]
        return f"leaves other files: {unlike}" if unlike else ""


def contents(folder: Path) -> dict[str, str]:
    """Every file but TensorBoard's, by its name, as a checksum of all that two runs have alike."""
    paths = [path for path in folder.rglob("*") if "tensorboard" not in path.parts and path.name not in NOT_COMPARED]
    return {path.relative_to(folder).as_posix(): content(path) for path in paths}


def content(path: Path) -> str:
    if path.is_dir() or path.name.endswith(NEVER_ALIKE):
        return "is there"
    if path.suffix == ".pt":
        return str(timeless(torch.load(path, weights_only=True)))
    if path.suffix == ".safetensors":
        return str(timeless(list(load_snapshot(path))))
    if path.suffix == ".json":
        return str(timeless(json.loads(path.read_text())))
    if path.suffix == ".jsonl":
        return str(timeless([json.loads(line) for line in path.read_text().splitlines()]))
    if path.suffix == ".mp4" and [*path.parent.glob("*.found")]:
        return film(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def film(path: Path) -> str:
    """Of what it shows: after a clip was fitted in the same process its bytes were others in 2 of 100 films."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return hashlib.sha256(b"".join(frame.tobytes() for frame in frames)).hexdigest()


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: timeless(each) for key, each in value.items() if not any(word in str(key) for word in CLOCKS)}
        return sorted((str(key), each) for key, each in kept.items() if not str(key).endswith("per_second"))
    if isinstance(value, (list, tuple)):
        return [timeless(each) for each in value]
    if isinstance(value, torch.Tensor):
        value = value.coalesce().values() if value.is_sparse else value
        return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    return value


def tried(inputs: Path, command: str, stride: int) -> dict[str, Any]:
    room = Room(inputs, command)
    room.warm()
    wanted, events = room.undisturbed()
    wrong, tries = [], 0
    for place, (way, mode) in enumerate(WAYS.items()):
        for at in range(1 + place * stride // len(WAYS), events + 1, stride):
            tries += 1
            if trouble := room.trouble(mode, at, wanted):
                wrong.append(f"{way} at event {at} of {events}: {trouble}")
    return {"command": command, "wrong": wrong, "events": events, "tried": tries}


if __name__ == "__main__":
    inputs, *rest = sys.argv[1:]
    quick()
    for command, stride in zip(rest[::2], rest[1::2], strict=True):
        print(json.dumps(tried(Path(inputs), command, int(stride))), flush=True)
