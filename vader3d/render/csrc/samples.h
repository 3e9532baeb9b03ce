// A ray's next samples: where they stand, what the grid holds there, how much light they stop.

struct Ray {
    float near, step;          // depths
    float entry[3], speed[3];  // voxel coordinates (x, y, z) where it enters, and their change per unit of depth
    uint32_t key;              // of its jitter and noise
    bool hits, finite;
};

static inline Ray start_ray(const March &job, int64_t number) {
    const float *o = job.origins + 3 * number, *d = job.directions + 3 * number;
    const d4 origin = {o[0], o[1], o[2], 0}, along = {d[0], d[1], d[2], 0}, tiny = {1e-12, 1e-12, 1e-12, 1e-12};
    const d4 half = {0.5 * (job.width - 1), 0.5 * (job.height - 1), 0.5 * (job.depth - 1), 0};
    const d4 speed = along > tiny ? along : along < -tiny ? along : along < 0 ? -tiny : tiny;
    const d4 low = (-1 - origin) / speed, high = (1 - origin) / speed;
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
    ray.step = (float)((far - near) / job.samples);
    for (int k = 0; k < 3; k++) ray.entry[k] = (float)entry[k], ray.speed[k] = (float)rate[k];
    ray.key = (uint32_t)(number * job.samples) + (uint32_t)job.seed * 0x9E3779B9u;
    return ray;
}

template <int N>
struct Block {
    alignas(64) float x[N], y[N], z[N];  // position in the cell, in [0, 1]
    alignas(64) int32_t offset[N];       // of the cell's low corner in the grid, in pairs of numbers
    alignas(64) float channels[4][N];    // red, green, blue, raw density
    fv along[N / LANES], depth[N / LANES], noise[N / LANES];     // along: samples since the ray's entry
    fv slope[N / LANES], density[N / LANES];
    fv before[N / LANES], after[N / LANES];  // d density / d raw; transmittance in front of and behind a sample
};

static inline void store(float *to, fv value) { *(fv *)to = value; }
static inline void store(int32_t *to, iv value) { *(iv *)to = value; }
#define STORE(array, value) store((array) + v * LANES, value)
#define LOAD(array) (*(const fv *)((array) + v * LANES))

// Where samples first .. first + N - 1 stand: depth, cell, position in the cell.
template <int N>
static inline void place(const March &job, const Ray &ray, int64_t first, Block<N> &b) {
    const fv x1 = splat(job.width - 1), y1 = splat(job.height - 1), z1 = splat(job.depth - 1), low = splat(1e-30f);
    const int32_t dx = job.channels / 2, dy = dx * job.width, dz = dy * job.height;
    const iv none = {}, last_x = none + (int32_t)(job.width - 2);
    const iv last_y = none + (int32_t)(job.height > 1 ? job.height - 2 : 0);
    const iv last_z = none + (int32_t)(job.depth > 1 ? job.depth - 2 : 0);
    BLOCK {
        fv shift = splat(0.5f);
        b.noise[v] = fv{};
        if (job.seeded) {
            const uv key = (uv)whole(LOAD(COUNT)) + (ray.key + (uint32_t)first);
            shift = real((iv)(hash32(key) >> 8)) * (1.0f / (1 << 24));
            if (job.density_noise != 0) {
                const uv h = hash32(key ^ 0x5BD1E995u), byte = uv{} + 255;
                const iv total = (iv)((h & byte) + ((h >> 8) & byte) + ((h >> 16) & byte) + (h >> 24));
                b.noise[v] = real(total - 510) * (float)(job.density_noise * 0.0067658990);  // 1 / sqrt(65535 / 3)
            }
        }
        b.along[v] = LOAD(COUNT) + (float)first + shift;
        const fv gone = b.along[v] * ray.step;
        b.depth[v] = ray.near + gone;
        const fv x = lower(higher(ray.entry[0] + gone * ray.speed[0], low), x1);
        const fv y = lower(higher(ray.entry[1] + gone * ray.speed[1], low), y1);
        const fv z = lower(higher(ray.entry[2] + gone * ray.speed[2], low), z1);
        const iv i = lower(whole(x), last_x), j = lower(whole(y), last_y), k = lower(whole(z), last_z);
        STORE(b.x, x - real(i)), STORE(b.y, y - real(j)), STORE(b.z, z - real(k));
        STORE(b.offset, k * dz + j * dy + i * dx);
    }
}

// Two neighbours in x at once, lerped in z and y. A sample's corners lie at `offset` in four views of the grid.
template <class T>
static inline T lerp(T a, T b, float t) {
    return t * b + (a - t * a);
}

struct Corners {
    const float *rows[4];  // of the grid: at (z, y), (z, y + 1), (z + 1, y), (z + 1, y + 1)
    int64_t channels;
};

static inline Corners corners(const March &job, const float *grid) {
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
template <int N>
static inline void fetch_ahead(const Corners &c, const Block<N> &b) {
    for (int i = 0; i < N; i++)
        for (int r = 0; r < 4; r++) __builtin_prefetch(c.rows[r] + 2 * (int64_t)b.offset[i]);
}

// Colour and raw density at the samples. Lerped in z and y, eight samples are turned from four channels a sample to
// eight samples a channel, and then lerped in x.
template <bool ALONE, int N>
static inline void fetch_as(const Corners &c, Block<N> &b) {
#define TURNED(i, a, b) SWIZZLE(a, b, i, 8 + i, 1 + i, 9 + i, 4 + i, 12 + i, 5 + i, 13 + i)
#define JOINED(i, a, b) SWIZZLE(a, b, i, 1 + i, 8 + i, 9 + i, 4 + i, 5 + i, 12 + i, 13 + i)
    for (int i = 0; i < N; i += 8) {
        f8 channel[4][2];
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
    if (c.channels == 4)
        fetch_as<true>(c, b);
    else
        fetch_as<false>(c, b);
}

static const float LOG2E = 1.44269504f;

struct Light {
    fv thickness, after;  // what the ray has crossed so far, in bits, in every lane; the last samples' transmittance
};

// Density and transmittance of a block.
template <int N>
static inline void attenuate(const March &job, const Ray &ray, Light &light, Block<N> &b) {
    const float scale = (float)job.density_scale;
    BLOCK {
        const fv raw = LOAD(b.channels[3]) + b.noise[v], zero = {};
        if (job.softplus) {  // max(raw, 0) + log(1 + e) with e = exp(-|raw|), the logarithm as 2 atanh(e / (2 + e))
            const fv e = exp2_minus((raw < 0 ? -raw : raw) * LOG2E), s = e / (2 + e), q = s * s;
            fv series = q * (1 / 13.0f) + 1 / 11.0f;
            series = series * q + 1 / 9.0f;
            series = series * q + 1 / 7.0f;
            series = series * q + 1 / 5.0f;
            series = series * q + 1 / 3.0f;
            series = series * q + 1;
            b.density[v] = ((raw < 0 ? zero : raw) + 2 * s * series) * scale;
            b.slope[v] = (raw < 0 ? e : splat(1)) / (1 + e) * scale;
        } else {
            b.density[v] = (raw < 0 ? zero : raw) * scale;
            b.slope[v] = raw > 0 ? splat(scale) : zero;
        }
        const fv crossed = light.thickness + running_sum(b.density[v] * (ray.step * LOG2E));
        light.thickness = last_lane(crossed);
        b.after[v] = exp2_minus(crossed);
        b.before[v] = push(light.after, b.after[v]);
        light.after = b.after[v];
    }
}

// How many of the block's samples count: those on the ray that have early_stop or more of the light left.
template <int N>
static inline int counted(const March &job, int64_t first, const Light &light, const Block<N> &b) {
    const float stop = (float)job.early_stop;
    if (first + N <= job.samples && !(light.after[LANES - 1] < stop)) return N;
    const float *before = (const float *)b.before;
    int count = 0;
    while (count < N && first + count < job.samples && !(before[count] < stop)) count++;
    return count;
}
