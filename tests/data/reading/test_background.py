"""Objects are told from plain walls: masks against exact ones, through noise, shading and JPEG."""

import foreign
import numpy as np
import pytest
from photographed import wall_photo
from PIL import Image
from scipy.ndimage import gaussian_filter
from tiny import THINGS, Box, Sphere, pictures_of, ring

from vader3d.data.reading.background import WORKED_PX, without_background
from vader3d.data.reading.pictures import masked_picture

WALLS = {"grey": (208, 207, 203), "white": (250, 250, 250), "black": (12, 12, 14), "green sheet": (40, 160, 70)}
OTHERS = {
    "grey box": (Box((0.45, 0.46, 0.45), half=(0.5, 0.3, 0.4)),),
    "pale box": (Box((0.9, 0.78, 0.7), half=(0.5, 0.3, 0.4)),),
    "dark ball": (Sphere((0.12, 0.1, 0.1)),),
    "white ball": (Sphere((1.0, 1.0, 1.0)),),
}
ALIKE = {("black", "dark ball"), ("white", "white ball")}


def plain_background_alpha(photo):
    return without_background(photo, lossy=True)[..., 3]


def iou(alpha, true):
    return ((alpha >= 128) & true).sum() / ((alpha >= 128) | true).sum()


@pytest.mark.parametrize("wall", WALLS)
def test_masks_are_those_of_the_objects(wall):
    rng, scores = np.random.default_rng(0), {}
    for name, thing in {**THINGS, **OTHERS}.items():
        if (wall, name) not in ALIKE:
            pictures = pictures_of(thing, ring(2, 128))
            alphas = [plain_background_alpha(wall_photo(picture, rng, wall=WALLS[wall])) for picture in pictures]
            scores[name] = min(iou(alpha, p[..., 3] >= 128) for alpha, p in zip(alphas, pictures, strict=True))
    print(wall, {name: round(float(score), 3) for name, score in scores.items()})
    assert np.mean(list(scores.values())) >= 0.97
    assert min(scores.values()) > 0.93


def test_a_soft_shadow_is_no_part_of_the_object():
    picture = pictures_of(THINGS["blue box"], ring(2, 160))[1]
    alpha, rng = picture[..., 3] / 255, np.random.default_rng(0)
    shade = gaussian_filter(np.roll(alpha, (20, 16), (0, 1)), 8)[..., None]
    ground = 205 * (1 - 0.3 * shade)
    photo = picture[..., :3] * alpha[..., None] + ground * (1 - alpha[..., None]) + rng.normal(0, 1.5, (160, 160, 3))
    found = plain_background_alpha(photo.clip(0, 255).astype(np.uint8))
    assert iou(found, alpha > 0.5) > 0.97
    assert iou(np.where(np.abs(photo - 205).max(-1) > 12, 255, 0), alpha > 0.5) < 0.8  # what a threshold would say


def pale_photo(difference):
    """A square that a wall's colour, unevenly lit, differs from by little; and its true mask."""
    true = np.zeros((120, 160), bool)
    true[30:90, 50:110] = True
    wall = wall_photo(np.zeros((120, 160, 4), np.uint8), np.random.default_rng(0)).astype(int)
    return np.where(true[..., None], wall + difference, wall).clip(0, 255).astype(np.uint8), true


@pytest.mark.parametrize("difference", [(9, -2, 0), (-9, -8, 0), (8, 8, 8)])
def test_pale_objects_are_told_by_their_edges(difference):
    photo, true = pale_photo(difference)
    assert iou(plain_background_alpha(photo), true) > 0.97


def test_a_wall_with_a_spot_of_light_is_still_one():
    photo, true = pale_photo((-90, -60, -30))
    y, x = np.mgrid[-1:1:120j, -1:1:160j]
    lit = photo + 11 * np.exp(-3 * ((x - 0.5) ** 2 + y * y))[..., None]
    assert iou(plain_background_alpha(lit.clip(0, 255).astype(np.uint8)), true) > 0.97


def test_a_ragged_mask_is_said(tmp_path):
    """A square, half of whose pixels are the wall's."""
    photo, true = pale_photo((-90, -60, -30))
    wall, _ = pale_photo(0)
    gaps = true & (np.indices(true.shape).sum(0) // 2 % 2 == 0)
    for name, pixels in (("whole", photo), ("ragged", np.where(gaps[..., None], wall, photo))):
        Image.fromarray(pixels.repeat(2, 0).repeat(2, 1)).save(tmp_path / f"{name}.jpg", quality=95)
        _, note = masked_picture(tmp_path / f"{name}.jpg", mask="auto")
        assert ("are ragged: parts of its colour? look at them, or give masks" in note) == (name == "ragged")


def test_an_object_that_leaves_the_picture_is_still_told_from_the_wall():
    picture = pictures_of(THINGS["red ball"], ring(1, 160))[0][30:, :120]
    found = plain_background_alpha(wall_photo(picture, np.random.default_rng(0)))
    assert iou(found, picture[..., 3] >= 128) > 0.97


def test_large_photographs_are_masked_at_their_own_size():
    picture = pictures_of(THINGS["red ball"], ring(1, 200))[0].repeat(5, 0).repeat(5, 1)
    found = plain_background_alpha(wall_photo(picture, np.random.default_rng(0)))
    assert max(found.shape) > WORKED_PX
    assert iou(found, picture[..., 3] >= 128) > 0.98


def test_a_room_is_no_plain_background():
    room = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    photo = np.asarray(Image.fromarray(room).resize((160, 120)))
    with pytest.raises(ValueError, match=r"background: wanted one plain colour .*; give masks"):
        plain_background_alpha(photo)
    with pytest.raises(ValueError, match="at least 8 px a side; got 4 x 4"):
        plain_background_alpha(photo[:4, :4])


LIGHTS = {
    "a vignette": lambda x, y: 240 * (1 - 0.3 * ((x * x + y * y) / 2) ** 2),
    "a spot": lambda x, y: 120 + 120 * np.exp(-(x * x + y * y)),
    "a gradient": lambda x, y: 245 - 80 * (y + 1),
}


def before(light, shadow=False):
    """A marked box of 240 px before a wall, and where it is; perhaps with its shadow on that."""
    (view,) = foreign.trimesh_views(size=120)[:1]
    picture = np.asarray(Image.fromarray(view.picture).resize((240, 240), Image.Resampling.BICUBIC)).astype(float)
    y, x = np.meshgrid(np.linspace(-1, 1, 240), np.linspace(-1, 1, 240), indexing="ij")
    alpha = picture[..., 3:] / 255
    wall = light(x, y)[..., None] * np.ones(3)
    if shadow:
        wall *= 1 - 0.4 * np.roll(alpha, (30, 40), (0, 1))
    noise = np.random.default_rng(0).normal(0, 1, wall.shape)
    pixels = picture[..., :3] * [1, 0.6, 0.4] * alpha + wall * (1 - alpha) + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), alpha[..., 0] >= 0.5


@pytest.mark.parametrize("kind", LIGHTS)
def test_a_wall_may_be_lit_by_a_gradient_or_a_spot_or_through_a_vignette(kind, tmp_path):
    picture, true = before(LIGHTS[kind])
    picture.save(tmp_path / "p.jpg", quality=93)
    cut = masked_picture(tmp_path / "p.jpg", mask="plain")[0][..., 3] >= 128
    assert (cut & true).sum() > 0.96 * (cut | true).sum()


@pytest.mark.parametrize("shadow", [True, False])
def test_a_hard_shadow_is_said(shadow, tmp_path):
    before(lambda x, y: 230 + 0 * x, shadow)[0].save(tmp_path / "p.jpg", quality=93)
    assert ("may hold hard shadows" in masked_picture(tmp_path / "p.jpg", mask="plain")[1]) == shadow
