"""Damage and malice: bytes flipped, cut, blanked and scrambled; values and words of other kinds; the same in zips."""

import copy
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

ODD_VALUES = (None, True, -1, 0, 3, 10**30, 1e400, -0.5, "", "x", "../x", [], {}, [[]], [1, "x"], {"x": 1}, "é" * 300)
ODD_WORDS = [
    b"",
    b"-1",
    b"0",
    b"nan",
    b"1e400",
    b"9" * 30,
    b"4294967295",
    b"x",
    b"../x",
    b"\xff\xfe",
    b"\0",
    b'"',
    b"1/1/1",
]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes of a file changed, or some of it gone."""
    changed, way = bytearray(data), rng.randrange(5)
    start = rng.choice([rng.randrange(len(data)), rng.randrange(min(len(data), 200)), max(0, len(data) - 100)])
    stop = min(len(data), start + rng.choice([1, 4, 40, 4000]))
    if way == 0:
        for _ in range(rng.choice([1, 1, 8])):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif way == 1:
        del changed[start:]
    elif way == 2:
        changed[start:stop] = bytes(stop - start)
    elif way == 3:
        changed[start:stop] = rng.randbytes(stop - start)
    else:
        del changed[start:stop]
    return bytes(changed)


def reworded(data: bytes, rng: random.Random) -> bytes:
    """A text with one of its words another, a line there twice, elsewhere, or not at all."""
    lines = data.split(b"\n")
    at, way = rng.randrange(len(lines)), rng.randrange(6)
    if way == 0:
        lines.insert(rng.randrange(len(lines)), lines[at])
    elif way == 1:
        del lines[at]
    elif way == 2:
        lines[at] *= rng.choice([2, 100])
    else:
        words = lines[at].split(b" ")
        words[rng.randrange(len(words))] = rng.choice(ODD_WORDS)
        lines[at] = b" ".join(words)
    return b"\n".join(lines)


def swapped(document: Any, rng: random.Random) -> Any:
    """A JSON document one of whose values is another, absent, or there under another name."""
    changed = copy.deepcopy(document)
    places = [*places_in(changed)]
    if not places or rng.random() < 0.03:
        return rng.choice(ODD_VALUES)
    holder, key = rng.choice(places)
    way = rng.randrange(6)
    if way == 0:
        del holder[key]
    elif way == 1 and isinstance(holder, dict):
        holder[rng.choice(["x", "__class__", key + "é"])] = holder.pop(key)
    else:
        holder[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    return changed


def places_in(value: Any) -> Any:
    """Every (container, key) of a document; of long lists a few."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places_in(inner)


def swapped_json(data: bytes, rng: random.Random) -> bytes:
    return json.dumps(swapped(json.loads(data), rng)).encode()


def spoilt_member(data: bytes, rng: random.Random) -> bytes:
    """A zip with one member spoilt before it was packed, so that every checksum is right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        chosen = rng.choice([*names, *[name for name in names if name.endswith(".json")] * len(names)])
        for name in names:
            member = old.read(name)
            if name == chosen:
                member = (swapped_json if name.endswith(".json") else damaged)(member, rng)
            new.writestr(name, member)
    return out.getvalue()


def spoilt_header(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file with another value in vader3d's header."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["vader3d"] = json.dumps(swapped(json.loads(header["__metadata__"]["vader3d"]), rng))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def check_error(error: Exception, path: Path) -> None:
    """A house error: a kind that commands print, of one line, that names the file."""
    assert isinstance(error, (ValueError, OSError)), repr(error)
    assert str(error).isprintable(), repr(error)
    assert len(str(error)) < 1500, len(str(error))
    assert path.name in str(error), str(error)
