"""The march of `reference.py` as two Triton kernels: one ray a lane.

Only `triton.py` imports this file, and only for a call: it needs triton at import, and reads TRITON_INTERPRET then.
A program is one warp: RAYS rays x CHANNEL_BLOCK channels, 4 channels a thread, so that a grid corner is one 16-byte
load (fp32) and its gradient one 16-byte reduction. Channel 3 of every [ray, channel] tile of pixels holds opacity.
"""

import triton
import triton.language as tl

from vader3d.render import reference

DENSITY = tl.constexpr(3)
BLOCK = tl.constexpr(4)  # cells along an occupancy block's edge
TINY = tl.constexpr(1e-12)
BYTES_MEAN, NOISE_SCALE = tl.constexpr(reference.BYTES_MEAN), tl.constexpr(1 / reference.BYTES_STD)

COUNTS = ["ray_count", "rays_per_object", "samples", "depth_size", "height", "width", "seed_key"]


@triton.jit
def slab(origin, direction):
    """One axis of the cube: the divisor, and the depths of entry and exit."""
    divisor = tl.where(tl.abs(direction) > TINY, direction, tl.where(direction < 0, -TINY, TINY))
    low, high = (-1 - origin) / divisor, (1 - origin) / divisor
    return divisor, tl.minimum(low, high), tl.maximum(low, high)


@triton.jit
def load_rays(origins, directions, ray, valid):
    """Origins and directions by axis; lanes without a ray look along (1, 1, 1) from 0."""
    ox = tl.load(origins + ray * 3, mask=valid, other=0.0)
    oy = tl.load(origins + ray * 3 + 1, mask=valid, other=0.0)
    oz = tl.load(origins + ray * 3 + 2, mask=valid, other=0.0)
    dx = tl.load(directions + ray * 3, mask=valid, other=1.0)
    dy = tl.load(directions + ray * 3 + 1, mask=valid, other=1.0)
    dz = tl.load(directions + ray * 3 + 2, mask=valid, other=1.0)
    return ox, oy, oz, dx, dy, dz


@triton.jit
def hash32(key):
    """`reference.hash32` on uint32."""
    key = (key ^ (key >> 16)) * 0x85EBCA6B
    key = (key ^ (key >> 13)) * 0xC2B2AE35
    return key ^ (key >> 16)


@triton.jit
def sample_noise(ray, sample, samples, seed_key, JITTER: tl.constexpr, NOISE: tl.constexpr):
    """`reference.sample_noise` of one sample: the place within its step, and unit noise."""
    key = ray.to(tl.uint32) * samples.to(tl.uint32) + sample.to(tl.uint32) + seed_key.to(tl.uint32)
    place = tl.full(ray.shape, 0.5, tl.float32)
    noise = tl.zeros(ray.shape, tl.float32)
    if JITTER:
        place = (hash32(key) >> 8).to(tl.float32) * (1.0 / (1 << 24))
    if NOISE:
        bits = hash32(key ^ 0x5BD1E995)
        total = (bits & 255) + ((bits >> 8) & 255) + ((bits >> 16) & 255) + (bits >> 24)
        noise = (total.to(tl.float32) - BYTES_MEAN) * NOISE_SCALE
    return place, noise


@triton.jit
def locate(position, size):
    """Place on one axis of the cube -> voxels below and above, fraction between, d fraction / d position."""
    extent = (size - 1).to(tl.float32)
    scaled = (position + 1) * 0.5 * extent
    inside = tl.minimum(tl.maximum(scaled, 0.0), extent)
    lower = tl.minimum(inside.to(tl.int32), tl.maximum(size - 2, 0))
    slope = tl.where((scaled > 0) & (scaled < extent), extent * 0.5, 0.0)
    return lower, tl.minimum(lower + 1, size - 1), inside - lower.to(tl.float32), slope


@triton.jit
def corner(
    bits: tl.constexpr, base, x0, x1, fx, y0, y1, fy, z0, z1, fz, height, width, channel, STRIDE: tl.constexpr
):  # fmt: skip
    """One of a cell's 8 corners: its offsets [ray, channel] and its weight's three factors.

    Offsets are int64, for a batch of grids passes 2^31 numbers.
    """
    x, wx = x1 if bits & 1 else x0, fx if bits & 1 else 1 - fx
    y, wy = y1 if bits & 2 else y0, fy if bits & 2 else 1 - fy
    z, wz = z1 if bits & 4 else z0, fz if bits & 4 else 1 - fz
    voxel = (z * height + y) * width + x
    return (base + voxel.to(tl.int64) * STRIDE)[:, None] + channel[None, :], wx, wy, wz


@triton.jit
def activate(raw, scale, SOFTPLUS: tl.constexpr):
    """Raw density -> density and its derivative."""
    if SOFTPLUS:
        small = tl.exp(-tl.abs(raw))
        series = small * (1 - small * (0.5 - small * 0.33333334))
        tail = tl.where(small < 0.01, series, tl.log(1 + small))
        density = tl.maximum(raw, 0.0) + tail
        slope = tl.where(raw < 0, small, 1.0) / (1 + small)
    else:
        density = tl.maximum(raw, 0.0)
        slope = tl.where(raw > 0, 1.0, 0.0)
    return density * scale, slope * scale


@triton.jit
def absorb(thickness):
    """exp(-thickness), and 1 - exp(-thickness) without cancellation."""
    through = tl.exp(-thickness)
    series = thickness * (1 - thickness * (0.5 - thickness * (0.16666667 - thickness * 0.041666668)))
    return through, tl.where(thickness < 0.1, series, 1 - through)


@triton.jit
def load_pixels(features, opacity, ray, channel, valid, CHANNELS: tl.constexpr):
    """Features [., C-1] and opacity [.] as one tile [ray, channel]."""
    column = (ray * (CHANNELS - 1))[:, None] + (channel - (channel > DENSITY).to(tl.int32))[None, :]
    wanted = valid[:, None] & ((channel != DENSITY) & (channel < CHANNELS))[None, :]
    tile = tl.load(features + column, mask=wanted, other=0.0)
    return tl.where((channel == DENSITY)[None, :], tl.load(opacity + ray, mask=valid, other=0.0)[:, None], tile)


@triton.jit
def pick_density(tile, channel):
    """Column DENSITY of a tile."""
    return tl.sum(tl.where((channel == DENSITY)[None, :], tile, 0.0), 1)


@triton.jit(do_not_specialize=COUNTS)
def march_forward(
    features, opacity, depths, grid, origins, directions, occupied, ray_count, rays_per_object, samples,
    depth_size, height, width, seed_key, scale, noise_scale, early_stop,
    CHANNELS: tl.constexpr, STRIDE: tl.constexpr, CHANNEL_BLOCK: tl.constexpr, RAYS: tl.constexpr,
    SOFTPLUS: tl.constexpr, JITTER: tl.constexpr, NOISE: tl.constexpr, SKIP: tl.constexpr,
):  # fmt: skip
    """Rays [ray_count] through grids [B, D, H, W, STRIDE] -> features [., C-1], opacity and depth [.]."""
    ray = tl.program_id(0).to(tl.int64) * RAYS + tl.arange(0, RAYS)
    channel = tl.arange(0, CHANNEL_BLOCK)
    valid = ray < ray_count
    ox, oy, oz, dx, dy, dz = load_rays(origins, directions, ray, valid)
    _, lo_x, hi_x = slab(ox, dx)
    _, lo_y, hi_y = slab(oy, dy)
    _, lo_z, hi_z = slab(oz, dz)
    near = tl.maximum(tl.maximum(tl.maximum(lo_x, lo_y), lo_z), 0.0)
    far = tl.minimum(tl.minimum(hi_x, hi_y), hi_z)
    step = (far - near) / samples.to(tl.float32)

    owner = ray // rays_per_object
    base = owner * depth_size * height * width * STRIDE
    blocks_z, blocks_y = tl.cdiv(tl.maximum(depth_size - 1, 1), BLOCK), tl.cdiv(tl.maximum(height - 1, 1), BLOCK)
    blocks_x = tl.cdiv(tl.maximum(width - 1, 1), BLOCK)
    first_block = owner * blocks_z * blocks_y * blocks_x

    transmittance = tl.full([RAYS], 1.0, tl.float32)
    pixels = tl.zeros([RAYS, CHANNEL_BLOCK], tl.float32)
    depth_sum = tl.zeros([RAYS], tl.float32)
    active = valid & (far > near)
    sample = tl.full((), 0, tl.int32)
    while (sample < samples) & (tl.max(active.to(tl.int32), 0) > 0):
        place, noise = sample_noise(ray, sample, samples, seed_key, JITTER, NOISE)
        depth = near + (sample.to(tl.float32) + place) * step
        x0, x1, fx, _ = locate(ox + depth * dx, width)
        y0, y1, fy, _ = locate(oy + depth * dy, height)
        z0, z1, fz, _ = locate(oz + depth * dz, depth_size)
        wanted = active
        if SKIP:
            block = (z0 // BLOCK * blocks_y + y0 // BLOCK) * blocks_x + x0 // BLOCK
            wanted = active & (tl.load(occupied + first_block + block, mask=active, other=0) != 0)
        if (not SKIP) or tl.max(wanted.to(tl.int32), 0) > 0:
            mask = wanted[:, None] & (channel < STRIDE)[None, :]
            sampled = tl.zeros([RAYS, CHANNEL_BLOCK], tl.float32)
            for bits in tl.static_range(8):
                at, wx, wy, wz = corner(bits, base, x0, x1, fx, y0, y1, fy, z0, z1, fz, height, width, channel, STRIDE)
                sampled += tl.load(grid + at, mask=mask, other=0.0).to(tl.float32) * (wz * wy * wx)[:, None]
            density, _ = activate(pick_density(sampled, channel) + noise_scale * noise, scale, SOFTPLUS)
            through, absorbed = absorb(tl.where(wanted, density * step, 0.0))
            weight = transmittance * absorbed
            pixels += weight[:, None] * tl.where((channel == DENSITY)[None, :], 1.0, sampled)
            depth_sum += weight * depth
            transmittance *= through
            active &= transmittance >= early_stop
        sample += 1

    column = (ray * (CHANNELS - 1))[:, None] + (channel - (channel > DENSITY).to(tl.int32))[None, :]
    kept = valid[:, None] & ((channel != DENSITY) & (channel < CHANNELS))[None, :]
    tl.store(features + column, pixels, mask=kept)
    tl.store(opacity + ray, pick_density(pixels, channel), mask=valid)
    tl.store(depths + ray, depth_sum, mask=valid)


@triton.jit
def store_ray_gradient(
    grad_origins, grad_directions, place, valid, divisor, low, high, entry, leave,
    grad_low, grad_high, grad_point, grad_point_depth,
):  # fmt: skip
    """One axis: the points' part (d point = d origin + depth d direction) and the crossing's part, where it binds."""
    grad_low, grad_high = tl.where(low == entry, grad_low, 0.0), tl.where(high == leave, grad_high, 0.0)
    tl.store(grad_origins + place, grad_point - (grad_low + grad_high) / divisor, mask=valid)
    through_divisor = -(grad_low * low + grad_high * high) / divisor  # 0 for a direction of 0: its faces do not bind
    tl.store(grad_directions + place, grad_point_depth + through_divisor, mask=valid)


@triton.jit(do_not_specialize=COUNTS)
def march_backward(
    grad_grid, grad_origins, grad_directions, grad_features, grad_opacity, grad_depths, features, opacity, depths,
    grid, origins, directions, ray_count, rays_per_object, samples,
    depth_size, height, width, seed_key, scale, noise_scale, early_stop,
    CHANNELS: tl.constexpr, STRIDE: tl.constexpr, CHANNEL_BLOCK: tl.constexpr, RAYS: tl.constexpr,
    SOFTPLUS: tl.constexpr, JITTER: tl.constexpr, NOISE: tl.constexpr, TO_GRID: tl.constexpr, TO_RAYS: tl.constexpr,
):  # fmt: skip
    """March again and send gradients home: to grad_grid (fp32, zeroed before) by atomic adds, to rays by stores.

    With q_i = d loss / d weight_i, thickness i gets T_{i+1} q_i - sum_{j>i} weight_j q_j, and the sum over later
    samples is the whole (from the saved outputs) less what has been passed.
    """
    ray = tl.program_id(0).to(tl.int64) * RAYS + tl.arange(0, RAYS)
    channel = tl.arange(0, CHANNEL_BLOCK)
    is_density = (channel == DENSITY)[None, :]
    valid = ray < ray_count
    ox, oy, oz, dx, dy, dz = load_rays(origins, directions, ray, valid)
    divisor_x, lo_x, hi_x = slab(ox, dx)
    divisor_y, lo_y, hi_y = slab(oy, dy)
    divisor_z, lo_z, hi_z = slab(oz, dz)
    entry = tl.maximum(tl.maximum(lo_x, lo_y), lo_z)
    near = tl.maximum(entry, 0.0)
    far = tl.minimum(tl.minimum(hi_x, hi_y), hi_z)
    step = (far - near) / samples.to(tl.float32)
    base = ray // rays_per_object * depth_size * height * width * STRIDE

    grad_pixels = load_pixels(grad_features, grad_opacity, ray, channel, valid, CHANNELS)
    grad_depth_sum = tl.load(grad_depths + ray, mask=valid, other=0.0)
    later = tl.sum(grad_pixels * load_pixels(features, opacity, ray, channel, valid, CHANNELS), 1)
    later += grad_depth_sum * tl.load(depths + ray, mask=valid, other=0.0)

    transmittance = tl.full([RAYS], 1.0, tl.float32)
    grad_near, grad_step = tl.zeros([RAYS], tl.float32), tl.zeros([RAYS], tl.float32)
    point_x, point_y, point_z = grad_near, grad_near, grad_near  # d loss / d origin, from the points
    tilt_x, tilt_y, tilt_z = grad_near, grad_near, grad_near  # d loss / d direction, from the points
    active = valid & (far > near)
    sample = tl.full((), 0, tl.int32)
    while (sample < samples) & (tl.max(active.to(tl.int32), 0) > 0):
        place, noise = sample_noise(ray, sample, samples, seed_key, JITTER, NOISE)
        place += sample.to(tl.float32)
        depth = near + place * step
        x0, x1, fx, slope_x = locate(ox + depth * dx, width)
        y0, y1, fy, slope_y = locate(oy + depth * dy, height)
        z0, z1, fz, slope_z = locate(oz + depth * dz, depth_size)
        mask = active[:, None] & (channel < STRIDE)[None, :]
        sampled = tl.zeros([RAYS, CHANNEL_BLOCK], tl.float32)
        along_x, along_y, along_z = sampled, sampled, sampled  # d sampled / d fraction
        for bits in tl.static_range(8):
            at, wx, wy, wz = corner(bits, base, x0, x1, fx, y0, y1, fy, z0, z1, fz, height, width, channel, STRIDE)
            value = tl.load(grid + at, mask=mask, other=0.0).to(tl.float32)
            sampled += value * (wz * wy * wx)[:, None]
            if TO_RAYS:
                along_x += value * (wz * wy * (1.0 if bits & 1 else -1.0))[:, None]
                along_y += value * (wz * wx * (1.0 if bits & 2 else -1.0))[:, None]
                along_z += value * (wy * wx * (1.0 if bits & 4 else -1.0))[:, None]

        density, slope = activate(pick_density(sampled, channel) + noise_scale * noise, scale, SOFTPLUS)
        through, absorbed = absorb(tl.where(active, density * step, 0.0))
        weight = transmittance * absorbed
        grad_weight = tl.sum(grad_pixels * tl.where(is_density, 1.0, sampled), 1) + grad_depth_sum * depth
        later -= weight * grad_weight
        transmittance *= through
        grad_thickness = tl.where(active, transmittance * grad_weight - later, 0.0)
        grad_raw = grad_thickness * step * slope
        grad_sampled = tl.where(is_density, grad_raw[:, None], weight[:, None] * grad_pixels)
        if TO_GRID:
            mask = (weight != 0)[:, None] & (channel < STRIDE)[None, :]  # where nothing absorbs, no gradient arises
            for bits in tl.static_range(8):
                at, wx, wy, wz = corner(bits, base, x0, x1, fx, y0, y1, fy, z0, z1, fz, height, width, channel, STRIDE)
                tl.atomic_add(grad_grid + at, grad_sampled * (wz * wy * wx)[:, None], mask=mask, sem="relaxed")
        if TO_RAYS:
            grad_x = tl.sum(grad_sampled * along_x, 1) * slope_x
            grad_y = tl.sum(grad_sampled * along_y, 1) * slope_y
            grad_z = tl.sum(grad_sampled * along_z, 1) * slope_z
            point_x += grad_x
            point_y += grad_y
            point_z += grad_z
            tilt_x += depth * grad_x
            tilt_y += depth * grad_y
            tilt_z += depth * grad_z
            grad_depth = weight * grad_depth_sum + grad_x * dx + grad_y * dy + grad_z * dz
            grad_near += grad_depth
            grad_step += place * grad_depth + grad_thickness * density
        active &= transmittance >= early_stop
        sample += 1

    if TO_RAYS:
        grad_far = grad_step / samples.to(tl.float32)
        grad_entry = tl.where(entry >= 0, grad_near - grad_far, 0.0)
        # Where several faces bind at once (an edge), they share, as torch's amax and amin do.
        grad_low = grad_entry / ((lo_x == entry).to(tl.float32) + (lo_y == entry) + (lo_z == entry))
        grad_high = grad_far / ((hi_x == far).to(tl.float32) + (hi_y == far) + (hi_z == far))
        store_ray_gradient(
            grad_origins, grad_directions, ray * 3, valid, divisor_x, lo_x, hi_x, entry, far,
            grad_low, grad_high, point_x, tilt_x,
        )  # fmt: skip
        store_ray_gradient(
            grad_origins, grad_directions, ray * 3 + 1, valid, divisor_y, lo_y, hi_y, entry, far,
            grad_low, grad_high, point_y, tilt_y,
        )  # fmt: skip
        store_ray_gradient(
            grad_origins, grad_directions, ray * 3 + 2, valid, divisor_z, lo_z, hi_z, entry, far,
            grad_low, grad_high, point_z, tilt_z,
        )  # fmt: skip
