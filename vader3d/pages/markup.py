"""HTML from the templates beside this file, all escaped."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment() -> "Environment":
    """Escapes everything that is not markup already; a value that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def markup(template: str, values: dict[str, Any]) -> "Markup":
    """The template of this name, filled in; other templates do not escape it again."""
    from markupsafe import Markup

    return Markup(environment().get_template(template).render(values))
