"""What of meshes shows and how: glass, points that are clear, variants, several textures of one file."""

import io
import struct
import zipfile

import numpy as np
import pytest
from glbs import Glb
from PIL import Image
from surfaces import BLUE, RED, area, colour_of, texture

from vader3d.data.making.surface import load_surface


def test_glass_that_is_faint_all_over_shows(tmp_path):
    glass = Glb().textured(Image.new("RGBA", (4, 4), (*RED, 80)), alphaMode="BLEND").load(tmp_path)
    assert colour_of(glass) == RED
    picture = Image.new("RGBA", (4, 4), (*RED, 80))
    picture.paste((*BLUE, 255), (0, 0, 2, 4))
    decal = Glb().textured(picture, alphaMode="BLEND").load(tmp_path)
    assert colour_of(decal, at=(0.8, 0.1)) is None
    nothing = Glb().textured(Image.new("RGBA", (4, 4), (*RED, 0)), alphaMode="BLEND").load(tmp_path)
    assert colour_of(nothing) is None


CLEAR = [("MASK", 0.4, 0.5), ("MASK", 0.6, 1), ("BLEND", 0, 0.5), ("BLEND", 0.2, 1), ("OPAQUE", 0, 1)]


@pytest.mark.parametrize(("mode", "alpha", "left"), CLEAR)
def test_clear_points_take_their_faces_away(mode, alpha, left, tmp_path):
    glb = Glb()
    colours = np.ones((4, 4), np.float32)
    colours[:3, 3] = alpha
    glb.attributes["COLOR_0"] = glb.accessor(colours, "VEC4")
    glb.material(alphaMode=mode)
    assert area(glb.load(tmp_path)) == pytest.approx(left)


def test_a_part_that_has_materials_for_variants_alone_has_the_first(tmp_path):
    glb = Glb()
    glb.material(pbrMetallicRoughness={"baseColorFactor": [0, 0, 1, 1]})
    mappings = [{"material": glb.primitive.pop("material"), "variants": [0]}]
    glb.primitive["extensions"] = {"KHR_materials_variants": {"mappings": mappings}}
    assert colour_of(glb.load(tmp_path)) == (0, 0, 255)


def test_a_scene_that_is_not_there_is_all_of_them(tmp_path):
    glb = Glb()
    glb.json["scene"] = 7
    assert area(glb.load(tmp_path)) == pytest.approx(1)


def test_textures_of_basis_are_named_with_what_mends_them(tmp_path):
    glb = Glb().textured(Image.new("RGB", (4, 4), RED))
    glb.json["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]
    (note,) = glb.load(tmp_path).notes
    assert note.startswith("textures left out: KHR_texture_basisu cannot be read; save them as PNG")


def test_faces_of_a_ply_may_have_textures_of_their_own(tmp_path):
    for name, colour in (("a.png", RED), ("b.png", BLUE)):
        texture(tmp_path / name, colour)
    head = ["ply", "format binary_little_endian 1.0", "comment TextureFile a.png", "comment TextureFile b.png"]
    head += ["element vertex 4", *(f"property float {axis}" for axis in "xyz"), "element face 2"]
    head += ["property list uchar int vertex_indices", "property list uchar float texcoord", "property int texnumber"]
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], "<f4").tobytes()
    faces = (struct.pack("<B3iB6fi", 3, 0, n, n + 1, 6, *[0.5] * 6, number) for n, number in ((1, 0), (2, 1)))
    (tmp_path / "m.ply").write_bytes("\n".join([*head, "end_header\n"]).encode() + points + b"".join(faces))
    surface = load_surface(tmp_path / "m.ply")
    assert sorted(tuple(surface.textures[number][0, 0, :3]) for number in surface.texture) == sorted([RED, BLUE])


def test_an_stl_may_have_several_solids_and_no_end(tmp_path):
    corners = ("0 0 0", "1 0 0", "0 1 0")
    facet = "facet normal 0 0 1\nouter loop\n" + "".join(f"vertex {at}\n" for at in corners) + "endloop\nendfacet\n"
    (tmp_path / "m.stl").write_text(f"solid\n{facet}")
    assert area(load_surface(tmp_path / "m.stl")) == pytest.approx(0.5)
    (tmp_path / "m.stl").write_text(
        f"solid a\n{facet}endsolid a\nsolid b\n{facet.replace('0 1 0', '0 3 0')}endsolid b\n"
    )
    assert area(load_surface(tmp_path / "m.stl")) == pytest.approx(2)


def test_strips_of_a_ply_are_named(tmp_path):
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    strips = "element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    (tmp_path / "m.ply").write_text(f"{head}{strips}0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    with pytest.raises(ValueError, match=r"ply: wanted faces; got strips of triangles \(tristrips\); save it anew"):
        load_surface(tmp_path / "m.ply")


@pytest.mark.parametrize("there", [True, False])
def test_a_3mf_has_textures(there, tmp_path):
    names = 'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02" xmlns:m="m"'
    picture = '<m:texture2d id="4" path="/3D/Textures/t.png" contenttype="image/png"/>'
    places = "".join(f'<m:tex2coord u="{u}" v="{v}"/>' for u, v in ((0.1, 0.1), (0.4, 0.1), (0.1, 0.4)))
    group = f'<m:texture2dgroup id="5" texid="4">{places}</m:texture2dgroup>'
    points = "".join(f'<vertex x="{x}" y="{y}" z="0"/>' for x, y in ((0, 0), (1, 0), (0, 1)))
    face = '<triangle v1="0" v2="1" v3="2" pid="5" p1="0" p2="1" p3="2"/>'
    mesh = f"<mesh><vertices>{points}</vertices><triangles>{face}</triangles></mesh>"
    inner = f'<resources>{picture}{group}<object id="1">{mesh}</object></resources><build><item objectid="1"/></build>'
    half = Image.new("RGB", (8, 8), BLUE)
    half.paste(RED, (0, 4, 4, 8))  # the lower left quarter
    data = io.BytesIO()
    half.save(data, "PNG")
    with zipfile.ZipFile(tmp_path / "m.3mf", "w") as opened:
        opened.writestr("3D/3dmodel.model", f"<model {names}>{inner}</model>")
        if there:
            opened.writestr("3D/Textures/t.png", data.getvalue())
    surface = load_surface(tmp_path / "m.3mf")
    assert colour_of(surface) == (RED if there else (178, 178, 178))
    assert bool(surface.notes) is not there
