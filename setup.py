"""Builds the CPU renderer into the wheel where a compiler is at hand; else it is built on first use."""

import importlib.util
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

BUILD = Path(__file__).parent / "vader3d" / "native" / "build.py"


def renderer_build():
    """The build module by its path: importing it as part of the package would need torch."""
    spec = importlib.util.spec_from_file_location("vader3d_native_build", BUILD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BuildWithRenderer(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # a source tree builds into the user's cache, so that edits are seen
        build = renderer_build()
        compiler = build.find_compiler()
        try:
            if compiler is None:
                raise RuntimeError("no C++ compiler")
            build.compile_march(Path(self.build_lib, "vader3d", "native", build.LIBRARY.name), compiler)
        except (OSError, RuntimeError) as error:
            print(f"vader3d: the CPU renderer is not in this wheel ({error})", file=sys.stderr)


class PlatformDistribution(Distribution):
    def has_ext_modules(self) -> bool:
        return renderer_build().find_compiler() is not None


setup(cmdclass={"build_py": BuildWithRenderer}, distclass=PlatformDistribution)
