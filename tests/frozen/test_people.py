"""Faces and masks of people; without the package, or with a later one, one clear error."""

import sys
import types

import numpy as np
import pytest

from vader3d.frozen import people
from vader3d.frozen.matting import Matting
from vader3d.frozen.people import LANDMARKS, faces_in, person_mask


@pytest.fixture
def anew():
    people.networks.cache_clear()
    yield
    people.networks.cache_clear()


def test_without_the_package_or_with_a_later_one_the_error_says_which(monkeypatch, anew):
    picture = np.zeros((8, 8, 4), np.uint8)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(ImportError, match=r"people: wanted the package mediapipe.*got none; pip install"):
        Matting("people")(picture)
    later = types.ModuleType("mediapipe")
    later.__version__ = "1.2.3"
    monkeypatch.setitem(sys.modules, "mediapipe", later)
    with pytest.raises(ImportError, match=r"of 0\.10\.9 to 0\.10\.21, which hold its networks; got 1\.2\.3"):
        faces_in(picture[None])


class Faces:
    """Stands in for MediaPipe: the face is what is red, its landmarks all in its middle."""

    def __init__(self):
        self.shapes = []

    def process(self, picture):
        self.shapes.append(picture.shape)
        rows, columns = np.nonzero((picture[..., 0] > 200) & (picture[..., 1] < 60))
        if not len(rows):
            return types.SimpleNamespace(multi_face_landmarks=None)
        x, y = (columns.mean() + 0.5) / picture.shape[1], (rows.mean() + 0.5) / picture.shape[0]
        mark = types.SimpleNamespace(x=x, y=y, z=0.01)
        return types.SimpleNamespace(multi_face_landmarks=[types.SimpleNamespace(landmark=[mark] * LANDMARKS)])


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (90, 30)])
def test_landmarks_are_in_the_pictures_own_pixels(monkeypatch, size):
    faces = Faces()
    monkeypatch.setattr(people, "networks", lambda: (faces, None))
    pictures = np.full((2, *size, 4), 255, np.uint8)
    pictures[0, 10:20, 6:18, 1:3] = 0
    pictures[1, :, :, 1:3] = 0
    pictures[1, :, :, 3] = 0  # nothing is seen of it
    found = faces_in(pictures)
    assert found.shape == (2, LANDMARKS, 3)
    assert np.allclose(found[0, :, :2], (12, 15), atol=0.2)
    assert np.isnan(found[1]).all()
    assert {shape[0] == shape[1] for shape in faces.shapes} == {True}


def test_a_square_about_head_and_shoulders_hangs_below_the_face(monkeypatch):
    face = np.stack([*np.meshgrid(np.linspace(20, 28, 26), np.linspace(10, 20, 18)), np.zeros((18, 26))], -1)
    monkeypatch.setattr(people, "faces_in", lambda pictures: face.reshape(1, LANDMARKS, 3))
    x, y, side = people.bust_square(np.zeros((64, 64, 4), np.uint8))
    assert (x, y) == (24, 15 + 10 * people.LOWER)
    assert side == pytest.approx(10 * people.BUST)
    monkeypatch.setattr(people, "faces_in", lambda pictures: np.full((1, LANDMARKS, 3), np.nan))
    assert people.bust_square(np.zeros((64, 64, 4), np.uint8)) is None


def test_a_photograph_of_somebody():
    """Collins before her flag (NASA, public domain): her face, mirrored too, and her outline."""
    pytest.importorskip("mediapipe", reason="needs mediapipe: pip install 'vader3d[people]'")
    data = pytest.importorskip("skimage.data")
    picture = np.dstack([data.astronaut(), np.full((512, 512), 255, np.uint8)])
    face, mirrored = faces_in(np.stack([picture, picture[:, ::-1]])).mean(1)
    assert np.allclose(face[:2], (224, 123), atol=5)
    assert np.allclose(mirrored[:2], (512 - 224, 123), atol=5)
    alpha = person_mask(picture[..., :3])
    assert alpha[100:150, 195:255].min() > 230  # her face
    assert alpha[:120, 330:].max() < 30  # the shuttle
    assert np.array_equal(Matting("people")(picture), alpha)
