"""Colours that formats keep in places of their own, and files that are not what they are called."""

import re
import struct
import zipfile

import numpy as np
import pytest
import trimesh
from surfaces import RED, area, colour_of, texture

from vader3d.data.making.surface import load_surface

BOX = trimesh.creation.box((1, 2, 3))
HEX = "#{:02X}{:02X}{:02X}FF".format(*RED)


def write_stl(path, *, header=b"", colour):
    rows = b"".join(struct.pack("<12fH", 0, 0, 0, *corners.ravel(), colour) for corners in BOX.triangles)
    path.write_bytes(header.ljust(80) + struct.pack("<I", len(BOX.faces)) + rows)
    return path


STLS = {
    "VisCAM": (b"", 0x8000 | 31 << 10 | 4 << 5 | 4, (255, 33, 33)),
    "Magics": (b"COLOR=\1\2\3\xff", 31 | 4 << 5 | 4 << 10, (255, 33, 33)),
    "Magics, of the part": (b"COLOR=" + bytes([*RED, 255]), 0x8000, RED),
    "none": (b"", 0, (178, 178, 178)),
}


@pytest.mark.parametrize("kind", STLS)
def test_facets_of_an_stl_have_colours(kind, tmp_path):
    header, colour, shown = STLS[kind]
    surface = load_surface(write_stl(tmp_path / "m.stl", header=header, colour=colour))
    assert np.allclose(colour_of(surface), shown, atol=1)
    assert area(surface) == pytest.approx(22)


GROUPS = {
    "base": (f'<basematerials id="5"><base name="r" displaycolor="{HEX}"/></basematerials>', 'pid="5" pindex="0"', ""),
    "group": (f'<m:colorgroup id="5"><m:color color="{HEX}"/></m:colorgroup>', 'pid="5" pindex="0"', ""),
    "triangles": (f'<m:colorgroup id="5"><m:color color="{HEX[:7]}"/></m:colorgroup>', "", 'pid="5" p1="0"'),
}
NAMES = 'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02" xmlns:m="m" xmlns:p="p"'


def write_3mf(path, group, *, apart=False):
    """A box in a component that is turned about z and moved; `apart`: the box is in a model of its own."""
    colours, whole, each = GROUPS[group]
    points = "".join('<vertex x="{}" y="{}" z="{}"/>'.format(*point) for point in BOX.vertices)
    faces = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}" {each}/>' for a, b, c in BOX.faces)
    box = f'{colours}<object id="1" {whole}><mesh><vertices>{points}</vertices><triangles>{faces}</triangles></mesh>'
    there = 'p:path="/3D/Objects/box.model"' if apart else ""
    component = f'<component {there} objectid="1" transform="0 1 0 -1 0 0 0 0 1 9 0 0"/>'
    inner = f'<object id="2"><components>{component}</components></object>'
    head, tail = f"<model {NAMES}><resources>", '</resources><build><item objectid="2"/></build></model>'
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("3D/3dmodel.model", f"{head}{'' if apart else box + '</object>'}{inner}{tail}")
        if apart:
            opened.writestr("3D/Objects/box.model", f"{head}{box}</object></resources></model>")
    return path


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("group", GROUPS)
def test_a_3mf_has_colours_and_components_where_they_stand(group, apart, tmp_path):
    surface = load_surface(write_3mf(tmp_path / "m.3mf", group, apart=apart))
    assert colour_of(surface) == RED
    points = surface.triangles.reshape(-1, 3)
    assert np.allclose([points.min(0), points.max(0)], [[8, -0.5, -1.5], [10, 0.5, 1.5]])


def test_components_in_a_circle_are_refused(tmp_path):
    text = f'<model {NAMES}><resources><object id="1"><components><component objectid="1"/></components></object>'
    with zipfile.ZipFile(tmp_path / "m.3mf", "w") as opened:
        opened.writestr("3D/3dmodel.model", f'{text}</resources><build><item objectid="1"/></build></model>')
    with pytest.raises(ValueError, match=r"m\.3mf: components: wanted a tree of at most 65536; got more, or a circle"):
        load_surface(tmp_path / "m.3mf")


@pytest.mark.parametrize(("kind", "scale"), [("int", 1), ("uchar", 1), ("ushort", 257), ("float", 1 / 255)])
def test_colours_of_a_ply_may_be_of_any_type(kind, scale, tmp_path):
    head = ["ply", "format ascii 1.0", "element vertex 3", *(f"property float {axis}" for axis in "xyz")]
    head += [f"property {kind} {name}" for name in ("red", "green", "blue")]
    head += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    colour = " ".join(str(value * scale) for value in RED)
    points = [f"{point} {colour}" for point in ("0 0 0", "1 0 0", "0 1 0")]
    (tmp_path / "m.ply").write_text("\n".join([*head, *points, "3 0 1 2"]) + "\n")
    assert colour_of(load_surface(tmp_path / "m.ply")) == RED


def test_a_collada_has_srgb_colours(tmp_path):
    pytest.importorskip("collada", reason="needs pycollada")
    red = trimesh.visual.material.PBRMaterial(baseColorFactor=[*RED, 255])
    box = BOX.copy()
    box.visual = trimesh.visual.TextureVisuals(uv=np.zeros((8, 2)), material=red)
    text = trimesh.exchange.dae.export_collada(box).decode()
    (tmp_path / "m.dae").write_text(text)
    assert np.allclose(colour_of(load_surface(tmp_path / "m.dae")), RED, atol=1)


IMAGES = '<library_images><image id="im"><init_from>wood.png</init_from></image></library_images><library_effects>'
SAMPLER = """<profile_COMMON><newparam sid="su"><surface type="2D"><init_from>im</init_from></surface></newparam>
<newparam sid="sa"><sampler2D><source>su</source></sampler2D></newparam>"""


def test_a_collada_says_what_texture_is_not_there(tmp_path):
    pytest.importorskip("collada", reason="needs pycollada")
    box = BOX.copy()
    box.visual = trimesh.visual.TextureVisuals(uv=np.zeros((8, 2)), material=trimesh.visual.material.PBRMaterial())
    text = trimesh.exchange.dae.export_collada(box).decode()
    used = '<diffuse><texture texture="sa" texcoord="UV"/></diffuse>'
    text = re.sub(r"<diffuse>.*?</diffuse>", used, text, flags=re.DOTALL)
    text = text.replace("<library_effects>", IMAGES).replace("<profile_COMMON>", SAMPLER)
    (tmp_path / "m.dae").write_text(text)
    assert "textures left out: wood.png is not there" in load_surface(tmp_path / "m.dae").notes
    texture(tmp_path / "wood.png")
    surface = load_surface(tmp_path / "m.dae")
    assert (colour_of(surface), surface.notes) == (RED, ())


@pytest.mark.parametrize(("kind", "called"), [("glb", "gltf"), ("gltf", "glb")])
def test_a_gltf_may_be_called_the_other(kind, called, tmp_path):
    files = BOX.export(file_type=kind)
    for name, data in ({"m.glb": files} if kind == "glb" else files).items():
        (tmp_path / name).write_bytes(data)
    written = tmp_path / ("m.glb" if kind == "glb" else "model.gltf")
    assert area(load_surface(written.rename(tmp_path / f"m.{called}"))) == pytest.approx(22)


STAND_INS = {
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
    "a page of HTML": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "an empty file": b"",
}


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply", "stl"])
@pytest.mark.parametrize("what", STAND_INS)
def test_what_downloads_leave_in_a_mesh_s_stead_is_named(what, suffix, tmp_path):
    (tmp_path / f"m.{suffix}").write_bytes(STAND_INS[what])
    with pytest.raises(ValueError, match=rf"m\.{suffix}: wanted a mesh; got {what}.*(again|git lfs pull)"):
        load_surface(tmp_path / f"m.{suffix}")


WEIGHTED = {"a weight first": "1 1 0 0", "an alpha last": "1 0 0 1", "three": "1 0 0", "of 255": "255 0 0"}


@pytest.mark.parametrize("kind", WEIGHTED)
def test_points_of_an_obj_may_have_colours(kind, tmp_path):
    points = "".join(f"v {point} {WEIGHTED[kind]}\n" for point in ("0 0 0", "1 0 0", "0 1 0"))
    (tmp_path / "m.obj").write_text(points + "f 1 2 3\n")
    assert colour_of(load_surface(tmp_path / "m.obj")) == (255, 0, 0)


@pytest.mark.parametrize("words", ["1 0 0", "255 0 0", "1e0 0.0 0"])
def test_colours_of_an_mtl_may_be_of_255(words, tmp_path):
    (tmp_path / "m.obj").write_text("mtllib m.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl r\nf 1 2 3 # one\n")
    (tmp_path / "m.mtl").write_text(f"newmtl r\nKd {words}\n")
    assert colour_of(load_surface(tmp_path / "m.obj")) == (255, 0, 0)


def test_white_points_of_an_obj_leave_its_material_its_colour(tmp_path):
    points = "".join(f"v {point} 1 1 1\n" for point in ("0 0 0", "1 0 0", "0 1 0"))
    (tmp_path / "m.obj").write_text(f"mtllib m.mtl\n{points}usemtl r\nf 1 2 3\n")
    (tmp_path / "m.mtl").write_text("newmtl r\nKd 1 0 0\n")
    assert colour_of(load_surface(tmp_path / "m.obj")) == (255, 0, 0)


LIBRARIES = {
    "textures beside it": ("mats/o.mtl", "mats/o.mtl", "mats/wood.png", "wood.png"),
    "textures below it": ("mats/o.mtl", "mats/o.mtl", "mats/maps/wood.png", "maps/wood.png"),
    "the only one": ("untitled.mtl", "thing.mtl", "wood.png", "wood.png"),
}


@pytest.mark.parametrize("kind", LIBRARIES)
def test_an_mtl_elsewhere_is_found_with_its_textures(kind, tmp_path):
    named, lies, picture, called = LIBRARIES[kind]
    folder = tmp_path / "model"
    folder.mkdir()
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\n"
    (folder / "m.obj").write_text(f"mtllib {named}\n{corners}usemtl r\nf 1/1 2/1 3/1\n")
    (folder / lies).parent.mkdir(exist_ok=True)
    (folder / lies).write_text(f"newmtl r\nmap_Kd {called}\n")
    texture(folder / picture)
    surface = load_surface(folder / "m.obj")
    assert colour_of(surface) == RED
    assert surface.notes == ()


def test_an_obj_without_an_mtl_says_so_where_it_may_have_textures(tmp_path):
    (tmp_path / "m.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n")
    assert load_surface(tmp_path / "m.obj").notes == ("no MTL: textures, if it has any, are left out",)


def test_black_that_glows_has_the_colour_it_glows_in(tmp_path):
    (tmp_path / "m.mtl").write_text("newmtl m\nKd 0 0 0\nKe 0.8 0.2 0.4\nnewmtl n\nKd 1 0 0\nKe 0.8 0.2 0.4\n")
    for name, shown in (("m", (204, 51, 102)), ("n", (255, 0, 0))):
        words = f"mtllib m.mtl\nusemtl {name}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
        (tmp_path / f"{name}.obj").write_text(words)
        assert colour_of(load_surface(tmp_path / f"{name}.obj")) == shown
