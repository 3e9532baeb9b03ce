"""What is said of objects reaches stage 2 as it was."""

import pytest

from vader3d.captions import Caption
from vader3d.data.archive.format import ObjectRecord
from vader3d.text.captions import OBJECTS, read_objects, write_objects


def test_what_was_written_comes_back(tmp_path):
    records = [ObjectRecord("стол", (Caption("ein Tisch", "me"), Caption("a table")), "table", ("type:table",))]
    write_objects(tmp_path / OBJECTS, [*records, ObjectRecord("b")])
    table, other = read_objects(tmp_path / OBJECTS)
    assert (table.name, table.category, table.captions) == ("стол", "table", records[0].captions)
    assert (table.caption, table.tags) == ("ein Tisch", ("type:table",))
    assert (other.name, other.captions, other.caption) == ("b", (), "")


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / OBJECTS).write_text('{"name": "a", "category": "", "captions": []}\n{"name": "b"}\n')
    with pytest.raises(ValueError, match=r"objects\.jsonl: line 2: wanted name, category, captions; got"):
        read_objects(tmp_path / OBJECTS)
    with pytest.raises(ValueError, match=r"other\.jsonl: wanted what stage 1 notes of its objects; got no such file"):
        read_objects(tmp_path / "other.jsonl")
