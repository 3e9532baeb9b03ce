"""All readers by name: each is a command, `vader3d prepare NAME`."""

from vader3d.data.reading import colmap, nerfstudio, srn
from vader3d.data.reading.reader import Reader

READERS: dict[str, Reader] = {"colmap": colmap.COLMAP, "nerfstudio": nerfstudio.NERFSTUDIO, "srn": srn.SRN}
