// A ray's sixteen next samples: where they stand, what the grid holds there, how much light they stop.

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

struct Block {
    alignas(64) float x[N], y[N], z[N];  // position in the cell, in [0, 1]
    alignas(64) int32_t cell[N];         // the voxel at the cell's low corner
    alignas(64) float red[N], green[N], blue[N], raw[N];
    fv along[V], depth[V], noise[V];     // along: samples since the ray's entry
    fv slope[V], density[V], before[V], after[V];  // d density / d raw; transmittance in front of and behind a sample
};

#define STORE(array, value) *(decltype(value) *)((array) + v * LANES) = (value)
#define LOAD(array) (*(const fv *)((array) + v * LANES))

// Where samples first .. first + 15 stand: depth, cell, position in the cell.
static inline void place(const March &job, const Ray &ray, int64_t first, Block &b) {
    const fv x1 = splat(job.width - 1), y1 = splat(job.height - 1), z1 = splat(job.depth - 1), zero = {};
    const int32_t width = job.width, height = job.height;
    const iv none = {}, last_x = none + (width - 2), last_y = none + (height > 1 ? height - 2 : 0);
    const iv last_z = none + (int32_t)(job.depth > 1 ? job.depth - 2 : 0);
    BLOCK {
        fv shift = splat(0.5f);
        b.noise[v] = zero;
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
        const fv x = lower(higher(ray.entry[0] + gone * ray.speed[0], zero), x1);
        const fv y = lower(higher(ray.entry[1] + gone * ray.speed[1], zero), y1);
        const fv z = lower(higher(ray.entry[2] + gone * ray.speed[2], zero), z1);
        const iv i = lower(whole(x), last_x), j = lower(whole(y), last_y), k = lower(whole(z), last_z);
        STORE(b.x, x - real(i)), STORE(b.y, y - real(j)), STORE(b.z, z - real(k));
        STORE(b.cell, (k * height + j) * width + i);
    }
}

static inline f8 rows(const float *corner, int64_t sy, int64_t sz, float y, float z) {
    const f8 a = *(const f8 *)corner, b = *(const f8 *)(corner + sy);
    const f8 front = a + z * (*(const f8 *)(corner + sz) - a), back = b + z * (*(const f8 *)(corner + sz + sy) - b);
    return front + y * (back - front);
}

// Colour and raw density at the samples: lerped in z and y with both neighbours in x at once, then turned from
// four channels a sample to four samples a channel, then lerped in x.
static inline void fetch(const March &job, const float *grid, Block &b) {
    const int64_t voxel = job.channels, sy = job.height > 1 ? job.width * voxel : 0;
    const int64_t sz = job.depth > 1 ? job.width * job.height * voxel : 0;
#define TURNED(i, a, b) SWIZZLE(a, b, i, 8 + i, 1 + i, 9 + i, 4 + i, 12 + i, 5 + i, 13 + i)
#define JOINED(i, a, b) SWIZZLE(a, b, i, 1 + i, 8 + i, 9 + i, 4 + i, 5 + i, 12 + i, 13 + i)
#define LERPED(array, value)                                                                             \
    {                                                                                                    \
        const f8 both = value;                                                                           \
        const f4 low = SWIZZLE(both, both, 0, 1, 2, 3), high = SWIZZLE(both, both, 4, 5, 6, 7);          \
        *(f4 *)(array + i) = low + x * (high - low);                                                     \
    }
    for (int i = 0; i < N; i += 4) {
        f8 a[4];
        for (int k = 0; k < 4; k++) a[k] = rows(grid + b.cell[i + k] * voxel, sy, sz, b.y[i + k], b.z[i + k]);
        const f4 x = *(const f4 *)(b.x + i);
        const f8 rg0 = TURNED(0, a[0], a[1]), rg1 = TURNED(0, a[2], a[3]);
        const f8 bd0 = TURNED(2, a[0], a[1]), bd1 = TURNED(2, a[2], a[3]);
        LERPED(b.red, JOINED(0, rg0, rg1))
        LERPED(b.green, JOINED(2, rg0, rg1))
        LERPED(b.blue, JOINED(0, bd0, bd1))
        LERPED(b.raw, JOINED(2, bd0, bd1))
    }
}

struct Light {
    fv thickness, after;  // what the ray has crossed so far, in every lane; the last samples' transmittance
};

// Density and transmittance of a block.
static inline void attenuate(const March &job, const Ray &ray, Light &light, Block &b) {
    const float scale = (float)job.density_scale;
    BLOCK {
        const fv raw = LOAD(b.raw) + b.noise[v], zero = {};
        if (job.softplus) {  // max(raw, 0) + log(1 + e) with e = exp(-|raw|), the logarithm as 2 atanh(e / (2 + e))
            const fv e = exp_minus(raw < 0 ? -raw : raw), s = e / (2 + e), q = s * s;
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
        const fv crossed = light.thickness + running_sum(b.density[v] * ray.step);
        light.thickness = last_lane(crossed);
        b.after[v] = exp_minus(crossed);
        b.before[v] = push(light.after, b.after[v]);
        light.after = b.after[v];
    }
}

// How many of the block's samples count: those on the ray that have early_stop or more of the light left.
static inline int counted(const March &job, int64_t first, const Light &light, const Block &b) {
    const float stop = (float)job.early_stop;
    if (first + N <= job.samples && !(light.after[LANES - 1] < stop)) return N;
    const float *before = (const float *)b.before;
    int count = 0;
    while (count < N && first + count < job.samples && !(before[count] < stop)) count++;
    return count;
}
