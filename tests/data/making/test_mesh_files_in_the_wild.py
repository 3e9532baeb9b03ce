"""Meshes as other programs write them, with what used to get lost."""

import re
import struct
from unicodedata import normalize

import numpy as np
import pytest
import trimesh
from PIL import Image
from surfaces import BLUE, RED, area, colour_of, texture

from vader3d.data.captioning.synsets import words_for
from vader3d.data.making.meshes import Photography, prepare_meshes
from vader3d.data.making.polygons import triangulated
from vader3d.data.making.surface import Z_UP_FROM, load_surface
from vader3d.data.named import open_archive
from vader3d.data.recognition import recognised

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nv 1 1 1\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
FACE = "f 1/1 2/2 3/3 4/4\nf 1/1 2/2 5/4\nf 5/1 1/2 6/3\n"


def obj(
    folder,
    *,
    head="mtllib o.mtl\nusemtl m\n",
    mtl="newmtl m\nKd 1 1 1\nmap_Kd wood.png\n",
    name="o.obj",
    encoding="latin-1",
):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes((head + SQUARE + FACE).encode(encoding))
    (folder / "o.mtl").write_bytes(mtl.encode(encoding))
    return folder / name


def map_of(words):
    return {"mtl": f"newmtl m\nmap_Kd {words}\n"}


LAYOUTS = {
    "beside": ("wood.png", {}),
    "no usemtl": ("wood.png", {"head": "mtllib o.mtl\n"}),
    "no mtllib": ("wood.png", {"head": "usemtl m\n"}),
    "backslashes": ("textures/wood.png", map_of("textures\\wood.png")),
    "path of another machine": ("textures/wood.png", map_of("C:\\Users\\me\\tex\\wood.png")),
    "other case": ("Wood.PNG", map_of("wood.png")),
    "ShapeNet's, above": ("../images/wood.png", map_of("../images/wood.png")),
    "Google's, in a sister folder": ("../materials/textures/wood.png", map_of("wood.png")),
    "Sketchfab's": ("../textures/wood.png", map_of("wood.png")),
    "saved as another kind": ("wood.jpg", map_of("wood.tga")),
    "options": ("wood.png", map_of("-s 1 1 1 -o 0 0 0 -bm 1.0 -clamp on -blendu off wood.png")),
    "blanks in the name": ("my wood.png", map_of("my wood.png")),
    "capitals": ("wood.png", {"mtl": "newmtl m\nKD 1 1 1\nMAP_KD wood.png\n"}),
    "tabs and Windows' lines": ("wood.png", {"mtl": "newmtl m\r\n\tKd 1 1 1\r\n\tmap_Kd\twood.png\r\n"}),
    "several MTLs": ("wood.png", {"head": "mtllib none.mtl o.mtl\nusemtl m\n"}),
    "Latin-1": (
        "Stühle.png",
        {"head": "# grün\nmtllib o.mtl\nusemtl Größe\n", "mtl": "newmtl Größe\nmap_Kd Stühle.png\n"},
    ),
    "UTF-16": ("wood.png", {"encoding": "utf-16"}),
    "a comment behind": ("wood.png", map_of("wood.png # oak")),
    "blanks as %20": ("my wood.png", map_of("my%20wood.png")),
    "names in other case": ("wood.png", {"mtl": "newmtl M\nmap_Kd wood.png\n"}),
    "blanks before options": ("wood.png", map_of("  -blendu on   -o 0.0 0.0 0.0   -s 1.0 1.0 1.0   wood.png")),
    "letters and their marks": (
        normalize("NFD", "Stühle.png"),
        {**map_of(normalize("NFC", "Stühle.png")), "encoding": "utf-8"},
    ),
    "comments behind numbers": ("wood.png", {"head": "v 0 0 0 # a corner\nmtllib o.mtl\nusemtl m\n"}),
    "ambient only": ("wood.png", {"mtl": "newmtl m\nmap_Ka wood.png\n"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_obj_finds_its_texture(layout, tmp_path):
    place, words = LAYOUTS[layout]
    path = obj(tmp_path / "thing" / "models", **words)
    texture(tmp_path / "thing" / "models" / place)
    surface = load_surface(path)
    assert np.allclose(colour_of(surface), RED, atol=3)
    assert surface.notes == ()


def test_a_texture_that_is_nowhere_is_said(tmp_path):
    path = obj(tmp_path / "things")
    report = prepare_meshes([path], tmp_path / "out.zip", Photography(2, 8, 1), processes=1)
    assert "textures left out: wood.png is not there: 1 objects" in str(report)


def test_a_red_and_a_blue_chair_of_shapenet_are_two(tmp_path):
    for name, colour in (("1006be65", RED), ("2ac3f9d1", BLUE)):
        folder = tmp_path / "03001627" / name
        obj(folder / "models", name="model_normalized.obj", **map_of("../images/texture0.png"))
        texture(folder / "images" / "texture0.png", colour)
    report = prepare_meshes([tmp_path], tmp_path / "out.zip", Photography(2, 8, 1), processes=1)
    assert (report.objects, report.skipped) == (2, [])
    records = open_archive(tmp_path / "out.zip").records
    assert [(record.caption, record.category) for record in records] == [("chair", "chair")] * 2


def test_two_sources_may_have_equal_names(tmp_path):
    for folder, colour in (("a", "1 0 0"), ("b", "0 0 1")):
        obj(tmp_path / folder, mtl=f"newmtl m\nKd {colour}\n", name="model.obj")
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "a" / "model.glb")
    prepare_meshes([tmp_path / "a", tmp_path / "b"], tmp_path / "out.zip", Photography(2, 8, 1), processes=1)
    names = sorted(record.name for record in open_archive(tmp_path / "out.zip").records)
    assert names == ["model", "model-glb", "model-obj"]


def test_macs_litter_is_no_mesh(tmp_path):
    obj(tmp_path / "things", mtl="")
    (tmp_path / "things" / "._o.obj").write_bytes(b"\0\5\x16\7")
    report = prepare_meshes([tmp_path / "things"], tmp_path / "out.zip", Photography(2, 8, 1), processes=1)
    assert (report.objects, report.skipped) == (1, [])


@pytest.mark.parametrize(("path", "said"), [("Toy/meshes/model.obj", "Toy"), ("chairs/red_chair.glb", "red chair")])
def test_captions_come_from_the_name_that_says_something(path, said, tmp_path):
    assert words_for(tmp_path / path) == said


def test_texture_options_place_the_texture(tmp_path):
    path = obj(tmp_path, mtl="newmtl m\nmap_Kd -s 2 3 -o 0.5 0.25 0 wood.png\n")
    texture(tmp_path / "wood.png")
    uv = load_surface(path).uv.reshape(-1, 2)
    assert np.allclose((uv.min(0), uv.max(0)), ((0.5, 0.25), (2.5, 3.25)))


def test_a_mask_of_its_own_makes_holes(tmp_path):
    path = obj(tmp_path, mtl="newmtl m\nmap_Kd wood.png\nmap_d leaf.png\n")
    texture(tmp_path / "wood.png")
    Image.new("L", (4, 4), 0).save(tmp_path / "leaf.png")
    assert colour_of(load_surface(path)) is None


@pytest.mark.parametrize("first", range(6))
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2)])
def test_concave_polygons_keep_their_area(first, axes):
    corners = np.array([[0, 0, 0], [3, 0, 0], [3, 1, 0], [1, 1, 0], [1, 3, 0], [0, 3, 0]], float)
    polygon = np.roll(corners, first, 0)[:, axes]
    rows, triples = triangulated(polygon[None])
    a, b, c = polygon[triples].swapaxes(0, 1)
    assert rows.tolist() == [0] * 4
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(5.0)


def test_polygons_of_an_obj_may_be_concave_and_count_backwards(tmp_path):
    words = "v 0 0 0\nv 3 0 0\nv 3 1 0\nv 1 1 0\nv 1 3 0\nv 0 3 0\nf -5 -6 -1 \\\n-2 -3 -4\n"
    (tmp_path / "l.obj").write_text(words)
    assert area(load_surface(tmp_path / "l.obj")) == pytest.approx(5.0)
    (tmp_path / "l.obj").write_text(words.replace("-6", "7"))
    with pytest.raises(ValueError, match=r"l\.obj: f: wanted a number of 1 to 6; got 7"):
        load_surface(tmp_path / "l.obj")


def test_faces_of_an_obj_without_their_texture_coordinates_stay_and_are_told(tmp_path):
    (tmp_path / "q.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\nf 1/1 3/2 4/2\n")
    surface = load_surface(tmp_path / "q.obj")
    assert area(surface) == pytest.approx(1.0)
    assert surface.notes == ("faces name texture coordinates that are not there",)


def test_blenders_ply_of_triangles_and_quads_in_all_encodings(tmp_path):
    points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.5, 2, 0)]
    faces, colour = [(0, 1, 2, 3), (3, 2, 4)], (200, 100, 50, 255)
    head = "ply\nformat {} 1.0\ncomment Created in Blender\nelement vertex 5\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue", "alpha"))
    head += "property float s\nproperty float t\nelement face 2\nproperty list uchar uint vertex_indices\nend_header\n"
    words = "".join(f"{' '.join(map(str, (*p, *colour, 0, 0)))}\n" for p in points)
    words += "".join(f"{len(f)} {' '.join(map(str, f))}\n" for f in faces)
    (tmp_path / "ascii.ply").write_text(head.format("ascii") + words)
    for order, kind in (("<", "binary_little_endian"), (">", "binary_big_endian")):
        body = b"".join(struct.pack(order + "3f4B2f", *p, *colour, 0, 0) for p in points)
        body += b"".join(struct.pack(f"{order}B{len(f)}I", len(f), *f) for f in faces)
        (tmp_path / f"{kind}.ply").write_bytes(head.format(kind).encode() + body)
    for path in tmp_path.glob("*.ply"):
        surface = load_surface(path)
        assert area(surface) == pytest.approx(1.5), path.name
        assert np.allclose(surface.colours, np.array(colour[:3]) / 255)


DAE = """<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><up_axis>{}_UP</up_axis></asset><library_geometries><geometry id="g"><mesh>
<source id="p"><float_array id="a" count="9">0 0 0 1 0 0 0 0 5</float_array><technique_common>
<accessor source="#a" count="3" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>
<param name="Z" type="float"/></accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<triangles count="1"><input semantic="VERTEX" source="#v" offset="0"/><p>0 1 2</p></triangles></mesh></geometry>
</library_geometries><library_visual_scenes><visual_scene id="s"><node id="n"><instance_geometry url="#g"/></node>
</visual_scene></library_visual_scenes><scene><instance_visual_scene url="#s"/></scene></COLLADA>"""


@pytest.mark.parametrize(("up", "tall"), [("Z", 2), ("Y", 1)])
def test_a_collada_says_what_is_up(up, tall, tmp_path):
    pytest.importorskip("collada", reason="pycollada, of the extra `meshes`, is not installed")
    text = DAE.format(up)
    for words in (text.encode(), text.replace('"1.0"?', '"1.0" encoding="utf-16"?').encode("utf-16")):
        (tmp_path / "m.dae").write_bytes(words)
        assert np.ptp(load_surface(tmp_path / "m.dae").triangles.reshape(-1, 3), axis=0).argmax() == tall


def test_what_reads_a_kind_is_named_where_it_is_absent(tmp_path, monkeypatch):
    def absent(*arguments, **options):
        raise ImportError("No module named 'collada'")

    monkeypatch.setattr(trimesh, "load_scene", absent)
    (tmp_path / "m.dae").write_text(DAE.format("Z"))
    with pytest.raises(ValueError, match=r"m\.dae: mesh: wanted what reads dae; got none; pip install"):
        load_surface(tmp_path / "m.dae")


def test_a_texture_whose_alpha_is_all_leftovers_shows(tmp_path):
    path = obj(tmp_path)
    Image.new("RGBA", (8, 8), (*RED, 0)).save(tmp_path / "wood.png")
    assert np.allclose(colour_of(load_surface(path)), RED)


def test_points_alone_are_named(tmp_path):
    head = "ply\nformat ascii 1.0\nelement vertex 1\n" + "".join(f"property float {axis}\n" for axis in "xyz")
    (tmp_path / "cloud.ply").write_text(head + "end_header\n0 0 0\n")
    with pytest.raises(ValueError, match=r"cloud\.ply: ply: wanted faces; got points alone"):
        load_surface(tmp_path / "cloud.ply")


@pytest.mark.parametrize(("axis", "height"), [("X", 1), ("Y", 2), ("Z", 3)])
def test_a_collada_says_which_axis_is_up(axis, height, tmp_path):
    pytest.importorskip("collada", reason="needs pycollada")
    text = trimesh.exchange.dae.export_collada(trimesh.creation.box((1, 2, 3))).decode()
    assert "up_axis" in text
    (tmp_path / "box.dae").write_text(re.sub("<up_axis>[XYZ]_UP", f"<up_axis>{axis}_UP", text))
    corners = load_surface(tmp_path / "box.dae").triangles
    assert np.ptp(corners.reshape(-1, 3), axis=0)[2] == pytest.approx(height)
    assert np.linalg.det(Z_UP_FROM[axis.lower()]) == pytest.approx(1)


def test_google_s_scanned_objects_are_read_as_they_are_laid_out(tmp_path):
    for name, colour in (("Blue_Shoe", BLUE), ("Red_Shoe", RED)):
        obj(tmp_path / "gso" / name / "meshes", name="model.obj", **map_of("texture.png"))
        texture(tmp_path / "gso" / name / "materials" / "textures" / "texture.png", colour)
        texture(tmp_path / "gso" / name / "thumbnails" / "0.jpg", (0, 255, 0))
        (tmp_path / "gso" / name / "metadata.pbtxt").write_text(f'name: "{name}"\n')
    (tmp_path / "said.csv").write_text("Red_Shoe,a red sneaker\n")
    assert recognised(tmp_path / "gso").command == "meshes"
    options = {"captions": tmp_path / "said.csv", "processes": 1}
    prepare_meshes([tmp_path / "gso"], tmp_path / "out.zip", Photography(3, 12, 1), **options)
    archive = open_archive(tmp_path / "out.zip")
    assert [record.name for record in archive.records] == ["Blue_Shoe.meshes.model", "Red_Shoe.meshes.model"]
    assert [record.caption for record in archive.records] == ["Blue Shoe", "a red sneaker"]
    for number, channel in ((0, 2), (1, 0)):
        pictures = archive.read(number).pictures
        assert set(pictures[pictures[..., 3] > 128][:, :3].argmax(-1).tolist()) == {channel}


def test_a_binary_stl_may_begin_as_one_in_words_and_have_more_behind(tmp_path):
    data = trimesh.creation.box((1, 2, 3)).export(file_type="stl")
    (tmp_path / "m.stl").write_bytes(b"solid made" + data[10:] + bytes(2))
    assert area(load_surface(tmp_path / "m.stl")) == pytest.approx(22)


def test_a_ply_may_name_its_texture_in_small_letters(tmp_path):
    texture(tmp_path / "wood.png")
    head = ["ply", "format ascii 1.0", "comment texturefile WOOD.PNG", "element vertex 3"]
    head += [f"property float {name}" for name in ("x", "y", "z", "s", "t")]
    head += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    (tmp_path / "m.ply").write_text("\n".join([*head, "0 0 0 .5 .5", "1 0 0 .5 .5", "0 1 0 .5 .5", "3 0 1 2"]) + "\n")
    assert colour_of(load_surface(tmp_path / "m.ply")) == RED


def test_models_of_other_programs_are_named(tmp_path):
    folder = tmp_path / "things"
    folder.mkdir()
    (folder / "Chair.FBX").write_bytes(b"Kaydara FBX Binary")
    texture(folder / "wood.png")
    with pytest.raises(ValueError, match=r"sources: wanted .3mf, .* got Chair.FBX; save such as GLB"):
        prepare_meshes([folder], tmp_path / "out.zip", Photography(2, 16), processes=1)
    with pytest.raises(ValueError, match=r"got Chair.FBX beside pictures; save such as GLB"):
        recognised(folder)
    trimesh.creation.box((1, 2, 3)).export(folder / "box.ply")
    report = prepare_meshes([folder], tmp_path / "out.zip", Photography(2, 16), processes=1)
    assert "1 files left out, e.g. Chair.FBX" in str(report)
