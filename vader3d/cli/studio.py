"""`vader3d studio`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import UseAppendAction

from vader3d.cli.parsing import checked


@checked
def studio_command(
    *,
    model: str = "",
    output: Path = Path("runs/studio"),
    host: str = "127.0.0.1",
    port: int = 7860,
    allow_host: UseAppendAction[tuple[str, ...]] = (),
    keep_days: float = 30.0,
    quota_gb: float = 4.0,
    data: UseAppendAction[tuple[str, ...]] = (),
    run: UseAppendAction[tuple[Path, ...]] = (),
    opened: Annotated[bool, tyro.conf.arg(name="open")] = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Make, see and take 3D assets in a browser; behind the page is an API (docs/studio.md).

    Args:
        model: A run folder of stage 2, a demo's, a saved model, or OWNER/NAME of a hub; default: one that ships.
        output: The gallery's folder; it survives restarts.
        host: The address to listen on; other machines reach the studio only where this is one of the network's.
        port: The port to listen on.
        allow_host: A name by which browsers may call the studio, beside localhost and numbers; several times for some.
        keep_days: Jobs that are older are deleted.
        quota_gb: So many GB are kept at most; the oldest jobs go first.
        data: A data set to browse, as `vader3d inspect` takes it; several times for some.
        run: The folder of a training, or of a demo, to watch; several times for some.
        opened: Open the page in a browser.
        device: auto takes a GPU where there is one.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{error.name}: wanted for the studio; got none; pip install 'vader3d[studio]'") from error
    from vader3d.studio.server import serve

    serve(
        model,
        folder=output,
        host=host,
        port=port,
        allowed=allow_host,
        device=device,
        keep_days=keep_days,
        quota_gb=quota_gb,
        data=data,
        runs=run,
        opened=opened,
    )
