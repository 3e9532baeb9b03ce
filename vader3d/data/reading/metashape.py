"""Reads Metashape's exports: an XML of cameras beside pictures."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.reading.tables import beginning, found_pictures
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import read_bytes
from vader3d.untrusted import reading as parsing

DOCUMENT_BYTES = 2**26
SWAPPED = {"k1": "k1", "k2": "k2", "k3": "k3", "k4": "k4", "p1": "p2", "p2": "p1"}  # theirs: ours


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of "export cameras": sensors with calibrations, cameras with world_from_camera, OpenCV's axes.

    Cameras that were not aligned are left out.
    """
    path = documents_in(folder)[0]
    with parsing(path, "Metashape's sensors and cameras"):
        data = read_bytes(path, most=DOCUMENT_BYTES)
        if b"<!" in data.replace(b"<!--", b""):  # entities, which may grow without end
            raise ValueError("XML: wanted no document type; got one")
        chunk = ElementTree.fromstring(data).find("chunk")
        if chunk is None:
            raise ValueError("XML: wanted a chunk; got none")
        lenses = {sensor.get("id"): lens_of(sensor) for sensor in chunk.iterfind("sensors/sensor")}
        moves = {each.get("id"): move_of(each) for each in chunk.iterfind("components/component")}
        cameras = [each for each in chunk.iter("camera") if each.findtext("transform")]
        found, note = found_pictures(folder, [str(camera.get("label")) for camera in cameras], reading.views)
        by_label = {str(camera.get("label")): camera for camera in cameras}
        views = []
        for label, picture in found:
            camera = by_label[label]
            matrix = moves.get(camera.get("component_id"), np.eye(4)) @ numbers(camera.findtext("transform"), 4)
            matrix[:3, :3] *= signs_of(reading.axes, usual="opencv")
            lens, size, distortion = lenses[camera.get("sensor_id")]
            views.append(SourceView(picture, matrix, lens, size, given_mask(picture), distortion))
    return assembled_object(name, folder, views, reading, notes=[note])


def lens_of(sensor: ElementTree.Element) -> tuple[np.ndarray, tuple[float, float], dict[str, float]]:
    """(fx, fy, cx, cy), (height, width) and distortion; where nothing was calibrated, of what the camera says."""
    resolution = sensor.find("resolution")
    assert resolution is not None
    width, height = (float(resolution.get(side, 0)) for side in ("width", "height"))
    calibrations = sensor.findall("calibration")
    adjusted = next((each for each in calibrations if each.get("class") == "adjusted"), next(iter(calibrations), None))
    values = {each.tag: float(each.text or 0) for each in adjusted if each.text} if adjusted is not None else {}
    if "f" not in values and "fx" not in values:
        raise ValueError(f"sensor {sensor.get('id')}: wanted a calibration with f; got none")
    fy = values.get("f", values.get("fy", values.get("fx", 0.0)))
    fx = values.get("f", values.get("fx", fy)) + values.get("b1", 0.0)
    lens = np.array([fx, fy, width / 2 + values.get("cx", 0.0), height / 2 + values.get("cy", 0.0)])
    distortion = {ours: values[theirs] for theirs, ours in SWAPPED.items() if theirs in values}
    fisheye = adjusted is not None and "fisheye" in adjusted.get("type", "")
    return lens, (height, width), distortion | ({"fisheye": 1.0} if fisheye else {})


def move_of(component: ElementTree.Element) -> np.ndarray:
    """How a component's cameras move into the chunk's world: rotation and place; one scale comes out again."""
    matrix = np.eye(4)
    if rotation := component.findtext("transform/rotation"):
        matrix[:3, :3] = numbers(rotation, 3)
    if translation := component.findtext("transform/translation"):
        matrix[:3, 3] = [float(word) for word in translation.split()]
    matrix[:3, :3] *= float(component.findtext("transform/scale") or 1)
    return matrix


def numbers(text: str | None, side: int) -> np.ndarray:
    return np.array([float(word) for word in (text or "").split()]).reshape(side, side)


def documents_in(folder: Path) -> list[Path]:
    found = (path for path in sorted(folder.glob("[!.]*.xml")) if path.is_file())
    return [path for path in found if b"<document" in beginning(path)]


def object_folders(source: Path) -> list[Path]:
    return sorted({path.parent for path in source.rglob("[!.]*.xml") if path in documents_in(path.parent)})


METASHAPE = Reader(
    name="metashape",
    what="Metashape's exported cameras, an .xml beside the pictures.",
    source="A folder of captures, each with such an .xml and its pictures, or one of them.",
    markers=("*.xml",),
    mask="auto",
    read_object=read_object,
    folders=object_folders,
)
