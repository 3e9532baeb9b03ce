"""How glTF's materials look: colour, texture, and what of it is clear."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vader3d.data.making.parts import Parts, texels_of
from vader3d.untrusted import reason_of

MIRRORED = 33648
SOURCES = ("EXT_texture_webp", "EXT_texture_avif")  # which PIL may read
BASIS = "; save them as PNG or WebP (ktx extract, or gltf-transform)"
KTX2 = b"\xabKTX 20\xbb"
DARK = 0.02  # linear light: what is no brighter is black
CLEAR = 0.02  # alpha of a material that blends with nothing


@dataclass(frozen=True)
class Look:
    """factor: linear RGB [3]; texels: uint8 [H, W, 4] or None, clear where alpha is below 128.

    uv_set: of the texture; placing: [2, 3], from its numbers to the texture's place; hidden: nothing of it shows.
    cutoff: the alpha below which points are clear; None: never.
    """

    factor: np.ndarray
    texels: np.ndarray | None = None
    uv_set: int = 0
    placing: np.ndarray | None = None
    hidden: bool = False
    cutoff: float | None = None

    def placed(self, uv: np.ndarray) -> np.ndarray:
        return uv if self.placing is None else uv @ self.placing[:, :2].T + self.placing[:, 2]


class Looks:
    """The materials of a document; textures are decoded once, whoever uses them."""

    def __init__(self, document: dict, image_bytes: Callable[[dict], io.BytesIO], found: Parts):
        self.document, self.image_bytes, self.found = document, image_bytes, found
        self.decoded: dict[int, np.ndarray | None] = {}
        self.shared: dict[tuple, np.ndarray] = {}
        self.known: dict[int, Look] = {}

    def of(self, index: int | None) -> Look:
        if index is None:
            return Look(np.ones(3))
        if index not in self.known:
            self.known[index] = self.look(self.document["materials"][index])
        return self.known[index]

    def look(self, material: dict) -> Look:
        gloss = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
        rough = material.get("pbrMetallicRoughness", {})
        if gloss is not None and "baseColorTexture" not in rough:
            factor, texture = gloss.get("diffuseFactor", [1, 1, 1, 1]), gloss.get("diffuseTexture")
        else:
            factor, texture = rough.get("baseColorFactor", [1, 1, 1, 1]), rough.get("baseColorTexture")
        glow = material.get("emissiveFactor", [0, 0, 0])
        if texture is None and max(factor[:3]) < DARK and max(glow) > DARK:  # all its colour is its own light
            factor, texture = [*glow, *factor[3:]], material.get("emissiveTexture")
        alpha, mode = float(factor[3]) if len(factor) > 3 else 1.0, material.get("alphaMode", "OPAQUE")
        cutoff = float(material.get("alphaCutoff", 0.5)) if mode == "MASK" else 0.5
        hidden = (mode == "MASK" and alpha < cutoff) or (mode == "BLEND" and alpha < CLEAR)
        points = {"MASK": cutoff / max(alpha, 1e-6), "BLEND": CLEAR}.get(mode)
        look = Look(np.asarray(factor[:3], float), hidden=hidden, cutoff=points)
        return look if texture is None else self.textured(look, texture, mode, cutoff / max(alpha, 1e-6))

    def textured(self, look: Look, info: dict, mode: str, cutoff: float) -> Look:
        texture = self.document["textures"][info["index"]]
        texels = self.texels(texture)
        if texels is None:
            return look
        moved = info.get("extensions", {}).get("KHR_texture_transform", {})
        (x, y), (wide, high), angle = moved.get("offset", (0, 0)), moved.get("scale", (1, 1)), moved.get("rotation", 0)
        cos, sin = np.cos(angle), np.sin(angle)
        placing = np.array([[cos * wide, sin * high, x], [-sin * wide, cos * high, y]])
        sampler = self.document["samplers"][texture["sampler"]] if "sampler" in texture else {}
        mirrored = tuple(sampler.get(f"wrap{axis}") == MIRRORED for axis in "ST")
        placing = placing / (1 + np.array(mirrored)[:, None])
        key = (id(texels), mode if mode != "MASK" else cutoff, mirrored)
        if key not in self.shared:
            self.shared[key] = wrapped(with_alpha(texels, mode, cutoff), mirrored)
        uv_set = moved.get("texCoord", info.get("texCoord", 0))
        return replace(look, texels=self.shared[key], uv_set=uv_set, placing=placing)

    def texels(self, texture: dict) -> np.ndarray | None:
        """Of the first of a texture's pictures that can be read; None, with a note, where there is none."""
        extensions = texture.get("extensions", {})
        sources = [extensions[name]["source"] for name in SOURCES if name in extensions]
        sources += [texture["source"]] if "source" in texture else []
        if not sources:
            what = ", ".join(extensions) or "one without a picture"
            self.found.note(
                f"textures left out: {what} cannot be read{BASIS if 'KHR_texture_basisu' in extensions else ''}"
            )
        for source in sources:
            if (texels := self.picture(source)) is not None:
                return texels
        return None

    def picture(self, index: int) -> np.ndarray | None:
        if index not in self.decoded:
            from PIL import Image

            try:
                data = self.image_bytes(self.document["images"][index])
                if data.getbuffer()[: len(KTX2)] == KTX2:
                    raise ValueError("picture: wanted PNG, JPEG or WebP; got KTX2; save it anew (gltf-transform)")
                with Image.open(data) as image:
                    image.info.pop("icc_profile", None)  # which glTF 2.0 (3.8.2) has readers ignore
                    self.decoded[index] = texels_of(image)
            except (OSError, ValueError, SyntaxError) as error:
                self.decoded[index] = None
                self.found.note(f"textures left out: {reason_of(error)}")
        return self.decoded[index]


def with_alpha(texels: np.ndarray, mode: str, cutoff: float) -> np.ndarray:
    """Texels whose alpha says what shows, by a material's alphaMode."""
    most = int(texels[..., 3].max())
    if mode == "BLEND" and (most >= 128 or most < 255 * CLEAR):
        return texels
    least = {"MASK": 255 * cutoff, "BLEND": most / 2}.get(mode, 0)  # glass, all of it faint, shows where it is most so
    shown = texels[..., 3] >= least
    return np.concatenate([texels[..., :3], np.where(shown, 255, 0)[..., None].astype(np.uint8)], -1)


def wrapped(texels: np.ndarray, mirrored: tuple[bool, ...]) -> np.ndarray:
    """Texels that repeat as the mirrored ones do."""
    texels = np.concatenate([texels, texels[:, ::-1]], 1) if mirrored[0] else texels
    return np.concatenate([texels, texels[::-1]], 0) if mirrored[1] else texels
