"""The commands about whole models: which there are, and to hand one on."""

from pathlib import Path

from tyro.conf import Positional


def models_command(name: Positional[str] = "", *, revision: str = "") -> None:
    """Models that ship and those fetched from a hub: the list, or fetch one. No other command does.

    Args:
        name: OWNER/NAME on the Hugging Face hub, to fetch it into the cache; without a name all are listed.
        revision: Its branch, tag or commit.
    """
    from vader3d.hub import DEFAULT_MODEL, cached, megabytes, model_folder, said_of, shipped

    if name:
        return print(model_folder(name, revision=revision or None, local_files_only=False))
    if not (there := shipped()):
        print("none ships with this vader3d")
    for known, folder in there.items():
        default = ", the default" if known == DEFAULT_MODEL else ""
        print(f"{known}: {megabytes(folder):.1f} MB, ships{default}. {said_of(folder)}".rstrip())
    for known, folder in cached().items():
        print(f"{known}: {megabytes(folder):.1f} MB, cached from the hub. {said_of(folder)}".rstrip())
    return None


def save_command(
    model: Positional[str],
    *,
    output: Path,
    half: bool = False,
    card: Path | None = None,
    push: str = "",
    private: bool = False,
) -> None:
    """A model as a folder to hand on: weights, their checksums, a card; or on to the Hugging Face hub.

    Args:
        model: The folder of a run, a demo or a saved model, or the name of one that ships.
        output: The folder to make.
        half: Weights in half the bytes; pictures change by less than can be seen.
        card: A Markdown file for README.md; else what the weights say of themselves.
        push: OWNER/NAME on the hub to push the folder to, as whom `hf auth login` says.
        private: Where nothing is there yet, make it private.
    """
    from vader3d.hub import megabytes, push_to_hub, save_model
    from vader3d.untrusted import read_text

    save_model(model, output, card="" if card is None else read_text(card), half=half)
    print(f"{output}: {megabytes(output):.1f} MB")
    if push:
        print(push_to_hub(output, push, private=private))
