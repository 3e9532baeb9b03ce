"""Names of models become folders, and models get cards."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vader3d import __version__
from vader3d.files import checksum_of, expanded, held, write_text, write_whole
from vader3d.snapshots import (
    AUTODECODER,
    MODEL,
    check_finite,
    check_version,
    halved,
    load_snapshot,
    read_header,
    save_snapshot,
)
from vader3d.untrusted import read_json, read_text, reading, reason_of

SHELF = Path(__file__).parent / "models"
DEFAULT_MODEL = "furniture"  # of those that ship: the one that is meant where none is named
CONFIG, CARD = "config.json", "README.md"
FILES = (MODEL, AUTODECODER, CONFIG, CARD)  # all that is ever fetched or pushed
CONFIG_VERSION = 1
MOST_BYTES = 4 << 30  # of a model that is fetched
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
LONGEST_LINE = 100  # letters of a card that are listed
CARD_TEXT = """# {name}

A model of vader3d, which draws 3D assets.

| | |
|---|---|
{rows}

```python
from vader3d import Generator

Generator.from_pretrained("this folder, or OWNER/NAME")(count=4, seed=0)[0].save("new.glb")
```

Not said yet: data and their credits, licence, the command that trained it, scores, limits.
"""


def model_folder(name: str | Path = "", *, revision: str | None = None, local_files_only: bool = True) -> Path:
    """The folder with the weights of a model: of a run, a demo, a saved model, one that ships, or one of a hub.

    name: a folder, the name of a model that ships ("" is the default one), or OWNER/NAME on the Hugging Face hub, of
    which `revision` is a branch, tag or commit. Nothing is fetched unless local_files_only is False: hub models are
    looked for in huggingface_hub's cache. ValueError: no such model, a damaged one, or one of a newer vader3d.
    """
    text = str(name) or DEFAULT_MODEL
    place = expanded(text)
    folder = weights_within(place) or shipped().get(text)
    if folder is None and not place.exists() and HUB_ID.fullmatch(text):
        folder = from_hub(text, revision, local_files_only=local_files_only)
    if folder is None:
        what = f"{text}, a folder without {MODEL}" if place.is_dir() else repr(text)
        hint = f"; `vader3d models {text}` fetches one of a hub" if HUB_ID.fullmatch(text) else ""
        raise ValueError(
            f"model: wanted the folder of `vader3d train diffusion`, of a demo or a saved model, one that ships "
            f"({', '.join(shipped()) or 'none does'}) or OWNER/NAME of a hub in the cache; got {what}{hint}"
        )
    check_saved(folder)
    return folder


def weights_within(folder: Path) -> Path | None:
    """The folder, or a demo's stage 2 in it, where the weights lie."""
    return next((place for place in (folder, folder / "diffusion") if (place / MODEL).is_file()), None)


def autodecoder_file(folder: Path) -> Path:
    """Stage 1's weights in a folder that `model_folder` gives: of both stages or of the first alone."""
    return folder / AUTODECODER if (folder / AUTODECODER).is_file() else folder / MODEL


def shipped() -> dict[str, Path]:
    """The models that come with the package, by name, the default one first."""
    names = sorted(path.parent.name for path in SHELF.glob(f"*/{MODEL}"))
    return {name: SHELF / name for name in sorted(names, key=lambda name: name != DEFAULT_MODEL)}


def check_saved(folder: Path) -> None:
    """ValueError where a saved model is damaged, another's, or of a newer vader3d; a run's folder has no such notes."""
    path = folder / CONFIG
    if not path.is_file():
        return
    config = read_json(path)
    with reading(path, "the notes of a saved vader3d model"):
        if config["format"] != "vader3d-model":
            raise ValueError(f"format: wanted vader3d-model; got {config['format']!r}")
        check_version(config["version"], newest=CONFIG_VERSION)
        noted = {name: str(config["files"][name]["sha256"]) for name in weights_in(folder)}
        missing = config["files"].keys() - noted.keys()
    for name in sorted(missing):
        raise ValueError(f"{folder}: wanted {name} beside {CONFIG}; got none; fetch or save the model anew")
    for name, wanted in noted.items():
        if (found := checksum_of(folder / name)) != wanted:
            raise ValueError(
                f"{folder / name}: wanted a SHA-256 of {wanted:.12}, as {CONFIG} says; got {found:.12}; it is damaged "
                "or another model's: fetch or save it anew"
            )


def weights_in(folder: Path) -> list[str]:
    return [name for name in (MODEL, AUTODECODER) if (folder / name).is_file()]


def save_model(source: str | Path, target: Path, *, card: str = "", half: bool = False) -> Path:
    """A model as a folder to hand on: weights, config.json with their checksums, README.md; returns `target`.

    source: as `model_folder` takes it. card: Markdown, with YAML in front or without; "" is made from what the weights
    say of themselves. half: weights as float16, statistics as they are. ValueError: no such model, numbers that are not
    finite, or a target that holds something else. OSError: it cannot be written.
    """
    folder = model_folder(source)
    for name in weights_in(folder):
        check_finite(folder / name)
    check_target(target)
    with held(target):
        if not (target / CONFIG).is_file():  # of a save that is stopped, which fit nothing there
            write_notes(target, dict.fromkeys(weights_in(folder), ""), {})
        for name in weights_in(folder):
            copy_weights(folder / name, target / name, half=half)
        sums = {name: checksum_of(target / name) for name in weights_in(target)}
        write_text(target / CARD, with_front_matter(card or card_of(target), target))
        write_notes(target, sums, {name: read_header(target / name)["config"] for name in sums})
    return target


def check_target(folder: Path) -> None:
    """ValueError where something else than a saved model lies; locks and what killed writers left are nothing."""
    empty = not folder.exists() or (folder.is_dir() and all(path.name[0] == "." for path in folder.iterdir()))
    if not empty and not (folder / CONFIG).is_file():
        raise ValueError(f"output: wanted a new folder, or one of a saved model; got {folder}; choose another")


def write_notes(folder: Path, sums: dict[str, str], configurations: dict[str, dict]) -> None:
    files = {name: {"sha256": each} for name, each in sums.items()}
    notes = {"format": "vader3d-model", "version": CONFIG_VERSION, "vader3d": __version__, "files": files}
    write_text(folder / CONFIG, json.dumps({**notes, "configurations": configurations}, indent=2) + "\n")


def copy_weights(source: Path, target: Path, *, half: bool) -> None:
    if half:
        tensors, header = load_snapshot(source)
        save_snapshot(target, halved(tensors), header)
    elif source.resolve() != target.resolve():
        write_whole(target, lambda temporary: shutil.copyfile(source, temporary))


def with_front_matter(card: str, folder: Path) -> str:
    """The card with the YAML that hubs read in front, if it has none of its own."""
    if card.startswith("---\n"):
        return card
    task = ["pipeline_tag: text-to-3d"] if takes_text(folder) else []
    lines = ["library_name: vader3d", *task, "tags:", "- 3d", "- vader3d", "- latent-diffusion"]
    return "\n".join(["---", *lines, "---", "", card.rstrip(), ""])


def takes_text(folder: Path) -> bool:
    return bool(read_header(folder / MODEL)["config"].get("unet", {}).get("token_dim"))


def card_of(folder: Path) -> str:
    """What can be said of a model by what its files hold, in Markdown; the rest is for who trained it to add."""
    stage1 = read_header(autodecoder_file(folder))
    draws = (folder / AUTODECODER).is_file()
    facts = {
        "draws new objects": ("from text" if takes_text(folder) else "unconditionally")
        if draws
        else "no: stage 1 alone",
        "training objects": stage1["objects"],
        "fingerprint of their data": str(stage1.get("data"))[:12],
        "numbers in a code": stage1["config"]["decoder"]["code_length"],
        "size": f"{megabytes(folder):.1f} MB",
        "made with": f"vader3d {stage1['vader3d']}",
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return CARD_TEXT.format(name=folder.resolve().name, rows=rows)


def megabytes(folder: Path) -> float:
    return sum((folder / name).stat().st_size for name in weights_in(folder)) / 1e6


def said_of(folder: Path) -> str:
    """The first sentence of a model's card, on one line; "" without one."""
    if not (folder / CARD).is_file():
        return ""
    body = re.sub(r"\A---\n.*?\n---\n", "", read_text(folder / CARD), flags=re.DOTALL)
    lines = [line.strip() for line in body.splitlines() if line.strip() and line[0] not in "#|!`"]
    return "".join(letter for letter in lines[0] if letter.isprintable())[:LONGEST_LINE] if lines else ""


def from_hub(name: str, revision: str | None, *, local_files_only: bool) -> Path | None:
    """A hub model's folder in huggingface_hub's cache, fetched there unless local_files_only; None: it is not there."""
    try:
        import huggingface_hub
    except ImportError as error:
        if local_files_only:
            return None
        raise ImportError(f"{name}: wanted huggingface_hub; got none; pip install 'vader3d[hub]'") from error
    with asking(name):
        if not local_files_only:
            files = huggingface_hub.HfApi().model_info(name, revision=revision, files_metadata=True).siblings or []
            sizes = {file.rfilename: file.size or 0 for file in files if file.rfilename in FILES}
            if MODEL not in sizes or sum(sizes.values()) > MOST_BYTES:
                raise ValueError(
                    f"{name}: wanted {MODEL} and at most {MOST_BYTES >> 30} GiB; got {sum(sizes.values())} bytes in "
                    f"{', '.join(sizes) or 'none of our files'}; name a vader3d model"
                )
        try:
            found = huggingface_hub.snapshot_download(
                name, revision=revision, local_files_only=local_files_only, allow_patterns=list(FILES)
            )
        except huggingface_hub.errors.LocalEntryNotFoundError:
            if local_files_only:
                return None
            raise
    return weights_within(Path(found))


def push_to_hub(source: str | Path, name: str, *, private: bool = False) -> str:
    """Push a saved model to OWNER/NAME of the hub, made where there is none, as the user who is logged in there.

    source: a folder of `save_model`. Returns the address. ValueError: not saved yet, or the hub refuses it.
    """
    folder = model_folder(source)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"model: wanted a saved one; got {folder}, without {CONFIG}; `vader3d save` makes one")
    import huggingface_hub

    with asking(name):
        api = huggingface_hub.HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        pushed = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=list(FILES),
            commit_message=f"A model of vader3d {__version__}",
        )
    return str(pushed.commit_url)


@contextmanager
def asking(name: str) -> Iterator[None]:
    """Whatever the hub's client raises in here ends as one line with the model's name."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(f"{name}: wanted"):
            raise
        raise ValueError(
            f"{name}: wanted an answer of the hub; got {reason_of(error)}; is the name right, the hub in reach?"
        ) from error


def cached() -> dict[str, Path]:
    """The hub models of ours in huggingface_hub's cache, the newest revision of each."""
    try:
        from huggingface_hub import scan_cache_dir
        from huggingface_hub.errors import CacheNotFound
    except ImportError:
        return {}
    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return {}
    found = {}
    for repository in sorted(repositories, key=lambda one: one.repo_id):
        newest = max(repository.revisions, key=lambda one: one.last_modified, default=None)
        if repository.repo_type == "model" and newest is not None and is_saved(newest.snapshot_path):
            found[repository.repo_id] = newest.snapshot_path
    return found


def is_saved(folder: Path) -> bool:
    with suppress(ValueError, OSError, LookupError, TypeError):
        return bool(read_json(folder / CONFIG)["format"] == "vader3d-model" and weights_in(folder))
    return False
