"""What a thing is called: clean names, and the kind of thing they mean."""

import re
from collections.abc import Iterable

from vader3d.colour import COLOURS

NAMES = {  # as catalogues have them: misspelt, in French or Spanish, brands, or half a name
    "air conditioning external unit": "air conditioner",
    "air conditioning internal unit": "air conditioner",
    "apple ibook": "laptop",
    "apple imac": "computer",
    "apple iphone": "phone",
    "armchair ottoman": "ottoman",
    "arrow turn right": "road marking",
    "arrow turn right and ahead": "road marking",
    "barnum": "party tent",
    "base": "speaker dock",
    "bill": "banknote",
    "boiler": "kettle",
    "box room": "box",
    "car model": "toy car",
    "cctv": "surveillance camera",
    "chaussette": "sock",
    "children game": "playground slide",
    "class seat": "school chair",
    "clear sofa": "sofa",
    "clothes horse": "clothes airer",
    "contemporary living room": "wall unit",
    "convertible sofa bz": "sofa bed",
    "cup cake": "cupcake",
    "desk table": "desk",
    "double-hung window": "sash window",
    "dryer machine": "clothes dryer",
    "entry bell ring": "doorbell",
    "entry speech unit": "intercom",
    "female": "woman",
    "flacon": "perfume bottle",
    "flipper": "pinball machine",
    "football table": "table football",
    "fork lift": "forklift",
    "frame chambord": "picture frame",
    "frame hôi an": "picture frame",
    "full bookcase": "bookcase with books",
    "hood": "range hood",
    "island": "kitchen island",
    "island extension": "kitchen island",
    "letters box": "mailbox",
    "lip stick": "lipstick",
    "little bank": "small bench",
    "locked locker": "locker",
    "male": "man",
    "mannequin female": "mannequin",
    "mannequin male": "mannequin",
    "milk": "milk carton",
    "oil servers": "oil bottles",
    "opened convertible sofa bz": "sofa bed",
    "parking slot": "parking space",
    "peugeot cc": "car",
    "playstation": "game console",
    "pool lounge": "lounge chair",
    "puff": "pouf",
    "punching ball": "punching bag",
    "rails": "railway track",
    "relax chair": "lounge chair",
    "rigged fan": "fan",
    "screen": "folding screen",
    "short": "shorts",
    "shower head and faucet": "shower",
    "sofa seats": "sofa",
    "stone grill device": "stone grill",
    "sugar": "sugar bowl",
    "table tennis": "ping-pong table",
    "station": "speaker dock",
    "tape": "adhesive tape",
    "text marker": "marker pen",
    "tool": "kitchen tool",
    "trunck": "trunk",
    "washer": "washing machine",
    "white board": "whiteboard",
    "white lily": "lilies",
    "wood bank": "wooden bench",
    "wood logs": "logs",
    "yamaha yzr": "motorcycle",
}
WORDS = {
    "coathanger": "coat hanger", "gaz": "gas", "hashtray": "ashtray", "mocassin": "moccasin", "mower": "lawn mower",
    "ryokan": "japanese", "osaka": "japanese", "teck": "teak", "toilets": "toilet", "trashcan": "trash can",
    "trunck": "trunk", "tv": "television", "utensils": "utensil", "wahser": "washer", "wood": "wooden",
}  # fmt: skip
NOISE = {"the", "an", "blend", "swap", "scpts", "type", "zones", "bz"}
TAGS_LEFT_OUT = {"blend swap", "scpts", "nitendo"}  # where models came from, and a misspelling
KINDS = {  # kind: other words for it, and for what belongs to it; of what a name ends with, the longest counts
    "airer": ("clothes airer", "clothes rack"),
    "armchair": (),
    "bag": ("handbag", "backpack", "briefcase", "suitcase", "shopping basket"),
    "bathtub": ("bath", "island bath", "jacuzzi"),
    "bed": ("crib", "futon", "mattress", "bunk", "cot"),
    "bench": (),
    "bicycle": ("bike", "tricycle", "indoor bike"),
    "bin": ("trash can", "dustbin", "recycling bin"),
    "bottle": (),
    "bowl": (),
    "box": ("crate", "container", "bread box", "penbox", "medicine box", "cardboard box", "gift", "trunk"),
    "bus": (),
    "cabinet": ("cupboard", "dresser", "chest of drawers", "chest", "nightstand", "drawer", "kitchen island",
                "television stand", "wall unit", "safe"),
    "camera": (),
    "candle": (),
    "car": ("sedan", "suv", "beetle", "focus", "leon", "scenic", "chevrolet"),
    "chair": ("deck chair", "lounge chair", "seat", "high chair"),
    "clock": (),
    "coffee machine": ("coffee maker", "coffee brewer"),
    "computer": ("laptop", "imac", "tablet", "notebook"),
    "cup": ("mug", "coffee cup"),
    "desk": (),
    "door": (),
    "fan": (),
    "fireplace": ("chimney", "furnace"),
    "flowers": ("tulips", "lilies", "orchids", "roses", "peach blossom", "flower"),
    "glass": (),
    "helmet": (),
    "hot dog": (),
    "knife": (),
    "lamp": ("light", "lights", "lantern", "chandelier", "spotlight", "lamppost", "flashlight", "fluorescent strip",
             "artwork"),
    "motorcycle": ("motorbike", "scooter"),
    "ottoman": ("pouf",),
    "oven": ("microwave",),
    "phone": ("telephone",),
    "punching bag": (),
    "piano": (),
    "plant": ("cactus", "yucca", "ficus", "bush", "hedge", "bamboo", "spathiphyllum", "bonsai tree", "flower box"),
    "plate": ("tray",),
    "printer": (),
    "projector": (),
    "pool": ("swimming pool",),
    "radiator": (),
    "railing": ("fence",),
    "refrigerator": ("fridge", "freezer"),
    "rug": ("carpet", "doormat", "bathmat", "tatami", "mat"),
    "remote control": (),
    "shelf": ("shelves", "bookcase", "bookshelf", "shelving", "rack"),
    "shoe": ("shoes", "sneakers", "slippers", "moccasin", "bootie"),
    "sleeping bag": (),
    "sofa": ("couch", "sofa bed", "loveseat", "settee"),
    "stool": (),
    "stove": ("cooker", "cooktop"),
    "switch": (),
    "table": ("workbench",),
    "television": ("tv", "flat television"),
    "toilet": ("urinal", "bidet"),
    "towel rack": (),
    "tree": ("pine", "poplar", "cypress", "acacia", "maple", "beech", "palm"),
    "truck": ("van", "forklift"),
    "vase": ("jar", "pottery"),
    "wall socket": ("socket", "outlet", "plug"),
    "wardrobe": ("closet", "locker"),
    "washing machine": ("clothes dryer",),
    "washbasin": ("sink", "basin", "lavatory", "vanity"),
    "window": ("blind", "shutter"),
}  # fmt: skip
KIND_OF = {word: kind for kind, words in KINDS.items() for word in (kind, *words)}
KINDS_OF_TAGS = ("outlet", "car", "motorcycle", "plant", "tree", "flowers", "television", "computer")
ENDS = re.compile(r" (?:with|on|under|and|for|in|of) |, ")
MASSES = {"bamboo", "bread", "butter", "pottery", "soap", "sugar", "milk", "furniture", "clothes"}
SINGULAR = ("ss", "us", "is", "cypress", "chess", "gas", "canvas")


def clean_name(name: str) -> str:
    """A catalogue's or file's name in plain lower-case words: no numbers, brands, colours, twice-said or noise words.

    Colours go because pictures tell them. Empty where nothing is left.
    """
    words = re.sub(r"[^\w\s'-]|\s-\s|-(?=\d)", " ", name.lower().replace("_", " ")).split()
    plain = NAMES.get(" ".join(words)) or " ".join(word for word in words if not any(c.isdigit() for c in word))
    mended = " ".join(WORDS.get(word, word) for word in NAMES.get(plain, plain).split())
    mended = re.sub(r"(?<=window)( small)? panes$", "", re.sub(r".*\bplug$", "wall socket", mended))
    kept = (word for word in mended.split() if word not in NOISE and word not in COLOURS and len(word) > 1)
    return " ".join(dict.fromkeys(kept))


def clean_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags without those that say nothing of the thing, each once."""
    return tuple(dict.fromkeys(tag for tag in tags if tag.strip() and tag.lower() not in TAGS_LEFT_OUT))


def kind_of(name: str, tags: Iterable[str] = ()) -> str:
    """The kind of thing that a clean name means: one of `KINDS`, else the noun it ends with; empty for no name."""
    head = ENDS.split(f"{name} ")[0].split()
    for start in range(len(head)):
        if kind := KIND_OF.get(" ".join(head[start:])):
            return kind
    said = {tag.lower() for tag in tags}
    for tag in KINDS_OF_TAGS:
        if tag in said:
            return KIND_OF[tag]
    return head[-1] if head else ""


def with_article(words: str, name: str = "") -> str:
    """A phrase with a or an before it, but none for a plural or a mass. `name`: its end, that has the noun."""
    noun = (ENDS.split(name or words)[0].split() or [""])[-1]
    if noun in MASSES or is_plural(noun):
        return words
    return f"{'an' if words[:1] in 'aeiou' else 'a'} {words}"


def is_plural(noun: str) -> bool:
    return noun.endswith("s") and not noun.endswith(SINGULAR) and noun != "bus"
