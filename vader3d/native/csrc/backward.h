// The march's gradient: one more march, in which what lies behind a sample is "total - what came before".

// Gains of `count` samples: their extra channels times the extra outputs' gradients.
template <int N>
static void gain_extra(const Corners &c, const Block<N> &b, const float *d_extra, int count, float *gains) {
    Weights<N> w;
    BLOCK STORE(gains, splat(1));
    weigh(b, gains, w);
    memset(gains, 0, N * sizeof(float));
    for_extra(c.channels, [&](int64_t first, auto zero) {
        const float *factors = d_extra + first - 4;
        for (int i = 0; i < count; i++) {
            auto value = zero;
            for (int k = 0; k < 8; k++) value.add(w.corner[k][i], corner(c, b, i, k) + first);
            f4 total = {};
            if (zero.FOUR) total = value.four * *(const f4 *)(factors + 8 * zero.EIGHTS);
            for (int g = 0; g < zero.EIGHTS; g++) {
                const f8 gain = value.eights[g] * *(const f8 *)(factors + 8 * g);
                total += SWIZZLE(gain, gain, 0, 1, 2, 3) + SWIZZLE(gain, gain, 4, 5, 6, 7);
            }
            gains[i] += sum4(total);
        }
    });
}

// Of the corners of sample i's cell.
template <int N>
static inline f8 shares(const Block<N> &b, int i) {
    const f8 x0 = {1, 0, 1, 0, 1, 0, 1, 0}, y0 = {1, 1, 0, 0, 1, 1, 0, 0}, z0 = {1, 1, 1, 1};
    return (x0 + b.x[i] * (1 - 2 * x0)) * (y0 + b.y[i] * (1 - 2 * y0)) * (z0 + b.z[i] * (1 - 2 * z0));
}

// Adds to the extra channels' gradients: along a ray they are all multiples of the extra outputs' gradients, so the
// multiples are summed up while samples stay in one cell.
template <int N>
static void scatter_extra(const Block<N> &b, const float *weights, const float *d_extra, int count,
                          const Corners &d_corners) {
    for_extra(d_corners.channels, [&](int64_t first, auto zero) {
        for (int i = 0; i < count;) {
            const int begin = i;
            f8 multiples = {};
            for (; i < count && b.offset[i] == b.offset[begin]; i++) multiples += weights[i] * shares(b, i);
            for (int k = 0; k < 8; k++) {
                auto gradient = zero;
                gradient.add(multiples[k], d_extra + first - 4);
                gradient.add_to((float *)corner(d_corners, b, begin, k) + first);
            }
        }
    });
}

// The loss's slope along x, y, z (in voxels) at sample i, whose first four channels have the gradient `value`.
template <int N>
static inline void slopes(const March &job, const Corners &c, const Block<N> &b, int i, f4 value, float weight,
                          const float *d_extra, float *slope) {
    float s[8];
    for (int k = 0; k < 8; k++) {
        const float *voxel = c.rows[k / 2] + 2 * (int64_t)b.offset[i] + k % 2 * job.channels;
        f4 total = value * *(const f4 *)voxel;
        for (int64_t first = 4; first < job.channels; first += 4)
            total += weight * *(const f4 *)(d_extra + first - 4) * *(const f4 *)(voxel + first);
        s[k] = sum4(total);
    }
    const float x = b.x[i], y = b.y[i], z = b.z[i];
    const float z0y0 = lerp(s[0], s[1], x), z0y1 = lerp(s[2], s[3], x), z1y0 = lerp(s[4], s[5], x),
                z1y1 = lerp(s[6], s[7], x);
    slope[2] = lerp(z1y0, z1y1, y) - lerp(z0y0, z0y1, y);
    slope[1] = lerp(z0y1 - z0y0, z1y1 - z1y0, z);
    slope[0] = lerp(lerp(s[1] - s[0], s[3] - s[2], y), lerp(s[5] - s[4], s[7] - s[6], y), z);
}

struct RayGradient {
    float origin[3], direction[3], depth, along;  // of all samples' depths; of depths and thicknesses per step
};

template <int N>
static inline void add_slopes(const March &job, const Ray &ray, const Block<N> &b, int i, const float *slope,
                              float d_depth, float d_thickness, const float *direction, RayGradient &d) {
    const int64_t size[3] = {job.width, job.height, job.depth};
    const float along = ((const float *)b.along)[i], depth = ((const float *)b.depth)[i], gone = along * ray.step;
    for (int k = 0; k < 3; k++) {
        const float last = (float)(size[k] - 1), place = ray.entry[k] + gone * ray.speed[k];
        const float world = place > 0 && place < last ? slope[k] * 0.5f * last : 0;
        d.origin[k] += world, d.direction[k] += world * depth, d_depth += world * direction[k];
    }
    d.depth += d_depth;
    d.along += d_depth * along + d_thickness * ((const float *)b.density)[i];
}

template <bool SEEDED, bool TO_GRID, bool TO_RAYS>
static void backward_ray(const March &job, int64_t number, float *d_grid) {
    enum { N = MANY };
    const int64_t marched = job.marched[number], voxels = job.depth * job.height * job.width;
    float *d_ray = TO_RAYS ? job.d_rays + 8 * number : NULL;
    if (TO_RAYS) memset(d_ray, 0, 8 * sizeof(float));
    if (marched == 0) return;
    const Corners c = corners(job, job.grid + number / job.rays * voxels * job.channels), d = corners(job, d_grid);
    const bool far = voxels * job.channels * 4 > FAR_BYTES;
    const float *out = job.features + job.features_per_ray * number,
                *d_out = job.d_features + job.features_per_ray * number;
    const f4 d_colour = {d_out[0], d_out[1], d_out[2], 0};
    const float d_opacity = job.d_opacity[number], d_depth = job.d_depth[number];
    float d_extra[MOST_CHANNELS];
    memset(d_extra, 0, (job.channels - 4) * sizeof(float));
    memcpy(d_extra, d_out + 3, (job.features_per_ray - 3) * sizeof(float));
    float total = d_opacity * job.opacity[number] + d_depth * job.depth_sum[number];
    for (int64_t k = 0; k < job.features_per_ray; k++) total += d_out[k] * out[k];
    const Ray ray = start_ray(job, number);
    RayGradient sums = {};
    Block<N> b;
    Light light = {fv{}, splat(1)};
    fv behind = splat(total);
    for (int64_t first = 0; first < marched; first += N) {
        place<SEEDED>(job, ray, first, marched, b);
        if (far) fetch_ahead(c, b);
        if (far && TO_GRID) fetch_ahead(d, b);
        fetch(c, b);
        attenuate<SEEDED, true>(job, ray, light, b);
        const int count = marched - first < N ? (int)(marched - first) : (int)N;
        alignas(64) float weights[N], d_raws[N], d_thicknesses[N], gains[N];
        if (job.channels > 4) gain_extra(c, b, d_extra, count, gains);
        BLOCK {
            const fv weight = stopped(light, b, v, count);
            fv gain = d_colour[0] * LOAD(b.channels[0]) + d_colour[1] * LOAD(b.channels[1]) +
                      d_colour[2] * LOAD(b.channels[2]) + d_depth * b.depth[v] + d_opacity;
            if (job.channels > 4) gain += LOAD(gains);
            const fv left = behind - running_sum(weight * gain), d_thickness = b.after[v] * gain - left;
            behind = last_lane(left);
            STORE(weights, weight);
            STORE(d_thicknesses, d_thickness);
            STORE(d_raws, d_thickness * ray.step * b.slope[v]);
        }
        for (int i = 0; i < count; i++) {
            f4 value = weights[i] * d_colour;
            value[3] = d_raws[i];
            if (TO_RAYS) {
                float slope[3];
                slopes(job, c, b, i, value, weights[i], d_extra, slope);
                add_slopes(job, ray, b, i, slope, weights[i] * d_depth, d_thicknesses[i], job.directions + 3 * number,
                           sums);
            }
            if (TO_GRID) {
                // In halves of 16 bytes: a wider store would straddle what the next sample wants to load.
                const float x = b.x[i], y = b.y[i], z = b.z[i];
                const f4 z1 = z * value, z0 = value - z1, z1y1 = y * z1, z0y1 = y * z0;
                const f4 parts[4] = {z0 - z0y1, z0y1, z1 - z1y1, z1y1};
                for (int r = 0; r < 4; r++) {
                    float *voxel = (float *)d.rows[r] + 2 * (int64_t)b.offset[i];
                    const f4 high = x * parts[r];
                    *(f4 *)voxel += parts[r] - high;
                    *(f4 *)(voxel + job.channels) += high;
                }
            }
        }
        if (TO_GRID && job.channels > 4) scatter_extra(b, weights, d_extra, count, d);
    }
    if (TO_RAYS) {
        for (int k = 0; k < 3; k++) d_ray[k] = sums.origin[k], d_ray[3 + k] = sums.direction[k];
        d_ray[7] = sums.along / (float)job.samples, d_ray[6] = sums.depth - d_ray[7];
    }
}

// Threads share the rays out by the samples marched. A thread that starts in the middle of an object adds up that
// object's gradient in a spare grid of its own; so no atomics, and the sums do not depend on timing.
static void backward(const March &job) {
#define MARCH(seeded)                                 \
    (!job.d_rays  ? backward_ray<seeded, true, false> \
     : job.d_grid ? backward_ray<seeded, true, true>  \
                  : backward_ray<seeded, false, true>)
    const auto march = job.seeded ? MARCH(true) : MARCH(false);
    const int64_t rays = job.objects * job.rays, size = job.depth * job.height * job.width * job.channels;
    int64_t begin[MOST_THREADS + 1], total = 0, passed = 0, thread = 1;
    for (int64_t ray = 0; ray < rays; ray++) total += job.marched[ray] + 4;
    begin[0] = 0;
    for (int64_t ray = 0; ray < rays; ray++) {
        while (thread < job.threads && passed * job.threads >= total * thread) begin[thread++] = ray;
        passed += job.marched[ray] + 4;
    }
    while (thread <= job.threads) begin[thread++] = rays;
#pragma omp parallel for schedule(static, 1) num_threads(job.threads) if (job.threads > 1)
    for (int64_t t = 0; t < job.threads; t++)
        for (int64_t ray = begin[t]; ray < begin[t + 1];) {
            const int64_t object = ray / job.rays, end = (object + 1) * job.rays;
            float *d_grid = NULL;
            if (job.d_grid) {
                d_grid = ray == object * job.rays ? job.d_grid + object * size : job.spare + (t - 1) * size;
                memset(d_grid, 0, size * sizeof(float));
            }
            for (; ray < end && ray < begin[t + 1]; ray++) march(job, ray, d_grid);
        }
    if (!job.d_grid) return;
#pragma omp parallel for num_threads(job.threads) if (job.threads > 1)
    for (int64_t slice = 0; slice < job.objects * job.depth; slice++) {
        const int64_t object = slice / job.depth, length = size / job.depth;
        for (int64_t t = 1; t < job.threads; t++)
            if (begin[t] < begin[t + 1] && begin[t] / job.rays == object && begin[t] % job.rays) {
                const float *from = job.spare + (t - 1) * size + slice % job.depth * length;
                float *to = job.d_grid + slice * length;
                for (int64_t i = 0; i < length; i++) to[i] += from[i];
            }
    }
}
