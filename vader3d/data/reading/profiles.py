"""Colours as pictures' ICC profiles say (Display P3, Adobe RGB, CMYK)."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of a profile, and the mode of the pictures that it is for
MODES = {"RGBA": "RGB", "LA": "L", "1": "L"}  # what is left of those without their alpha


def in_srgb(picture: "Image") -> "Image":
    """The picture with sRGB's numbers where its profile says that it has others'; its alpha stays.

    A profile that is damaged, or for another kind of picture, counts for nothing, as in browsers.
    """
    from PIL import ImageCms

    data = picture.info.get("icc_profile")
    if not data:
        return picture
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        name = ImageCms.getProfileDescription(profile).lower()
        if name.startswith("srgb") and "linear" not in name:
            return picture
        if picture.mode in ("P", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
        mode = MODES.get(picture.mode, picture.mode)
        if SPACES.get(profile.profile.xcolor_space.strip()) != mode:
            return picture
        alpha = picture.getchannel("A") if picture.mode in ("RGBA", "LA") else None
        converted = ImageCms.profileToProfile(
            picture.convert(mode), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture
    if converted is not None and alpha is not None:
        converted.putalpha(alpha)
    return picture if converted is None else converted
