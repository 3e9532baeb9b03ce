"""Pictures with colours of other spaces than sRGB, and of other modes."""

import json
import struct

import numpy as np
import pytest
import trimesh
from PIL import Image, ImageCms
from surfaces import colour_of

from vader3d.data.making.surface import load_surface
from vader3d.data.photographs.frames import read_photo
from vader3d.data.reading.pictures import read_picture

D50 = (0.9642, 1.0, 0.8249)
SPACES = {  # columns of XYZ at D50 (as profiles have them) and a power that stands for the curve
    "Display P3": ([[0.5151, 0.2919, 0.1572], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]], 2.2),
    "Adobe RGB (1998)": ([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]], 2.2),
}
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def fixed(*numbers):
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def curve(power):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(power * 256)) + bytes(2)


def profile(name, power, columns=None):
    """An ICC profile of version 2, of three primaries or, without columns, of grey."""
    text = name.encode() + b"\0"
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)}
    tags |= {b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": b"XYZ " + bytes(4) + fixed(*D50)}
    if columns is None:
        tags[b"kTRC"] = curve(power)
    else:
        for letter, column in zip(b"rgb", np.transpose(columns), strict=True):
            tags[bytes([letter]) + b"XYZ"] = b"XYZ " + bytes(4) + fixed(*column)
            tags[bytes([letter]) + b"TRC"] = curve(power)
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for key, value in tags.items():
        value += bytes(-len(value) % 4)
        table += key + struct.pack(">II", at + len(body), len(value))
        body += value
    space = b"GRAY" if columns is None else b"RGB "
    head = struct.pack(
        ">I4sI4s4s4s12s4s", at + len(body), bytes(4), 0x02400000, b"mntr", space, b"XYZ ", bytes(12), b"acsp"
    )
    head += bytes(28) + fixed(*D50)
    return head.ljust(128, b"\0") + table + body


def in_srgb(rgb, columns, power):
    """What a colour of 255 is in sRGB, by the definition of both."""
    light = np.linalg.solve(SRGB, np.array(columns) @ (np.array(rgb) / 255) ** power).clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("space", SPACES)
def test_colours_of_wide_spaces_become_srgb_s(space, mode, tmp_path):
    columns, power = SPACES[space]
    colour = (180, 90, 60)
    picture = Image.new("RGB", (16, 16), colour)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize((16, 16)))
    if mode == "P":
        picture = picture.quantize(2)
    picture.save(tmp_path / "x.png", icc_profile=profile(space, power, columns))
    expected = in_srgb(colour, columns, power)
    assert np.abs(expected - colour).max() > 10
    read = np.asarray(read_picture(tmp_path / "x.png", mode="RGBA"))
    assert np.abs(read[..., :3] - expected).max() < 2
    assert (read[..., 3] == np.asarray(picture.convert("RGBA"))[..., 3]).all()
    photo, _ = read_photo(tmp_path / "x.png")
    assert np.abs(np.asarray(photo.convert("RGB")) - expected).max() < 2


def test_textures_too(tmp_path):
    columns, power = SPACES["Display P3"]
    Image.new("RGB", (8, 8), (180, 90, 60)).save(tmp_path / "t.png", icc_profile=profile("P3", power, columns))
    (tmp_path / "o.mtl").write_text("newmtl m\nmap_Kd t.png\n")
    (tmp_path / "o.obj").write_text("mtllib o.mtl\nusemtl m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n")
    assert (
        np.abs(np.array(colour_of(load_surface(tmp_path / "o.obj"))) - in_srgb((180, 90, 60), columns, power)).max() < 2
    )


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_greys_of_another_gamma_become_srgb_s(mode, tmp_path):
    picture = Image.new("L", (16, 16), 100)
    if mode == "LA":
        picture.putalpha(200)
    if mode == "I;16":
        picture = Image.fromarray(np.full((16, 16), 100 * 257, np.uint16))
    picture.save(tmp_path / "g.png", icc_profile=profile("Gray Gamma 1.0", 1.0))
    light = 100 / 255
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(np.asarray(read_picture(tmp_path / "g.png", mode="RGBA"))[..., :3] - expected).max() < 2


@pytest.mark.parametrize(
    "data", [b"rubbish", profile("grey", 1.0), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_profiles_that_are_damaged_or_of_others_or_srgb_s_change_nothing(data, tmp_path):
    Image.new("RGB", (4, 4), (180, 90, 60)).save(tmp_path / "x.jpg", quality=100, icc_profile=data)
    assert np.abs(np.asarray(read_picture(tmp_path / "x.jpg", mode="RGB")).astype(int) - (180, 90, 60)).max() <= 2


def palette():
    picture = Image.fromarray(np.array([[0, 1]], np.uint8).repeat(2, 0), "P")
    picture.putpalette([200, 30, 30, 0, 0, 0])
    picture.info["transparency"] = bytes([255, 0])
    return picture


MODES = {
    "cmyk.jpg": (lambda: Image.new("CMYK", (8, 8), (0, 255, 255, 0)), (255, 0, 0, 255)),
    "palette.png": (palette, (200, 30, 30, 255)),
    "la.png": (lambda: Image.new("LA", (2, 2), (90, 128)), (90, 90, 90, 128)),
    "deep.png": (lambda: Image.fromarray(np.full((2, 2), 90 * 257, np.uint16)), (90, 90, 90, 255)),
    "keyed.png": (lambda: Image.new("RGB", (2, 2), (9, 8, 7)), (9, 8, 7, 0)),
    "two.png": (lambda: Image.new("1", (2, 2), 1), (255, 255, 255, 255)),
}


@pytest.mark.parametrize("name", MODES)
def test_pictures_of_all_modes_are_what_they_show(name, tmp_path):
    make, expected = MODES[name]
    make().save(tmp_path / name, **({"transparency": (9, 8, 7)} if name == "keyed.png" else {}))
    read = np.asarray(read_picture(tmp_path / name, mode="RGBA"))
    assert np.abs(read[0, 0].astype(int) - expected).max() <= 2
    if name == "palette.png":
        assert read[0, 1, 3] == 0


def test_heic_is_named_whatever_it_is_called(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"\0\0\0\x24ftypheic" + bytes(100))
    with pytest.raises(ValueError, match=r"x\.jpg: wanted a whole picture; got HEIC; save it as JPEG or PNG$"):
        read_picture(tmp_path / "x.jpg", mode="RGB")


def test_masks_and_textures_of_gltf_have_no_profiles(tmp_path):
    """A mask is no colour, and glTF 2.0 (3.8.2) says that readers take no notice."""
    grey = profile("Linear grey", 1.0)
    Image.fromarray(np.full((4, 4), 128, np.uint8)).save(tmp_path / "mask.png", icc_profile=grey)
    assert np.unique(read_picture(tmp_path / "mask.png", mode="L")).tolist() == [128]
    columns, power = SPACES["Display P3"]
    texture = Image.fromarray(np.full((4, 4, 3), (200, 100, 50), np.uint8))
    box = trimesh.creation.box()
    box.visual = trimesh.visual.TextureVisuals(uv=np.full((8, 2), 0.5), image=texture)
    for name, data in trimesh.exchange.gltf.export_gltf(trimesh.Scene(box)).items():
        (tmp_path / name).write_bytes(data)
    document = json.loads((tmp_path / "model.gltf").read_text())
    (tmp_path / "model.gltf").write_text(json.dumps(document | {"images": [{"uri": "image.png"}]}))
    texture.save(tmp_path / "image.png", icc_profile=profile("Display P3", power, columns))
    (texels,) = load_surface(tmp_path / "model.gltf").textures
    assert texels[0, 0].tolist() == [200, 100, 50, 255]
    assert read_picture(tmp_path / "image.png", mode="RGB").getpixel((0, 0))[0] > 205  # of a photograph they are heeded
