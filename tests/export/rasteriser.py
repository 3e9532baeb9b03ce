"""A small splat rasteriser by the paper of 3D Gaussian splatting, which knows nothing of the package's own code.

It reads a classic .ply, projects each Gaussian by the local affine map, adds 0.3 px^2, sorts by depth, and blends from
front to back.
"""

import numpy as np

HARMONIC = 0.28209479177387814
DILATION = 0.3  # px^2


def read_splats(data: bytes) -> dict[str, np.ndarray]:
    """The columns of a .ply of floats by their names."""
    head, _, body = data.partition(b"end_header\n")
    lines = head.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    names = [line.split()[2] for line in lines if line.startswith("property float ")]
    (count,) = (int(line.split()[2]) for line in lines if line.startswith("element vertex "))
    rows = np.frombuffer(body, "<f4").reshape(count, len(names))
    return dict(zip(names, rows.T.astype(np.float64), strict=True))


def rotations(w, x, y, z) -> np.ndarray:
    length = np.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w / length, x / length, y / length, z / length
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def rasterise(splats: dict[str, np.ndarray], world_from_camera, intrinsics, height: int, width: int) -> np.ndarray:
    """Premultiplied RGBA [H, W, 4] from an OpenCV camera."""
    positions, scales, turns, colours = (
        np.stack([splats[name] for name in names], -1)
        for names in (
            ("x", "y", "z"),
            ("scale_0", "scale_1", "scale_2"),
            ("rot_0", "rot_1", "rot_2", "rot_3"),
            ("f_dc_0", "f_dc_1", "f_dc_2"),
        )
    )
    opacity = 1 / (1 + np.exp(-splats["opacity"]))
    colours = np.clip(0.5 + HARMONIC * colours, 0, 1)
    camera = np.asarray(world_from_camera, float)
    fx, fy, cx, cy = np.asarray(intrinsics, float)
    x, y, z = ((positions - camera[:3, 3]) @ camera[:3, :3]).T
    axes = rotations(*turns.T) * np.exp(scales)[:, None]
    zero = np.zeros_like(z)
    affine = np.array([[fx / z, zero, -fx * x / z**2], [zero, fy / z, -fy * y / z**2]])
    half = np.einsum("abn,bc,ncd->nad", affine, camera[:3, :3].T, axes)
    spread = half @ half.swapaxes(1, 2) + DILATION * np.eye(2)
    inverse = np.linalg.inv(spread)
    u, v = fx * x / z + cx, fy * y / z + cy
    radius = 3 * np.sqrt(np.linalg.eigvalsh(spread)[:, 1])
    order = np.argsort(z)
    left, right = (np.clip(np.ceil(u + side * radius - 0.5), 0, width).astype(int)[order] for side in (-1, 1))
    top, bottom = (np.clip(np.ceil(v + side * radius - 0.5), 0, height).astype(int)[order] for side in (-1, 1))
    counts = (right - left) * (bottom - top) * (z[order] > 0)
    splat = np.repeat(np.arange(len(z)), counts)
    place = np.arange(len(splat)) - np.repeat(counts.cumsum() - counts, counts)
    px, py = left[splat] + place % (right - left)[splat], top[splat] + place // (right - left)[splat]
    dx, dy = px + 0.5 - u[order][splat], py + 0.5 - v[order][splat]
    a, b, c = (inverse[order, i, j][splat] for i, j in ((0, 0), (0, 1), (1, 1)))
    alpha = np.minimum(opacity[order][splat] * np.exp(-(a * dx**2 + 2 * b * dx * dy + c * dy**2) / 2), 0.99)
    kept = alpha >= 1 / 255
    splat, pixel = splat[kept], (py * width + px)[kept]
    by_pixel = np.argsort(pixel, kind="stable")  # and by depth within
    pixel, splat, alpha = pixel[by_pixel], splat[by_pixel], alpha[kept][by_pixel]
    passed = np.log1p(-alpha).cumsum() - np.log1p(-alpha)
    first = np.concatenate([[True], pixel[1:] != pixel[:-1]])
    start = np.maximum.accumulate(np.where(first, np.arange(len(pixel)), 0))
    weight = alpha * np.exp(passed - passed[start])
    picture = np.zeros((height * width, 4))
    np.add.at(picture, pixel, np.concatenate([colours[order][splat] * weight[:, None], weight[:, None]], 1))
    return picture.reshape(height, width, 4)
