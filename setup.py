"""Builds the CPU renderer into the wheel where a compiler is at hand; else it is built on first use."""

import importlib.util
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
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
        library, compiler = Path(self.build_lib, "vader3d", "native", build.LIBRARY.name), build.find_compiler()
        library.unlink(missing_ok=True)  # of an earlier build in this folder
        try:
            if compiler is None:
                raise RuntimeError("no C++ compiler")
            build.compile_march(library, compiler)
            self.distribution.has_renderer = True
        except (OSError, RuntimeError) as error:
            print(f"vader3d: the CPU renderer is not in this wheel ({error})", file=sys.stderr)


class WheelForEveryPython(bdist_wheel):
    """py3-none-PLATFORM: the library is called through ctypes; py3-none-any without it."""

    def run(self) -> None:
        self.run_command("build")
        self.root_is_pure = not self.distribution.has_renderer
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


class PlatformDistribution(Distribution):
    has_renderer = False

    def has_ext_modules(self) -> bool:
        return self.has_renderer


setup(cmdclass={"build_py": BuildWithRenderer, "bdist_wheel": WheelForEveryPython}, distclass=PlatformDistribution)
