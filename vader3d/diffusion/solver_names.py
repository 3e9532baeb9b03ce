"""The solvers by name.

They stand apart, for commands name them before torch is loaded.
"""

from typing import Literal

SolverName = Literal["heun", "euler", "dpmpp_2m"]
USUAL_STEPS = {"heun": 32, "euler": 32, "dpmpp_2m": 12}  # docs/performance.md
