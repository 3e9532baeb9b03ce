"""glTF as its specification and other programs have it, with what used to get lost."""

import base64
import json
import sys
import tracemalloc

import numpy as np
import pytest
from glbs import Glb
from PIL import Image
from surfaces import BLUE, RED, area, colour_of, texture

from vader3d.data.making.surface import load_surface


def solid(colour, size=8, mode="RGB"):
    return Image.new(mode, (size, size), colour)


COLOURS = {
    "floats": (np.full((4, 3), 0.5, np.float32), "VEC3", {}),
    "floats with alpha": (np.full((4, 4), 0.5, np.float32), "VEC4", {}),
    "16 bits": (np.full((4, 4), 32768, np.uint16), "VEC4", {"normalized": True}),
    "8 bits": (np.full((4, 4), 128, np.uint8), "VEC4", {"normalized": True}),
}


@pytest.mark.parametrize("with_uv", [True, False])
@pytest.mark.parametrize("kind", COLOURS)
def test_gltf_colours_of_vertices_are_linear_light_also_beside_uvs(kind, with_uv, tmp_path):
    glb = Glb()
    glb.material(pbrMetallicRoughness={"metallicFactor": 0}, doubleSided=True)
    values, width, more = COLOURS[kind]
    glb.attributes["COLOR_0"] = glb.accessor(values, width, **more)
    if not with_uv:
        del glb.attributes["TEXCOORD_0"]
    assert np.allclose(colour_of(glb.load(tmp_path)), 188, atol=1)


def test_colours_of_vertices_tint_a_texture(tmp_path):
    glb = Glb().textured(solid((255, 128, 0)))
    glb.attributes["COLOR_0"] = glb.accessor(np.tile(np.float32([1, 0, 1]), (4, 1)), "VEC3")
    assert np.allclose(colour_of(glb.load(tmp_path)), (255, 0, 0), atol=1)


ALPHA = [
    ({}, 0, True),
    ({"alphaMode": "OPAQUE"}, 0, True),
    ({"alphaMode": "BLEND"}, 100, True),
    ({"alphaMode": "MASK"}, 100, False),
    ({"alphaMode": "MASK", "alphaCutoff": 0.2}, 100, True),
    ({"alphaMode": "MASK", "alphaCutoff": 0.9}, 200, False),
]


@pytest.mark.parametrize(("material", "alpha", "seen"), ALPHA)
def test_alpha_is_read_as_the_material_says(material, alpha, seen, tmp_path):
    surface = Glb().textured(solid((*RED, alpha), mode="RGBA"), **material).load(tmp_path)
    assert (colour_of(surface) is not None) == seen


def quarters():
    """Red, green, blue, yellow, from top left along the rows."""
    image = Image.new("RGB", (8, 8))
    for number, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))):
        image.paste(colour, (number % 2 * 4, number // 2 * 4, number % 2 * 4 + 4, number // 2 * 4 + 4))
    return image


def transformed(**how):
    return {"extensions": {"KHR_texture_transform": how}}


def test_texture_transforms_are_applied(tmp_path):
    for offset, colour in (((0, 0), (255, 0, 0)), ((0.5, 0), (0, 255, 0)), ((0, 0.5), (0, 0, 255))):
        glb = Glb().textured(quarters(), transformed(scale=[0.5, 0.5], offset=offset))
        assert colour_of(glb.load(tmp_path)) == colour
    half_turn = Glb().textured(quarters(), transformed(scale=[0.5, 0.5], rotation=np.pi / 2))
    assert colour_of(half_turn.load(tmp_path)) == (0, 0, 255)  # u' = v, v' = -u: the lower left quarter


def test_a_second_set_of_uvs_is_used_where_the_material_asks(tmp_path):
    glb = Glb().textured(quarters(), {"texCoord": 1})
    glb.attributes["TEXCOORD_1"] = glb.accessor(np.full((4, 2), 0.75, np.float32), "VEC2")
    assert colour_of(glb.load(tmp_path)) == (255, 255, 0)


def test_textures_of_16_bits_are_not_cut(tmp_path):
    grey = Image.fromarray(np.full((4, 4), 32768, np.uint16))
    assert np.allclose(colour_of(Glb().textured(grey).load(tmp_path)), 128, atol=1)


def test_mirrored_textures_are_mirrored(tmp_path):
    glb = Glb().textured(quarters(), transformed(scale=[0.2, 0.2], offset=[1.05, 0.05]))
    glb.json["samplers"] = [{"wrapS": 33648}]
    glb.json["textures"][0]["sampler"] = 0
    assert colour_of(glb.load(tmp_path)) == (0, 255, 0)


def test_specular_glossiness_has_colour_and_texture(tmp_path):
    glb = Glb()
    gloss = {"diffuseFactor": [1, 1, 1, 1], "diffuseTexture": {"index": glb.picture(solid(RED))}}
    glb.material(extensions={"KHR_materials_pbrSpecularGlossiness": gloss})
    assert colour_of(glb.load(tmp_path)) == RED


def test_ktx2_is_said_and_its_stand_in_taken(tmp_path):
    glb = Glb().textured(solid(RED))
    glb.json["textures"][0] = {"source": 0, "extensions": {"KHR_texture_basisu": {"source": 1}}}
    glb.json["images"].append({"bufferView": glb.view(b"\xabKTX 20\xbb"), "mimeType": "image/ktx2"})
    assert colour_of(glb.load(tmp_path)) == RED
    del glb.json["textures"][0]["source"]
    assert "textures left out: KHR_texture_basisu cannot be read" in "".join(glb.load(tmp_path).notes)


def test_what_is_not_read_is_said(tmp_path):
    glb = Glb().textured(solid(RED))
    glb.json["images"][0]["bufferView"] = glb.view(b"\xabKTX 20\xbb\r\n\x1a\n")
    assert "picture: wanted PNG, JPEG or WebP; got KTX2; save it anew" in glb.load(tmp_path).notes[0]
    glb.json["extensionsRequired"] = ["KHR_materials_unlit", "VENDOR_folds"]
    assert "VENDOR_folds, which the file requires, is not read" in glb.load(tmp_path).notes
    assert len(glb.load(tmp_path).notes) == 2
    glb.json["asset"]["version"] = "1.0"
    with pytest.raises(ValueError, match="mesh: wanted glTF 2; got glTF 1"):
        glb.load(tmp_path)


def test_a_buffer_that_stands_in_for_meshopt_is_named(tmp_path):
    glb = Glb()
    glb.json["bufferViews"][0]["buffer"] = 1
    glb.more_buffers = [{"byteLength": 99, "extensions": {"EXT_meshopt_compression": {"fallback": True}}}]
    with pytest.raises(ValueError, match="mesh: wanted the bytes of buffer 1; got none, as where meshopt packs them"):
        glb.load(tmp_path)


def test_a_damaged_texture_is_said(tmp_path):
    glb = Glb().textured(solid(RED))
    glb.json["images"][0]["bufferView"] = glb.view(b"no picture")
    surface = glb.load(tmp_path)
    assert "textures left out" in surface.notes[0]
    assert colour_of(surface) == (255, 255, 255)


def test_a_skin_stands_in_its_rest_pose(tmp_path):
    glb = Glb()
    glb.attributes["JOINTS_0"] = glb.accessor(np.tile(np.uint8([1, 0, 0, 0]), (4, 1)), "VEC4")
    glb.attributes["WEIGHTS_0"] = glb.accessor(np.tile(np.float32([1, 0, 0, 0]), (4, 1)), "VEC4")
    bind = np.stack([np.eye(4, dtype=np.float32), np.diag(np.float32([2, 2, 2, 1]))])
    glb.json["skins"] = [{"joints": [1, 2], "inverseBindMatrices": glb.accessor(bind.reshape(2, 16), "MAT4")}]
    glb.json["nodes"] = [{"mesh": 0, "skin": 0, "scale": [1, 7, 1]}, {"children": [2]}, {"translation": [0, 3, 0]}]
    glb.json["scenes"] = [{"nodes": [0, 1]}]
    points = glb.load(tmp_path).triangles.reshape(-1, 3)
    assert np.allclose((points.min(0), points.max(0)), ((0, 3, 0), (2, 5, 0)))


def test_instances_of_a_gpu_are_all_there(tmp_path):
    glb = Glb()
    where = glb.accessor(np.float32([[0, 0, 0], [10, 0, 0], [0, 10, 0]]), "VEC3")
    glb.json["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": where}}}
    surface = glb.load(tmp_path)
    assert len(surface.triangles) == 6
    assert np.allclose(surface.triangles.reshape(-1, 3).max(0), (11, 11, 0))


def test_nodes_turn_scale_and_morph(tmp_path):
    glb = Glb()
    target = glb.accessor(np.tile(np.float32([0, 0, 4]), (4, 1)), "VEC3")
    glb.primitive["targets"] = [{"POSITION": target}]
    glb.json["meshes"][0]["weights"] = [0.5]
    turn = [0, 0, np.sin(np.pi / 4), np.cos(np.pi / 4)]  # x to y
    glb.json["nodes"] = [{"mesh": 0, "scale": [2, 1, 1]}, {"children": [0], "rotation": turn, "translation": [5, 0, 0]}]
    glb.json["scenes"] = [{"nodes": [1]}]
    points = glb.load(tmp_path).triangles.reshape(-1, 3)
    assert np.allclose((points.min(0), points.max(0)), ((4, 0, 2), (5, 2, 2)))


def test_numbers_that_are_quantised_or_sparse_are_read(tmp_path):
    glb = Glb()
    points = np.array([[0, 0, 0, 0], [127, 0, 0, 0], [127, 127, 0, 0], [0, 127, 0, 0]], np.int8)
    quantised = glb.accessor(points, "VEC3", normalized=True)
    glb.json["bufferViews"][-1]["byteStride"] = 4
    glb.attributes["POSITION"] = quantised
    rows = {"bufferView": glb.view(np.uint16([2]).tobytes()), "componentType": 5123}
    values = {"bufferView": glb.view(np.int8([127, 127, 127, 0]).tobytes())}
    glb.json["accessors"][quantised]["sparse"] = {"count": 1, "indices": rows, "values": values}
    found = glb.load(tmp_path).triangles.reshape(-1, 3)
    assert np.allclose(found.max(0), (1, 1, 1))


def test_strips_and_fans_are_triangles(tmp_path):
    for mode in (5, 6):
        glb = Glb()
        glb.primitive["mode"] = mode
        order = [0, 1, 3, 2] if mode == 5 else [0, 1, 2, 3]
        glb.primitive["indices"] = glb.accessor(np.array(order, np.uint16), "SCALAR")
        assert area(glb.load(tmp_path)) == pytest.approx(1.0)


PACKED = {"KHR_draco_mesh_compression": "Draco", "EXT_meshopt_compression": "meshopt"}


@pytest.mark.parametrize("extension", PACKED)
def test_packed_meshes_are_named_where_nothing_unpacks_them(extension, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    glb = Glb()
    glb.json["extensionsRequired"] = [extension]
    with pytest.raises(ValueError, match=rf"m.glb: mesh: wanted plain glTF; got one packed by {PACKED[extension]}"):
        glb.load(tmp_path)


def test_a_part_that_is_packed_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    glb = Glb()
    packed = {**glb.primitive, "extensions": {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {}}}}
    glb.json["meshes"][0]["primitives"].append(packed)
    surface = glb.load(tmp_path)
    assert len(surface.triangles) == 2
    assert surface.notes == ("a part packed by Draco is left out; pip install 'vader3d[meshes]'",)


def packed_by_draco():
    """The square, its numbers in Draco alone, and its upper half in another colour."""
    draco = pytest.importorskip("DracoPy", reason="needs DracoPy")
    glb = Glb().textured(solid(RED))
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float64)
    data = draco.encode(points, np.array([[0, 1, 2], [0, 2, 3]], np.uint32), tex_coord=uv, preserve_order=True)
    numbers = {column["attribute_type"]: column["unique_id"] for column in draco.decode(data).attributes}
    for accessor in glb.json["accessors"]:
        del accessor["bufferView"]
    named = {"POSITION": numbers[0], "TEXCOORD_0": numbers[3]}
    glb.primitive["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": glb.view(data), "attributes": named}}
    glb.json["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    return glb, data


def test_a_mesh_packed_by_draco_is_unpacked(tmp_path):
    surface = packed_by_draco()[0].load(tmp_path)
    assert area(surface) == pytest.approx(1.0, abs=1e-3)
    assert colour_of(surface) == RED
    assert surface.uv.reshape(-1, 2).max(0) == pytest.approx([1, 1], abs=1e-3)


def test_damaged_draco_is_named(tmp_path):
    glb, data = packed_by_draco()
    glb.binary = glb.binary.replace(data[:30], bytes(30))
    with pytest.raises(ValueError, match=r"m\.glb: mesh: wanted a part packed by Draco .*; got a damaged"):
        glb.load(tmp_path)


def test_a_gltf_may_have_its_numbers_in_words_and_its_texture_beside(tmp_path):
    glb = Glb().textured(solid(RED))
    texture(tmp_path / "textures" / "my wood.png", BLUE)
    glb.json["images"] = [{"uri": "textures/my%20wood.png"}]
    data = "data:application/octet-stream;base64," + base64.b64encode(glb.binary).decode()
    document = {**glb.json, "buffers": [{"byteLength": len(glb.binary), "uri": data}]}
    (tmp_path / "m.gltf").write_text(json.dumps(document))
    assert colour_of(load_surface(tmp_path / "m.gltf")) == BLUE


def test_hidden_nodes_are_left_out(tmp_path):
    glb = Glb()
    hidden = {"KHR_node_visibility": {"visible": False}}
    glb.json["nodes"].append({"mesh": 0, "scale": [3, 3, 3], "extensions": hidden})
    glb.json["scenes"] = [{"nodes": [0, 1]}]
    assert area(glb.load(tmp_path)) == pytest.approx(1)


def test_nodes_in_a_circle_are_refused(tmp_path):
    glb = Glb()
    glb.json["nodes"][0]["children"] = [0]
    with pytest.raises(ValueError, match="nodes: wanted a tree; got node 0 twice"):
        glb.load(tmp_path)


def test_many_nodes_share_one_texture(tmp_path):
    glb = Glb().textured(solid(RED, size=256))
    glb.json["nodes"] = [{"mesh": 0, "translation": [number, 0, 0]} for number in range(300)]
    glb.json["scenes"] = [{"nodes": list(range(300))}]
    tracemalloc.start()
    surface = glb.load(tmp_path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(surface.textures) == 1
    assert len(surface.triangles) == 600
    assert most < 8e6  # one texture is .26 MB, 300 would be 79


def test_what_shines_by_its_own_light_alone_has_that_colour(tmp_path):
    glb = Glb()
    glb.material(pbrMetallicRoughness={"baseColorFactor": [0, 0, 0, 1]}, emissiveFactor=[1, 0, 0])
    assert colour_of(glb.load(tmp_path)) == (255, 0, 0)
    glb = Glb()
    base, light = {"baseColorFactor": [0, 0, 0, 1]}, {"index": glb.picture(solid(RED))}
    glb.material(pbrMetallicRoughness=base, emissiveFactor=[1, 1, 1], emissiveTexture=light)
    assert colour_of(glb.load(tmp_path)) == RED
    glb = Glb().textured(solid(BLUE), emissiveFactor=[1, 1, 1])
    assert colour_of(glb.load(tmp_path)) == BLUE
