"""OFF as it is found: headers of all kinds, colours of corners and faces."""

import pytest
from surfaces import RED, area, colour_of

from vader3d.data.making.surface import load_surface

CORNERS = ["0 0 0", "1 0 0", "1 1 0", "0 1 0"]
KINDS = {
    "quads": "OFF\n4 1 0\n{}\n4 0 1 2 3\n",
    "ModelNet's, counts beside": "OFF4 1 0\n{}\n4 0 1 2 3\n",
    "comments and Windows' lines": "# by hand\r\nOFF # so\r\n4 1 0\r\n{}\r\n\r\n4 0 1 2 3\r\n",
    "without edges": "OFF\n4 2\n{}\n3 0 1 2\n3 0 2 3\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_headers_of_all_kinds_are_read(kind, tmp_path):
    (tmp_path / "m.off").write_bytes(KINDS[kind].format("\n".join(CORNERS)).encode())
    surface = load_surface(tmp_path / "m.off")
    assert area(surface) == pytest.approx(1)
    assert colour_of(surface) == (178, 178, 178)


COLOURED = {
    "faces, whole numbers": ("OFF", "", " {} {} {}"),
    "faces, shares": ("OFF", "", " .9 .12 .12 1.0"),
    "corners": ("COFF", " {} {} {} 255", ""),
    "corners with normals": ("CNOFF", " 0 0 1 {} {} {} 255", ""),
}


@pytest.mark.parametrize("kind", COLOURED)
def test_colours_are_kept(kind, tmp_path):
    head, corner, face = (words.format(*RED) for words in COLOURED[kind])
    lines = [head, "4 1 0", *(f"{each}{corner}" for each in CORNERS), f"4 0 1 2 3{face}"]
    (tmp_path / "m.off").write_text("\n".join(lines))
    assert colour_of(load_surface(tmp_path / "m.off")) == pytest.approx(RED, abs=2)


FAULTS = {
    "OFF BINARY\n": "off: wanted OFF or COFF in words; got",
    "4OFF\n4 1 0\n": "off: wanted OFF or COFF in words; got '4OFF",
    "OFF\n4 1 0\n0 0 0\n": "off: wanted 4 points and 1 faces; got 1 lines",
    "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n": r"off: wanted 3 corners of 3 points; got \[0, 1, 7\]",
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_are_named(text, tmp_path):
    (tmp_path / "m.off").write_text(text)
    with pytest.raises(ValueError, match=FAULTS[text]):
        load_surface(tmp_path / "m.off")
