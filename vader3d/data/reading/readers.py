"""All readers by name: each is a command, `vader3d prepare NAME`."""

from vader3d.data.reading import colmap, eg3d, nerfstudio, objaverse, srn
from vader3d.data.reading.reader import Reader

READERS: dict[str, Reader] = {
    reader.name: reader for reader in (nerfstudio.NERFSTUDIO, colmap.COLMAP, srn.SRN, eg3d.EG3D, objaverse.OBJAVERSE)
}
