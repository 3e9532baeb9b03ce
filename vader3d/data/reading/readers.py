"""All readers by name: each is a command, `vader3d prepare NAME`."""

from vader3d.data.reading.abo import ABO
from vader3d.data.reading.co3d import CO3D
from vader3d.data.reading.colmap import COLMAP
from vader3d.data.reading.eg3d import EG3D
from vader3d.data.reading.gobjaverse import GOBJAVERSE
from vader3d.data.reading.llff import LLFF
from vader3d.data.reading.metashape import METASHAPE
from vader3d.data.reading.mvimgnet import MVIMGNET
from vader3d.data.reading.nerfstudio import NERFSTUDIO
from vader3d.data.reading.objaverse import OBJAVERSE
from vader3d.data.reading.omniobject import OMNIOBJECT3D
from vader3d.data.reading.polycam import POLYCAM
from vader3d.data.reading.projections import PROJECTIONS
from vader3d.data.reading.reader import Reader
from vader3d.data.reading.realitycapture import REALITYCAPTURE
from vader3d.data.reading.record3d import RECORD3D
from vader3d.data.reading.srn import SRN

POSED = (NERFSTUDIO, COLMAP, SRN, EG3D, OBJAVERSE)
SETS = (CO3D, MVIMGNET, OMNIOBJECT3D, ABO, GOBJAVERSE, PROJECTIONS, LLFF)
EXPORTS = (POLYCAM, RECORD3D, REALITYCAPTURE, METASHAPE)
READERS: dict[str, Reader] = {reader.name: reader for reader in (*POSED, *SETS, *EXPORTS)}
