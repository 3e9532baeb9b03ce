"""The data set that comes with the package."""

import re

import numpy as np

from vader3d.data.inspection.faults import object_faults
from vader3d.data.named import open_archive

FREE = re.compile(r"(CC0-1\.0|CC-BY-3\.0|CC-BY-3\.0-US) https://creativecommons\.org/")


def test_furniture_is_a_subset_of_all_and_all_of_it_is_credited():
    furniture, everything = open_archive("furniture"), open_archive("furniture-all")
    assert (len(furniture), len(everything)) == (163, 793)
    assert {record.name for record in furniture.records} < {record.name for record in everything.records}
    for record in everything.records:
        assert record.caption
        assert record.creator
        assert record.source
        assert FREE.match(record.licence)
        assert record.views == 24


def test_no_furniture_is_a_car_or_a_person():
    words = re.compile(r"\b(car|seat leon|bus|truck|man|woman|person|workbench)\b")
    assert not [record.name for record in open_archive("furniture").records if words.search(record.caption)]


def test_some_of_its_objects_are_whole_and_well_seen():
    furniture = open_archive("furniture")
    for index in range(0, len(furniture), 41):
        views = furniture.read(index)
        assert views.pictures.shape == (24, 64, 64, 4)
        assert object_faults(views) == {}
        elevations = np.rad2deg(np.arcsin(views.cameras.centres[:, 2].numpy() / 4))
        assert elevations.min() > -10.01
        assert elevations.max() < 60.01
