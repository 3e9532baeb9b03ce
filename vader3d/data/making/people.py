"""People of random looks, from the parametric body `anny`."""

import functools
import warnings
from typing import Any, NamedTuple

import numpy as np

from vader3d.data.making.busts import Bust, framed
from vader3d.data.making.chairs import PAINTS

HAIR = {
    "black": (0.08, 0.06, 0.05),
    "brown": (0.35, 0.20, 0.10),
    "blond": (0.78, 0.62, 0.33),
    "grey": (0.62, 0.62, 0.62),
    "red": (0.60, 0.24, 0.12),
    "blue": (0.20, 0.30, 0.60),
}
DARK, LIGHT = np.array([0.35, 0.22, 0.15]), np.array([0.95, 0.78, 0.68])  # between which skin is
EXPRESSIONS = (("jawOpen",), ("mouthSmileLeft", "mouthSmileRight"), ("browInnerUp", "eyeWideLeft", "eyeWideRight"))
SHOULDERS, SIDES = 0.55, 0.85  # of the head's height: how far below the chin and beside the neck a bust goes


class Body(NamedTuple):
    """anny, and what is alike in all of its people: faces, shares of vertices in head and neck, regions of vertices."""

    model: Any
    faces: np.ndarray
    head: np.ndarray
    neck: np.ndarray
    eyes: np.ndarray
    mouth: np.ndarray


@functools.cache
def body() -> Body:
    """Built once a process; ever the first time takes anny a minute, and its cache 0.9 GB (ANNY_CACHE_DIR)."""
    try:
        import anny
        from anny.face_segmentation import get_face_segmentation_mask
    except ImportError as error:
        raise ImportError("anny: wanted for people; got none; pip install 'vader3d[heads]'") from error
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a faster way of skinning that is not asked for
        model = anny.Anny(local_changes="none", facial_actions="all").to(torch.float32)
    faces, count = np.asarray(model.faces), len(model.template_vertices)
    weights = np.zeros((count, len(model.bone_labels)))
    bones, shares = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()
    np.add.at(weights, (np.arange(count)[:, None], bones), shares)
    head, neck = below(model, "head"), below(model, "neck01")

    def region(*names: str) -> np.ndarray:
        chosen = np.zeros(count, bool)
        chosen[faces[get_face_segmentation_mask(model, names).numpy()].ravel()] = True
        return chosen

    eyes, mouth = region("eye_front.L", "eye_front.R"), region("mouth_cavity")
    of_head = weights[:, sorted(head)].sum(1)
    return Body(model, faces, of_head, weights[:, sorted(neck - head)].sum(1), eyes, mouth)


def below(model: Any, bone: str) -> set[int]:
    """The numbers of a bone and of all that hang on it."""
    found = {model.bone_labels.index(bone)}
    for number, parent in enumerate(model.bone_parents):
        if parent in found:
            found.add(number)
    return found


def shapes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Vertices at rest [P, 3] of somebody, z up, facing -y, and how each of `EXPRESSIONS` moves them [E, P, 3]."""
    import torch

    model = body().model
    about = {name: torch.tensor([float(rng.uniform(0.3, 0.85))]) for name in model.phenotype_labels}
    about["gender"] = torch.tensor([float(rng.random() < 0.5)])
    still = torch.eye(4).repeat(1, model.bone_count, 1, 1)

    def vertices(actions: tuple[str, ...]) -> np.ndarray:
        wanted = {name: torch.ones(1) for name in actions}
        with torch.no_grad():
            made = model(pose_parameters=still, phenotype_kwargs=about, facial_actions=wanted)
        return made["vertices"][0].numpy().astype(np.float64)

    rest = vertices(())
    return rest, np.stack([vertices(actions) - rest for actions in EXPRESSIONS])


def person(rng: np.random.Generator) -> tuple[Bust, str, dict[str, str]]:
    """Somebody's head and shoulders, what can be said of them in a phrase, and as tags."""
    made, (rest, moves) = body(), shapes(rng)
    skull = rest[made.head > 0.5]
    top, chin = skull[:, 2].max(), skull[:, 2].min()
    height, depth = top - chin, skull[:, 1].mean() + 0.08 * (top - chin)
    neck_joint, head_joint = np.array([0, depth, chin - 0.15 * height]), np.array([0, depth, chin + 0.2 * height])
    hair, shirt = str(rng.choice([*HAIR])), str(rng.choice([*PAINTS]))
    colours, is_hair = painted(rng, rest, moves, height, chin, hair, shirt)
    rest = rest + 0.045 * rng.uniform(0.4, 1.4) * height * is_hair[:, None] * away(rest, made.faces)
    lowest, widest = chin - SHOULDERS * height, SIDES * height
    kept = (rest[:, 2] > lowest) & (np.abs(rest[:, 0]) < widest)
    faces = made.faces[kept[made.faces].any(1)]
    rest = np.clip(rest, [-widest, -np.inf, lowest], [widest, np.inf, np.inf])  # cut straight
    used, numbers = np.unique(faces, return_inverse=True)
    parts = (rest[used], numbers.reshape(-1, 3), colours[used], made.head[used], made.neck[used])
    bust = framed(Bust(*parts, neck_joint, head_joint, moves[:, used]))
    return bust, f"a person with {hair} hair in a {shirt} shirt", {"hair": hair, "shirt": shirt}


def painted(
    rng: np.random.Generator, rest: np.ndarray, moves: np.ndarray, height: float, chin: float, hair: str, shirt: str
) -> tuple[np.ndarray, np.ndarray]:
    """Colours of the vertices [P, 3]: skin, eyes, lips, brows, hair, clothes; and which of them are hair [P]."""
    made, tone = body(), rng.uniform(0.1, 1.0)
    skin, hue = DARK * (1 - tone) + LIGHT * tone, np.array(HAIR[hair])
    x, y, z = (rest - [0, *np.mean(rest[made.eyes][:, 1:], 0)]).T / height  # from between the eyes, in heads
    eye, is_head = np.abs(x[made.eyes]).mean(), made.head > 0.5
    colours = np.tile(skin, (len(rest), 1))
    line, back, length = rng.uniform(0.28, 0.42), rng.uniform(0.25, 0.5), rng.uniform(-0.7, 0.1)
    is_hair = is_head & ((z > line) | ((y > back) & (z > length)))
    colours[is_hair] = hue * rng.uniform(0.85, 1.1)
    brows = is_head & (np.abs(z - 0.11) < 0.03) & (np.abs(np.abs(x) - eye) < 0.13) & (y < 0.12)
    colours[brows] = 0.7 * hue
    front = rest[made.mouth][np.argmin(rest[made.mouth, 1])]
    opens = np.linalg.norm(moves[0], axis=1) > 0
    lips = is_head & opens & (np.linalg.norm(rest - front, axis=1) < 0.075 * height) & (y < 0.02)
    colours[lips] = skin * [1.05, 0.5, 0.5]
    colours[made.eyes] = 0.95
    iris = made.eyes & (y < np.quantile(y[made.eyes], 0.25))
    colours[iris] = rng.uniform(0.0, 0.4, 3)
    below_chin = (rest[:, 2] - chin) / height
    clothed = ~is_head & (below_chin < rng.uniform(-0.2, 0.1))
    colours[clothed] = PAINTS[shirt]
    second, pattern = rng.uniform(0.1, 0.95, 3), rng.random()
    if pattern < 0.35:
        colours[clothed & (np.abs(x) < 0.15)] = second
    elif pattern < 0.6:
        colours[clothed & ((below_chin / 0.11).astype(int) % 2 == 0)] = second
    return np.clip(colours, 0, 1), is_hair


def away(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals [P, 3] of the vertices of a mesh."""
    corners = vertices[faces]
    turned = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    found = np.zeros_like(vertices)
    np.add.at(found, faces, turned[:, None])
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
