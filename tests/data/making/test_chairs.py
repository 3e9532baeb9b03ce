"""The workshop's pieces are the same for ever, as captioned, closed, and whole in the pictures."""

import numpy as np
import pytest
import torch
import trimesh

from vader3d.colour import COLOURS
from vader3d.data.captioning.template import attributes
from vader3d.data.making.chairs import PAINTS, STEEL, WOODS, build, cached_chairs, design, prepare_chairs
from vader3d.data.making.joinery import box, strut
from vader3d.data.making.surface import OBJECT_RADIUS
from vader3d.data.named import open_archive


def test_a_seed_and_a_number_decide_everything():
    assert design(3, 17) == design(3, 17)
    assert len({design(0, index) for index in range(300)}) == 300
    assert design(0, 5) != design(1, 5)


def test_captions_say_what_there_is():
    for index in range(200):
        piece = design(0, index)
        words = piece.caption
        assert piece.paint in PAINTS or (piece.paint in WOODS and piece.material == "wooden")
        assert f"{piece.paint} {piece.material} {piece.kind} with " in words
        assert ("arms" in words) == piece.arms
        assert ("back" in words) == (piece.kind == "chair")
        assert ("round" in words) == (piece.seat == "round")
        assert ("cushion" in words) == bool(piece.cushion)
        assert ("three" in words) == (piece.leg_count == 3)
    assert design(0, 1).caption == "a pink wooden chair with four straight legs, a solid back and arms"


def test_every_piece_has_five_exact_wordings_and_its_attributes():
    assert design(0, 0).captions == (
        "a red metal chair with a grey steel pedestal, a ladder back and arms",
        "a red chair",
        "a metal chair with a square red seat, a red ladder back, a grey steel pedestal and red arms",
        "a red metal chair",
        "a chair, red",
    )
    for index in range(200):
        piece = design(0, index)
        tags = attributes(piece.tags)
        full, brief, parted, made_of, turned = piece.captions
        assert turned.split(" ", 1)[1] == f"{tags['type']}, {tags['colour']}"
        assert brief.split(" ", 1)[1] == f"{tags['colour']} {tags['type']}"
        assert (tags["type"], tags["legs"], tags["back"]) == (piece.kind, piece.legs, piece.back)
        assert tags["colour"] in COLOURS
        assert made_of in full.replace("round ", "").replace("an ", "a ") or made_of[2:] in full
        assert (tags["arms"] == "yes") == piece.arms == ("arms" in parted)
        assert ("grey steel" in full) == (piece.leg_colour == STEEL) == ("grey steel" in parted)
        assert tags.get("leg-count", "4") == str(piece.leg_count)
        assert f"{tags['seat']} {tags['colour']}" in parted


def test_the_series_holds_chairs_foremost_and_all_styles():
    pieces = [design(0, index) for index in range(400)]
    kinds = [piece.kind for piece in pieces]
    assert kinds.count("chair") > 0.55 * len(kinds)
    assert kinds.count("table") > 0.1 * len(kinds)
    assert {piece.back for piece in pieces} == {"none", "slatted", "ladder", "solid", "framed"}
    assert {piece.legs for piece in pieces} == {"straight", "tapered", "splayed", "pedestal", "sled"}


@pytest.mark.parametrize(
    "solid",
    [box((0, 0, 0), (1, 2, 3)), strut((0, 0, 0), (1, 1, 2), 0.3), strut((0, 0, 1), (0, 0, 0), 0.2, 0.1, sides=4)],
)
def test_solids_are_closed_and_turned_outwards(solid):
    mesh = trimesh.Trimesh(*solid, process=False)
    assert mesh.is_watertight
    assert mesh.volume > 0


def test_a_box_and_a_square_bar_are_as_large_as_asked():
    assert trimesh.Trimesh(*box((0, 0, 0), (1, 2, 3)), process=False).volume == pytest.approx(6)
    assert trimesh.Trimesh(*strut((0, 0, 0), (0, 0, 2), 0.5, sides=4), process=False).volume == pytest.approx(2)


def test_meshes_stand_in_the_cube_on_level_feet():
    for index in range(40):
        piece = design(1, index)
        mesh = build(piece)
        assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(OBJECT_RADIUS)
        assert np.allclose(mesh.bounds.sum(0), 0, atol=1e-9)
        assert mesh.is_watertight
        if piece.back != "none":  # the back leans backwards, away from the front at -y
            top = mesh.vertices[mesh.vertices[:, 2] > mesh.bounds[1, 2] - 0.05]
            assert top[:, 1].mean() > 0


def test_an_archive_of_them_keeps_pictures_captions_and_meshes(tmp_path):
    prepare_chairs(tmp_path / "a.zip", count=3, views=6, size=32, processes=1)
    archive = open_archive(tmp_path / "a.zip")
    for index, record in enumerate(archive.records):
        assert [caption.text for caption in record.captions] == list(design(0, index).captions)
        assert {caption.source for caption in record.captions} == {"chairs"}
    for index in range(3):
        pictures, cameras = archive.read(index)
        mesh = archive.true_mesh(index)
        assert np.allclose(mesh.vertices, build(design(0, index)).vertices, atol=1e-6)
        # the mesh lies in the cameras' world: its vertices fall on the silhouettes
        pixels, _ = cameras.project(torch.from_numpy(np.array(mesh.vertices)).float().expand(6, -1, 3))
        for picture, points in zip(pictures, pixels.numpy(), strict=True):
            low, high = points.min(0), points.max(0)
            rows, columns = np.nonzero(picture[..., 3])
            assert np.abs([columns.min() - low[0], columns.max() + 1 - high[0]]).max() < 1.3
            assert np.abs([rows.min() - low[1], rows.max() + 1 - high[1]]).max() < 1.3
    longer = prepare_chairs(tmp_path / "b.zip", count=4, views=6, size=32, processes=1)
    assert longer.objects == 4
    assert np.array_equal(open_archive(tmp_path / "b.zip").read(2).pictures, archive.read(2).pictures)


def test_named_sets_are_made_once_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VADER3D_CACHE", str(tmp_path / "cache"))
    archive = open_archive("chairs:2")
    assert len(archive) == 2
    assert archive.path.parent == tmp_path / "cache"
    assert [caption.text for caption in archive.records[1].captions] == list(design(0, 1).captions)
    stamp = archive.path.stat().st_mtime_ns
    assert cached_chairs("chairs:2").stat().st_mtime_ns == stamp
    for wrong in ("chairs:0", "chairs:many", "chairs:-3"):
        with pytest.raises(ValueError, match="chairs:N"):
            open_archive(wrong)


def test_a_count_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="count: wanted at least 1; got 0"):
        prepare_chairs(tmp_path / "a.zip", count=0)


def test_chairs_from_near_the_front_are_chairs_alone(tmp_path):
    prepare_chairs(tmp_path / "front.zip", count=3, views=8, size=16, processes=1, azimuths=40)
    archive = open_archive(str(tmp_path / "front.zip"))
    assert [record.category for record in archive.records] == ["chair"] * 3
    for index in range(3):
        centres = archive.read(index).cameras.centres.numpy()
        degrees = np.rad2deg(np.arctan2(centres[:, 1], centres[:, 0])) + 90
        assert np.abs(degrees).max() <= 40.001
        assert np.ptp(degrees) > 40
    for wrong in (0.0, 200.0):
        with pytest.raises(ValueError, match=f"azimuths: wanted above 0 and at most 180; got {wrong}"):
            prepare_chairs(tmp_path / "none.zip", azimuths=wrong)
