"""What can be asked of the studio, and the recipes that it becomes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from vader3d.config import Checked, Range, config_from_dict, ranged
from vader3d.diffusion.solver_names import SolverName
from vader3d.generate.files import like
from vader3d.generate.recipes import Recipe, recipe_from_dict, recipes_for
from vader3d.studio.uploads import UPLOAD_ID, Uploads

Kind = Literal["make", "vary", "between", "animate", "reconstruct"]
ALONE = ("animate", "reconstruct")  # kinds that make one object, without a recipe of their own
MOST_OBJECTS, MOST_LETTERS = 64, 500  # of one job, of one prompt
LARGEST_SEED = (1 << 53) - 1  # what JavaScript counts exactly
Known = Callable[[str], Recipe]  # an asset's id -> its recipe; ValueError: there is none


@dataclass(frozen=True)
class Request(Checked):
    """One job. ValueError names the field that is wrong.

    make: `count` objects of every prompt and every seed. vary: `count` like the asset `source`. between: `count` on the
    way from the asset `source` to the asset `towards`, both among them. animate: the asset `source` moves as `driving`
    does. reconstruct: an object of `pictures`; `steps` are those of its code.
    """

    kind: Kind = "make"
    prompts: tuple[str, ...] = ("",)  # empty: whatever the model knows
    negative_prompt: str = ""
    seeds: tuple[int, ...] = ranged((0,), at_least=0, at_most=LARGEST_SEED)
    count: int = ranged(4, at_least=1, at_most=MOST_OBJECTS)
    steps: int | None = ranged(None, at_least=1, at_most=256)  # null: as many as the solver needs
    guidance: float = ranged(3.0, at_least=0, at_most=100)
    solver: SolverName = "dpmpp_2m"
    stochastic: bool = False
    redraws: int = ranged(0, at_least=0, at_most=64)  # while a copy of a training object comes out
    source: str = ""
    towards: str = ""
    strength: float = ranged(0.4, at_least=0, at_most=1)  # of vary: 0 changes nothing, 1 everything
    keep_box: tuple[float, ...] | None = ranged(None, at_least=-1, at_most=1)  # of vary: x, y, z of two corners
    driving: str = ""  # of animate: a clip that the model learned, or the id of a motion that was sent
    relative: bool = False  # of animate: the motion from its first frame on
    pictures: tuple[str, ...] = ()  # of reconstruct: the id of their cameras, or theirs

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in (*self.prompts, self.negative_prompt):
            check_text(text)
        objects = 1 if self.kind in ALONE else self.count
        objects *= len(self.prompts) * len(self.seeds) if self.kind == "make" else 1
        Range(at_least=1, at_most=MOST_OBJECTS).check("objects", objects)
        if self.keep_box is not None and not is_box(self.keep_box):
            raise ValueError(
                f"keep_box: wanted x0 y0 z0 x1 y1 z1, each less than its second; got {[*self.keep_box]}; move a corner"
            )
        if self.kind == "between" and self.count < 2:
            raise ValueError(f"count: wanted 2 or more on a way; got {self.count}")
        if self.kind != "make" and len(self.seeds) != 1:
            raise ValueError(f"seeds: wanted one for {self.kind}; got {len(self.seeds)}")


def check_text(text: str) -> None:
    """ValueError: a prompt that is too long, or that is no text."""
    if len(text) > MOST_LETTERS:
        raise ValueError(f"prompt: wanted at most {MOST_LETTERS} letters; got {len(text)}; say it shorter")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("prompt: wanted text; got half a letter, a lone surrogate; type it anew") from error


def is_box(corners: tuple[float, ...]) -> bool:
    return len(corners) == 6 and all(a < b for a, b in zip(corners[:3], corners[3:], strict=True))


def request_from(values: Mapping[str, Any]) -> Request:
    """The inverse of `config_to_dict`; ValueError names what is no request's."""
    return config_from_dict(Request, dict(values))


def recipes_of(request: Request, known: Known) -> list[Recipe]:
    """One recipe an object, as `vader3d generate` makes them. ValueError: an asset that is none, or no beginning."""
    if request.kind == "vary":
        base = known(request.source)
        prompt = request.prompts[0] or base.prompt
        return like(base, prompt, request.count, request.seeds[0], strength=request.strength, box=request.keep_box)
    if request.kind == "between":
        start, end = known(request.source), known(request.towards)
        for name, recipe in (("source", start), ("towards", end)):
            if recipe.start or recipe.towards:
                raise ValueError(
                    f"{name}: wanted an object of a prompt and a seed; got one made of another; choose its beginning"
                )
        return [replace(start, towards=end, fraction=i / (request.count - 1)) for i in range(request.count)]
    recipes = [
        recipes_for(
            request.prompts,
            count=request.count,
            seed=seed,
            guidance_scale=request.guidance,
            negative_prompt=request.negative_prompt,
            steps=request.steps,
            solver=request.solver,
            stochastic=request.stochastic,
            redraws=request.redraws,
        )
        for seed in request.seeds
    ]
    return [*dict.fromkeys(recipe for each in recipes for recipe in each)]


def values_of(request: Request, known: Callable[[str], Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is written of each object: its recipe, or what stands for it. Errors: as those of `recipes_of`, `known`."""

    def recipe(asset: str) -> Recipe:
        values = known(asset)
        if "pictures" in values:
            raise ValueError(f"source: wanted an object that the model drew; got {asset}, made of pictures")
        return recipe_from_dict(values)

    if request.kind == "animate":
        return [dict(known(request.source))]
    if request.kind == "reconstruct":
        return [{"prompt": "", "seed": request.seeds[0], "index": 0, "pictures": [*request.pictures]}]
    return [each.to_dict() for each in recipes_of(request, recipe)]


def check_able(request: Request, can: Mapping[str, Any], uploads: Uploads) -> None:
    """ValueError: not what this model can do, or uploads that are not there. can: empty while that is not known."""
    if request.kind == "animate":
        if can and not can["parts"]:
            raise ValueError("kind: wanted what this model can do; got animate, and its objects have no parts")
        if UPLOAD_ID.fullmatch(request.driving):
            uploads.path(request.driving, "driving")
        elif can and request.driving not in can["clips"]:
            raise ValueError(
                f"driving: wanted a clip that the model learned, or a motion's id; got {request.driving!r:.60}"
            )
    if request.kind == "reconstruct":
        if can and not can["reconstruct"]:
            raise ValueError("kind: wanted what this model can do; got reconstruct, and its world is its own")
        uploads.check(request.pictures)


def request_schema() -> dict[str, Any]:
    """A request as JSON schema, for OpenAPI."""
    properties: dict[str, Any] = {}
    for field in fields(Request):
        kind = schema_of(get_type_hints(Request)[field.name])
        if wanted := field.metadata.get("range"):
            limits = {"minimum": wanted.at_least, "maximum": wanted.at_most}
            (kind["items"] if kind.get("type") == "array" else kind).update(limits)
        default = [*field.default] if isinstance(field.default, tuple) else field.default
        properties[field.name] = kind | {"default": default}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def schema_of(hint: Any) -> dict[str, Any]:
    """The few kinds that a request holds."""
    arguments = [each for each in get_args(hint) if each not in (type(None), Ellipsis)]
    if arguments and isinstance(arguments[0], str):
        return {"enum": arguments}
    if type(None) in get_args(hint):
        kind = schema_of(arguments[0])
        return kind | {"type": [kind["type"], "null"]} if kind["type"] != "array" else kind | {"nullable": True}
    if arguments:
        return {"type": "array", "items": schema_of(arguments[0])}
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]}
