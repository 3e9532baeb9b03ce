"""What a mesh file shows, by its name and where it lies."""

import re
from pathlib import Path

SHAPENET = dict(
    pair.split(" ", 1)
    for pair in """02691156 airplane|02747177 trash bin|02773838 bag|02801938 basket|02808440 bathtub|02818832 bed|
02828884 bench|02843684 birdhouse|02871439 bookshelf|02876657 bottle|02880940 bowl|02924116 bus|02933112 cabinet|
02942699 camera|02946921 can|02954340 cap|02958343 car|02992529 cellphone|03001627 chair|03046257 clock|
03085013 keyboard|03207941 dishwasher|03211117 display|03261776 headphones|03325088 faucet|03337140 file cabinet|
03467517 guitar|03513137 helmet|03593526 jar|03624134 knife|03636649 lamp|03642806 laptop|03691459 loudspeaker|
03710193 mailbox|03759954 microphone|03761084 microwave|03790512 motorbike|03797390 mug|03928116 piano|
03938244 pillow|03948459 pistol|03991062 pot|04004475 printer|04074963 remote control|04090263 rifle|04099429 rocket|
04225987 skateboard|04256520 sofa|04330267 stove|04379243 table|04401088 telephone|04460130 tower|04468005 train|
04530566 vessel|04554684 washing machine""".replace("\n", "").split("|")
)
EMPTY = re.compile(  # of names that say nothing: of files, of folders, of numbers and hashes
    r"(model|mesh|meshes|object|scene|textured|texture|texturedmesh|untitled|output|result|source|materials?|raw|normalized"
    r"|simplified|obj|glb|gltf|[0-9a-f]{8,}|[\d\W_]+)+"
)


def synset_of(path: Path) -> str:
    """The category that a folder of ShapeNet's is for; "" elsewhere."""
    return next((SHAPENET[part] for part in reversed(path.resolve().parts) if part in SHAPENET), "")


def words_for(path: Path) -> str:
    """What stands in for a caption: the category, else the nearest name on the way to the file that says something."""
    names = [path.stem, *reversed(path.resolve().parts[-3:-1])]
    telling = next((name for name in names if not EMPTY.fullmatch(name.lower().replace(" ", "_"))), path.stem)
    return synset_of(path) or telling.replace("_", " ")
