// Volume rendering on CPUs: the march of render/reference.py, fused, forward and backward.
//
// This file holds the C ABI and then includes itself once per instruction set; the best one is picked at run time.
// The grid comes channels-last, [objects, depth, height, width, channels], so that one load fetches two neighbours in
// x. Sixteen samples of a ray are placed, activated and composited together in plain loops that compilers vectorise.
// The backward pass marches once more and gets what lies behind a sample as "total - what came before".
#ifndef MARCH_BODY
#include <math.h>
#include <stdint.h>
#include <string.h>

extern "C" {
int omp_get_thread_num(void);

struct March {  // mirrored field by field in render/cpu.py
    int64_t objects, rays, samples, depth, height, width, channels, threads;
    int64_t seeded, seed, softplus;
    double density_scale, density_noise, early_stop;
    const float *grid, *origins, *directions;       // [B, D, H, W, C], [B, R, 3], [B, R, 3]
    float *features, *opacity, *depth_sum;          // [B, R, C - 1], [B, R], [B, R]
    int32_t *marched;                               // [B, R]: samples before the march ended
    const float *d_features, *d_opacity, *d_depth;  // gradients of the three outputs
    float *d_grid, *spare;                          // [B, D, H, W, C] and [threads - 1, D, H, W, C]
};
}

#define MARCH_BODY
#define VARIANT baseline
#include "march.cpp"
#undef VARIANT
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define DISPATCH
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3,prefer-vector-width=256")
#define VARIANT v3
#include "march.cpp"
#undef VARIANT
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
#define VARIANT v4
#include "march.cpp"
#undef VARIANT
#pragma GCC pop_options
#endif

extern "C" {
#ifdef DISPATCH
#define CALL(function, ...)                                                                         \
    (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") \
         ? v4::function(__VA_ARGS__)                                                                \
     : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? v3::function(__VA_ARGS__)  \
                                                                       : baseline::function(__VA_ARGS__))
#else
#define CALL(function, ...) baseline::function(__VA_ARGS__)
#endif
void vader3d_pack(const float *source, const int64_t *sizes, const int64_t *strides, float *target, int64_t threads) {
    CALL(pack, source, sizes, strides, target, threads);
}
void vader3d_unpack(const float *source, const int64_t *sizes, const int64_t *strides, float *target, int64_t threads) {
    CALL(unpack, source, sizes, strides, target, threads);
}
void vader3d_forward(const March *job) { CALL(forward, *job); }
void vader3d_backward(const March *job) { CALL(backward, *job); }
}

#else  // the body, once per instruction set

namespace VARIANT {
typedef float f4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef float f8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int i4 __attribute__((vector_size(16)));
enum { N = 16 };  // samples in a block

#define LANES for (int i = 0; i < N; i++)

// [B, C, D, H, W] with any strides (in elements) <-> [B, D, H, W, C] dense.
static void pack(const float *source, const int64_t *sizes, const int64_t *strides, float *target, int64_t threads) {
    const int64_t C = sizes[1], D = sizes[2], H = sizes[3], W = sizes[4];
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < sizes[0] * D * H; row++) {
        const float *from = source + row / (D * H) * strides[0] + row / H % D * strides[2] + row % H * strides[3];
        float *to = target + row * W * C;
        if (C == 4 && strides[4] == 1) {
            const float *a = from, *b = a + strides[1], *c = b + strides[1], *d = c + strides[1];
            for (int64_t x = 0; x < W; x++) to[4 * x] = a[x], to[4 * x + 1] = b[x], to[4 * x + 2] = c[x], to[4 * x + 3] = d[x];
        } else
            for (int64_t x = 0; x < W; x++)
                for (int64_t c = 0; c < C; c++) to[x * C + c] = from[x * strides[4] + c * strides[1]];
    }
}

static void unpack(const float *source, const int64_t *sizes, const int64_t *strides, float *target, int64_t threads) {
    const int64_t C = sizes[1], D = sizes[2], H = sizes[3], W = sizes[4];
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < sizes[0] * D * H; row++) {
        float *to = target + row / (D * H) * strides[0] + row / H % D * strides[2] + row % H * strides[3];
        const float *from = source + row * W * C;
        if (C == 4 && strides[4] == 1) {
            float *a = to, *b = a + strides[1], *c = b + strides[1], *d = c + strides[1];
            for (int64_t x = 0; x < W; x++) a[x] = from[4 * x], b[x] = from[4 * x + 1], c[x] = from[4 * x + 2], d[x] = from[4 * x + 3];
        } else
            for (int64_t x = 0; x < W; x++)
                for (int64_t c = 0; c < C; c++) to[x * strides[4] + c * strides[1]] = from[x * C + c];
    }
}

// exp(-x) for x >= 0, to 1e-7 relative; NaN stays NaN.
static inline float exp_minus(float x) {
    x = x > 87.0f ? 87.0f : x;
    float n = (x * -1.44269504f + 12582912.0f) - 12582912.0f;
    float r = -x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return p * power;
}

static inline uint32_t hash32(uint32_t key) {
    key = (key ^ (key >> 16)) * 0x85EBCA6Bu;
    key = (key ^ (key >> 13)) * 0xC2B2AE35u;
    return key ^ (key >> 16);
}

struct Ray {
    float near, step;            // depths
    float entry[3], speed[3];    // voxel coordinates where it enters, and their change per unit of depth
    uint32_t key;
    bool hits, sane;
};

static inline Ray start_ray(const March &job, int64_t number) {
    const float *o = job.origins + 3 * number, *d = job.directions + 3 * number;
    const int64_t size[3] = {job.width, job.height, job.depth};
    double near = 0, far = INFINITY;
    Ray ray;
    ray.sane = true;
    for (int k = 0; k < 3; k++) {
        double speed = fabsf(d[k]) > 1e-12f ? (double)d[k] : copysign(1e-12, (double)d[k]);
        double low = (-1.0 - o[k]) / speed, high = (1.0 - o[k]) / speed;
        ray.sane &= low - low == 0 && high - high == 0;
        double first = low < high ? low : high, last = low < high ? high : low;
        near = first > near ? first : near;
        far = last < far ? last : far;
    }
    ray.hits = far > near;
    ray.near = near;
    ray.step = (far - near) / job.samples;
    for (int k = 0; k < 3; k++) {
        double half = 0.5 * (size[k] - 1);
        ray.entry[k] = (o[k] + near * d[k] + 1) * half;
        ray.speed[k] = d[k] * half;
    }
    ray.key = (uint32_t)(number * job.samples) + (uint32_t)job.seed * 0x9E3779B9u;
    return ray;
}

struct Block {
    alignas(64) float depth[N], fx[N], w00[N], w01[N], w10[N], w11[N];  // weights of the four rows (z, y)
    alignas(64) float noise[N];
    alignas(64) int32_t cell[N];
    alignas(64) float red[N], green[N], blue[N], raw[N];
    alignas(64) float slope[N], before[N], after[N];  // d density / d raw; transmittance in front of and behind a sample
};

// Where samples first .. first + 15 stand: depth, cell and weights.
static inline void place(const March &job, const Ray &ray, int64_t first, Block &b) {
    alignas(64) float shift[N];
    LANES shift[i] = 0.5f, b.noise[i] = 0;
    if (job.seeded) {
        const uint32_t key = ray.key + (uint32_t)first;
        const float scale = (float)job.density_noise * 0.0067658990f;  // 1 / sqrt(65535 / 3)
        LANES shift[i] = (float)(int32_t)(hash32(key + i) >> 8) * (1.0f / (1 << 24));
        if (scale != 0) LANES {
                uint32_t h = hash32((key + i) ^ 0x5BD1E995u);
                int32_t total = (h & 255) + ((h >> 8) & 255) + ((h >> 16) & 255) + (h >> 24);
                b.noise[i] = (float)(total - 510) * scale;
            }
    }
    const float start = first, step = ray.step, near = ray.near;
    const float x0 = ray.entry[0], y0 = ray.entry[1], z0 = ray.entry[2];
    const float dx = ray.speed[0], dy = ray.speed[1], dz = ray.speed[2];
    const float x1 = job.width - 1, y1 = job.height - 1, z1 = job.depth - 1;
    const int width = job.width, height = job.height;
    const int last_x = width - 2, last_y = height > 1 ? height - 2 : 0, last_z = job.depth > 1 ? job.depth - 2 : 0;
    LANES {
        float along = (start + (float)i + shift[i]) * step;
        b.depth[i] = near + along;
        float px = x0 + along * dx, py = y0 + along * dy, pz = z0 + along * dz;
        px = px > 0 ? px : 0, py = py > 0 ? py : 0, pz = pz > 0 ? pz : 0;  // not-a-numbers land in voxel 0
        px = px < x1 ? px : x1, py = py < y1 ? py : y1, pz = pz < z1 ? pz : z1;
        int ix = (int)px, iy = (int)py, iz = (int)pz;
        ix = ix < last_x ? ix : last_x, iy = iy < last_y ? iy : last_y, iz = iz < last_z ? iz : last_z;
        float fy = py - (float)iy, fz = pz - (float)iz, both = fy * fz;
        b.fx[i] = px - (float)ix;
        b.w11[i] = both, b.w10[i] = fz - both, b.w01[i] = fy - both, b.w00[i] = 1 - fy - (fz - both);
        b.cell[i] = (iz * height + iy) * width + ix;
    }
}

// The four channels at the sixteen samples.
static inline void fetch(const March &job, const float *grid, Block &b) {
    const int64_t sy = job.height > 1 ? job.width * 4 : 0, sz = job.depth > 1 ? job.width * job.height * 4 : 0;
    for (int i = 0; i < N; i += 4) {
        f4 v[4];
        for (int k = 0; k < 4; k++) {
            const float *p = grid + (int64_t)b.cell[i + k] * 4;
            f8 a = b.w00[i + k] * *(const f8 *)p + b.w01[i + k] * *(const f8 *)(p + sy) +
                   b.w10[i + k] * *(const f8 *)(p + sz) + b.w11[i + k] * *(const f8 *)(p + sz + sy);
            f4 low = __builtin_shufflevector(a, a, 0, 1, 2, 3), high = __builtin_shufflevector(a, a, 4, 5, 6, 7);
            v[k] = low + b.fx[i + k] * (high - low);
        }
        f4 ab = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5), cd = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
        *(f4 *)(b.red + i) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
        *(f4 *)(b.green + i) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        ab = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7), cd = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
        *(f4 *)(b.blue + i) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
        *(f4 *)(b.raw + i) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    }
}

// Density and transmittance; `thickness` is what the ray has crossed so far. Returns how many samples count.
static inline int attenuate(const March &job, const Ray &ray, int64_t first, float &thickness, float &last, Block &b) {
    alignas(64) float crossed[N];
    const float scale = job.density_scale, stop = job.early_stop;
    if (job.softplus) LANES {  // max(raw, 0) + log(1 + e) with e = exp(-|raw|), the logarithm as 2 atanh(e / (2 + e))
            float raw = b.raw[i] + b.noise[i], e = exp_minus(raw < 0 ? -raw : raw), s = e / (2 + e), q = s * s;
            float series = 1 / 13.0f;
            series = series * q + 1 / 11.0f, series = series * q + 1 / 9.0f, series = series * q + 1 / 7.0f;
            series = series * q + 1 / 5.0f, series = series * q + 1 / 3.0f, series = series * q + 1;
            crossed[i] = ((raw < 0 ? 0 : raw) + 2 * s * series) * scale * ray.step;
            b.slope[i] = (raw < 0 ? e : 1.0f) / (1 + e) * scale;
        }
    else LANES {
            float raw = b.raw[i] + b.noise[i];
            crossed[i] = (raw < 0 ? 0 : raw) * scale * ray.step;
            b.slope[i] = raw > 0 ? scale : 0.0f;
        }
    LANES crossed[i] = thickness += crossed[i];
    LANES b.after[i] = exp_minus(crossed[i]);
    b.before[0] = last;
    for (int i = 1; i < N; i++) b.before[i] = b.after[i - 1];
    last = b.after[N - 1];
    const int left = job.samples - first < N ? (int)(job.samples - first) : (int)N;
    int count = 0;
    LANES count += (i < left) & !(b.before[i] < stop);
    return count;
}

static inline float sum16(const float *x) {
    float s[8];
    for (int i = 0; i < 8; i++) s[i] = x[i] + x[i + 8];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static void forward_ray(const March &job, int64_t number) {
    const float *grid = job.grid + number / job.rays * job.depth * job.height * job.width * 4;
    float *features = job.features + 3 * number;
    Ray ray = start_ray(job, number);
    float blank = ray.sane ? 0.0f : NAN;
    features[0] = features[1] = features[2] = job.opacity[number] = job.depth_sum[number] = blank;
    job.marched[number] = 0;
    if (!ray.hits || !ray.sane) return;
    Block b;
    alignas(64) float red[N] = {}, green[N] = {}, blue[N] = {}, depth[N] = {};
    float thickness = 0, last = 1, opacity = 0;
    int64_t first = 0;
    for (; first < job.samples; first += N) {
        place(job, ray, first, b);
        fetch(job, grid, b);
        int count = attenuate(job, ray, first, thickness, last, b);
        LANES {
            float weight = i < count ? b.before[i] - b.after[i] : 0.0f;
            red[i] += weight * b.red[i], green[i] += weight * b.green[i], blue[i] += weight * b.blue[i];
            depth[i] += weight * b.depth[i];
        }
        if (count) opacity = 1 - b.after[count - 1];
        if (count < N) {
            first += count;
            break;
        }
    }
    job.marched[number] = (int32_t)(first < job.samples ? first : job.samples);
    features[0] = sum16(red), features[1] = sum16(green), features[2] = sum16(blue);
    job.opacity[number] = opacity, job.depth_sum[number] = sum16(depth);
}

static void forward(const March &job) {
#pragma omp parallel for schedule(dynamic, 64) num_threads(job.threads) if (job.threads > 1)
    for (int64_t number = 0; number < job.objects * job.rays; number++) forward_ray(job, number);
}

static void backward_ray(const March &job, int64_t number, float *d_grid) {
    const int64_t marched = job.marched[number];
    if (marched == 0) return;
    const int64_t sy = job.height > 1 ? job.width * 4 : 0, sz = job.depth > 1 ? job.width * job.height * 4 : 0;
    const float *grid = job.grid + number / job.rays * job.depth * job.height * job.width * 4;
    const float *out = job.features + 3 * number, *d_out = job.d_features + 3 * number;
    const float d_red = d_out[0], d_green = d_out[1], d_blue = d_out[2];
    const float d_opacity = job.d_opacity[number], d_depth = job.d_depth[number];
    float behind = d_red * out[0] + d_green * out[1] + d_blue * out[2] + d_opacity * job.opacity[number] +
                   d_depth * job.depth_sum[number];
    Ray ray = start_ray(job, number);
    Block b;
    float thickness = 0, last = 1;
    for (int64_t first = 0; first < marched; first += N) {
        place(job, ray, first, b);
        fetch(job, grid, b);
        attenuate(job, ray, first, thickness, last, b);
        const int count = marched - first < N ? (int)(marched - first) : (int)N;
        alignas(64) float weight[N], gain[N], share[N], d_raw[N];
        LANES {
            weight[i] = i < count ? b.before[i] - b.after[i] : 0.0f;
            gain[i] = d_red * b.red[i] + d_green * b.green[i] + d_blue * b.blue[i] + d_opacity + d_depth * b.depth[i];
            share[i] = weight[i] * gain[i];
        }
        LANES share[i] = behind -= share[i];
        LANES d_raw[i] = i < count ? (b.after[i] * gain[i] - share[i]) * ray.step * b.slope[i] : 0.0f;
        for (int i = 0; i < count; i++) {
            f4 value = {weight[i] * d_red, weight[i] * d_green, weight[i] * d_blue, d_raw[i]};
            f4 high = value * b.fx[i], low = value - high;
            f8 pair = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
            float *p = d_grid + (int64_t)b.cell[i] * 4;
            *(f8 *)p += b.w00[i] * pair;
            *(f8 *)(p + sy) += b.w01[i] * pair;
            *(f8 *)(p + sz) += b.w10[i] * pair;
            *(f8 *)(p + sz + sy) += b.w11[i] * pair;
        }
    }
}

// Threads share the rays out by the samples marched. A thread that starts in the middle of an object adds up that
// object's gradient in a spare grid of its own; so no atomics, and the sums do not depend on timing.
static void backward(const March &job) {
    const int64_t rays = job.objects * job.rays, size = job.depth * job.height * job.width * job.channels;
    int64_t begin[257], total = 0, passed = 0, thread = 1;
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
            float *d_grid = ray == object * job.rays ? job.d_grid + object * size : job.spare + (t - 1) * size;
            memset(d_grid, 0, size * sizeof(float));
            for (; ray < end && ray < begin[t + 1]; ray++) backward_ray(job, ray, d_grid);
        }
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
}  // namespace VARIANT
#endif
