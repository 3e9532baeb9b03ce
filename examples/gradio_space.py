"""A gradio page, or a Space, that makes objects through a studio.

    VADER3D_TOKEN=... python examples/gradio_space.py --address http://127.0.0.1:7860

Without an address it starts a studio of its own on 127.0.0.1, which nobody else reaches: all that a Space needs besides
`pip install gradio 'vader3d[studio]'`.
"""

import atexit
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tyro

from vader3d.studio.client import Client

OWN_PORT = 7871


def own_studio(folder: Path, port: int = OWN_PORT) -> Client:
    """A studio that lives as long as this process, once it answers."""
    line = [sys.executable, "-m", "vader3d", "studio", "--output", str(folder), "--port", str(port)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    atexit.register(process.terminate)
    while process.poll() is None:
        try:
            client = Client(f"http://127.0.0.1:{port}", (folder / "token").read_text().strip())
            client.ask("GET", "/v1/model")
            return client
        except (OSError, ValueError):  # none answers yet, or another one, as ours will say
            time.sleep(0.2)
    raise SystemExit("the studio did not start; its reason stands above")


def page(client: Client) -> Any:
    """The page: a prompt and a seed in, an object to be turned out."""
    import gradio

    def make(prompt: str, seed: float) -> str:
        (asset,) = client.make(prompts=[prompt], seeds=[int(seed)], count=1)
        path = Path(tempfile.mkdtemp()) / "object.glb"
        client.save(asset, path)
        return str(path)

    inputs = [gradio.Textbox(label="Prompt", value="a red chair"), gradio.Number(label="Seed", value=0, precision=0)]
    return gradio.Interface(make, inputs, gradio.Model3D(label="Object"), title="vader3d")


def main(*, address: str = "") -> None:
    token = os.environ.get("VADER3D_TOKEN", "")
    client = Client(address, token) if address else own_studio(Path(tempfile.mkdtemp()))
    page(client).launch()


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
