// A ray's next samples: where they stand, what the grid holds there, how much light they stop.

struct Ray {
    float near, step, length;  // depths: of its entry, between samples, from entry to exit
    float entry[3], speed[3];  // voxel coordinates (x, y, z) where it enters, and their change per unit of depth
    uint32_t key;              // of its jitter and noise
    bool hits, finite;
};

static inline Ray start_ray(const March &job, int64_t number) {
    const float *o = job.origins + 3 * number, *d = job.directions + 3 * number;
    const d4 origin = {o[0], o[1], o[2], 0}, along = {d[0], d[1], d[2], 0}, tiny = {1e-12, 1e-12, 1e-12, 1e-12};
    const d4 half = {0.5 * (job.width - 1), 0.5 * (job.height - 1), 0.5 * (job.depth - 1), 0};
    const d4 speed = along > tiny ? along : along < -tiny ? along : along < 0 ? -tiny : tiny;
    const d4 slow = 1 / speed, low = (-1 - origin) * slow, high = (1 - origin) * slow;
    const d4 first = low < high ? low : high, last = low < high ? high : low;
    double near = first[0] > first[1] ? first[0] : first[1], far = last[0] < last[1] ? last[0] : last[1];
    near = first[2] > near ? first[2] : near, far = last[2] < far ? last[2] : far;
    near = near > 0 ? near : 0;
    const d4 entry = (origin + near * along + 1) * half, rate = along * half;
    const double all = (o[0] + o[1] + o[2]) + (d[0] + d[1] + d[2]);
    Ray ray;
    ray.finite = all - all == 0;
    ray.hits = far > near && ray.finite;
    ray.near = (float)near;
    ray.length = (float)(far - near);
    ray.step = (float)((far - near) * (1.0 / job.samples));
    for (int k = 0; k < 3; k++) ray.entry[k] = (float)entry[k], ray.speed[k] = (float)rate[k];
    ray.key = (uint32_t)(number * job.samples) + (uint32_t)job.seed * 0x9E3779B9u;
    return ray;
}

template <int N>
struct Block {
    alignas(64) float x[N], y[N], z[N];  // position in the cell, in [0, 1]
    alignas(64) int32_t offset[N];       // of the cell's low corner in the grid, in pairs of numbers
    alignas(64) float channels[4][N];    // red, green, blue, raw density
    fv along[N / LANES], depth[N / LANES], noise[N / LANES];  // along: samples since the ray's entry
    fv density[N / LANES], slope[N / LANES];                  // slope: d density / d raw; both for the gradient only
    fv after[N / LANES];                                      // transmittance behind a sample
    int length;                                               // samples in it, rounded up to eights
};

static inline void store(float *to, fv value) { *(fv *)to = value; }
static inline void store(int32_t *to, iv value) { *(iv *)to = value; }
#define STORE(array, value) store((array) + v * LANES, value)
#define LOAD(array) (*(const fv *)((array) + v * LANES))

// Where up to N samples from `first` on stand: depth, cell, position in the cell; what fills up the last eight stands
// at the exit. Rounding may put a sample a hair outside the grid, and then a position a hair outside [0, 1].
template <bool SEEDED, int N>
static inline void place(const March &job, const Ray &ray, int64_t first, int64_t end, Block<N> &b) {
    const int32_t dx = job.channels / 2, dy = dx * job.width, dz = dy * job.height;
    const iv none = {}, last_x = none + (int32_t)(job.width - 2);
    const iv last_y = none + (int32_t)(job.height > 1 ? job.height - 2 : 0);
    const iv last_z = none + (int32_t)(job.depth > 1 ? job.depth - 2 : 0);
    b.length = end - first < N ? ((int)(end - first) + 7) / 8 * 8 : (int)N;
    BLOCK {
        fv shift = splat(0.5f);
        if (SEEDED) {
            const uv key = (uv)whole(COUNT) + (ray.key + (uint32_t)first + v * LANES);
            shift = real((iv)(hash32(key) >> 8)) * (1.0f / (1 << 24));
            b.noise[v] = fv{};
            if (job.noise_scale != 0) {
                const uv h = hash32(key ^ 0x5BD1E995u), byte = uv{} + 255;
                const iv total = (iv)((h & byte) + ((h >> 8) & byte) + ((h >> 16) & byte) + (h >> 24));
                b.noise[v] = real(total - 510) * (float)job.noise_scale;
            }
        }
        b.along[v] = COUNT + (float)(first + v * LANES) + shift;
        const fv gone = lower(b.along[v] * ray.step, splat(ray.length));
        b.depth[v] = ray.near + gone;
        const fv x = ray.entry[0] + gone * ray.speed[0], y = ray.entry[1] + gone * ray.speed[1];
        const fv z = ray.entry[2] + gone * ray.speed[2];
        const iv i = lower(whole(x), last_x), j = lower(whole(y), last_y), k = lower(whole(z), last_z);
        STORE(b.x, x - real(i)), STORE(b.y, y - real(j)), STORE(b.z, z - real(k));
        STORE(b.offset, k * dz + j * dy + i * dx);
    }
}

// Two neighbours in x at once, lerped in z and y. A sample's corners lie at `offset` in four views of the grid.
template <class T>
static inline T lerp(T a, T b, float t) {
    return a + t * (b - a);
}

struct Corners {
    const float *rows[4];  // of the grid: at (z, y), (z, y + 1), (z + 1, y), (z + 1, y + 1)
    int64_t channels;
};

template <class Job>
static inline Corners corners(const Job &job, const float *grid) {
    const int64_t sy = job.height > 1 ? job.width * job.channels : 0;
    const int64_t sz = job.depth > 1 ? job.width * job.height * job.channels : 0;
    return {{grid, grid + sy, grid + sz, grid + sz + sy}, job.channels};
}

// Four channels of a voxel and of its neighbour in x, which lies `channels` further.
template <bool ALONE>
static inline f8 at(const float *row, int32_t offset, int64_t channels) {
    const float *voxel = row + 2 * (int64_t)offset;
    if (ALONE) return *(const f8 *)voxel;
    return SWIZZLE(*(const f4 *)voxel, *(const f4 *)(voxel + channels), 0, 1, 2, 3, 4, 5, 6, 7);
}

template <bool ALONE, int N>
static inline f8 between(const Corners &c, const Block<N> &b, int i) {
    const int32_t offset = b.offset[i];
    const int64_t k = c.channels;
    const f8 front = lerp(at<ALONE>(c.rows[0], offset, k), at<ALONE>(c.rows[2], offset, k), b.z[i]);
    return lerp(front, lerp(at<ALONE>(c.rows[1], offset, k), at<ALONE>(c.rows[3], offset, k), b.z[i]), b.y[i]);
}

// Asks for the lines that the samples' corners lie in.
template <class Samples>
static inline void fetch_ahead(const Corners &c, const Samples &b) {
    for (int i = 0; i < b.length; i++)
        for (int r = 0; r < 4; r++) __builtin_prefetch(c.rows[r] + 2 * (int64_t)b.offset[i]);
}

// Colour and raw density at the samples. Lerped in z and y, eight samples are turned from four channels a sample to
// eight samples a channel, and then lerped in x.
template <bool ALONE, int N>
static inline void fetch_as(const Corners &c, Block<N> &b) {
#define TURNED(i, a, b) SWIZZLE(a, b, i, 8 + i, 1 + i, 9 + i, 4 + i, 12 + i, 5 + i, 13 + i)
#define JOINED(i, a, b) SWIZZLE(a, b, i, 1 + i, 8 + i, 9 + i, 4 + i, 5 + i, 12 + i, 13 + i)
    for (int i = 0; i < b.length; i += 8) {
        f8 channel[4][2];
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            const int n = i + 4 * k;
            const f8 v0 = between<ALONE>(c, b, n), v1 = between<ALONE>(c, b, n + 1);
            const f8 v2 = between<ALONE>(c, b, n + 2), v3 = between<ALONE>(c, b, n + 3);
            const f8 rg0 = TURNED(0, v0, v1), rg1 = TURNED(0, v2, v3);
            const f8 bd0 = TURNED(2, v0, v1), bd1 = TURNED(2, v2, v3);
            channel[0][k] = JOINED(0, rg0, rg1), channel[1][k] = JOINED(2, rg0, rg1);
            channel[2][k] = JOINED(0, bd0, bd1), channel[3][k] = JOINED(2, bd0, bd1);
        }
        const f8 x = *(const f8 *)(b.x + i);
        for (int k = 0; k < 4; k++) {
            const f8 low = SWIZZLE(channel[k][0], channel[k][1], 0, 1, 2, 3, 8, 9, 10, 11);
            const f8 high = SWIZZLE(channel[k][0], channel[k][1], 4, 5, 6, 7, 12, 13, 14, 15);
            *(f8 *)(b.channels[k] + i) = low + x * (high - low);
        }
    }
}

template <int N>
static inline void fetch(const Corners &c, Block<N> &b) {
    if (c.channels == 4) fetch_as<true>(c, b);
    else fetch_as<false>(c, b);
}

static const float LOG2E = 1.44269504f;

struct Light {
    fv thickness, after;  // what the ray has crossed so far, in bits, in every lane; the last samples' transmittance
};

// max(raw, 0) + log(1 + e) with e = exp(-|raw|), the logarithm as 2 atanh(e / (2 + e)); and its slope.
static inline fv softplus(fv raw, fv &slope) {
    const fv zero = {}, e = exp2_minus((raw < 0 ? -raw : raw) * LOG2E), s = e / (2 + e), q = s * s;
    fv series = q * (1 / 13.0f) + 1 / 11.0f;
    series = series * q + 1 / 9.0f;
    series = series * q + 1 / 7.0f;
    series = series * q + 1 / 5.0f;
    series = series * q + 1 / 3.0f;
    series = series * q + 1;
    slope = (raw < 0 ? e : splat(1)) / (1 + e);
    return (raw < 0 ? zero : raw) + 2 * s * series;
}

// Transmittance behind a block's samples; for the gradient also their densities.
template <bool SEEDED, bool SLOPES, int N>
static inline void attenuate(const March &job, const Ray &ray, Light &light, Block<N> &b) {
    const float scale = (float)job.density_scale;
    const fv zero = {}, bits = splat(scale * ray.step * LOG2E);
    BLOCK {
        fv raw = LOAD(b.channels[3]), slope = {};
        if (SEEDED) raw += b.noise[v];
        const fv density = job.softplus ? softplus(raw, slope) : raw < 0 ? zero : raw;
        if (SLOPES)
            b.density[v] = density * scale, b.slope[v] = (job.softplus ? slope : raw > 0 ? splat(1) : zero) * scale;
        const fv crossed = running_sum(density * bits);
        b.after[v] = exp2_minus(light.thickness + crossed);
        light.thickness += last_lane(crossed);
    }
}

// How many of the block's samples count: those on the ray that have early_stop or more of the light left.
template <int N>
static inline int counted(const March &job, int64_t first, const Light &light, const Block<N> &b) {
    const float stop = (float)job.early_stop, *after = (const float *)b.after;
    if (first + b.length <= job.samples && !(after[b.length - 1] < stop)) return b.length;
    if (light.after[LANES - 1] < stop) return 0;
    int count = 1;
    while (count < b.length && first + count < job.samples && !(after[count - 1] < stop)) count++;
    return count;
}

// The share of the light that a block's samples stop, vector by vector; 0 for those that do not count.
template <int N>
static inline fv stopped(Light &light, const Block<N> &b, int v, int count) {
    const fv before = push(light.after, b.after[v]);
    light.after = b.after[v];
    const fv weight = before - b.after[v];
    return count < b.length ? (COUNT < (float)(count - v * LANES) ? weight : fv{}) : weight;
}
