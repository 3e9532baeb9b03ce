"""What made a file, as one line in it."""

import json
from collections.abc import Mapping
from typing import Any

TAG = "vader3d"


def line_of(provenance: Mapping[str, Any]) -> str:
    """One line of ASCII that says what made a file, for comments and descriptions."""
    return f"{TAG} {json.dumps(dict(provenance))}"
