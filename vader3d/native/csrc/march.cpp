// Volume rendering on CPUs: the march of render/reference.py, fused, forward and backward; volumes resampled;
// nearest points. Here: the C ABI.
//
// The body is compiled once per instruction set, by including it with LANES (32-bit numbers in a vector) and VARIANT
// (a namespace) set anew; the best one is picked at run time. Only GCC's vector extensions are used, no intrinsics.
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

extern "C" {
struct March {  // mirrored field by field in render/cpu.py
    int64_t objects, rays, samples, depth, height, width;
    int64_t channels;                   // of a voxel: a multiple of 4, at most MOST_CHANNELS
    int64_t features_per_ray, threads;  // colour and extra channels; at most MOST_THREADS
    int64_t seeded, seed, softplus;
    double density_scale, noise_scale, early_stop;  // noise_scale: of a hash's four bytes, less their mean
    const float *grid, *origins, *directions;       // [B, D, H, W, channels], [B, R, 3], [B, R, 3]
    float *features, *opacity, *depth_sum;          // [B, R, features_per_ray], [B, R], [B, R]
    int32_t *marched;                               // [B, R]: samples before the march ended
    const uint8_t *empty;                           // [B, bricks] and [B, 8], see leaps.h; null to visit every sample
    const float *bounds;
    const float *d_features, *d_opacity, *d_depth;  // gradients of the three outputs
    float *d_grid, *spare;  // [B, D, H, W, channels] and [threads - 1, D, H, W, channels]; or null
    float *d_rays;          // [B, R, 8]: of origin, direction, near and far; or null
};
struct Resampling {  // mirrored field by field in render/resample.py
    int64_t objects, places_each, depth, height, width;
    int64_t channels, threads;                // of a voxel: a multiple of 4
    const float *volume, *places, *d_values;  // [B, D, H, W, channels], [B, N, 3], of values
    float *values, *d_volume, *d_places;      // [B, N, channels], of volume and of places, which may be null
};
}
enum { MOST_CHANNELS = 256, MOST_THREADS = 256 };
#ifndef BRICK_BITS
#define BRICK_BITS 1
#endif
enum { BRICK = 1 << BRICK_BITS, FARTHEST = 6 };
enum { FAR_BYTES = 8 << 20 };  // grids larger than this lie far from the processor and are fetched ahead

#define VARIANT baseline
#define LANES 4
#include "body.h"
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define DISPATCH
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3,prefer-vector-width=256")
#define VARIANT v3
#define LANES 8
#include "body.h"
#pragma GCC pop_options
#endif

#ifdef DISPATCH
static int highest_level = 3;  // of x86-64; lower in tests only
static int level() {
    static const int found =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") ? 3 : 1;
    return found < highest_level ? found : highest_level;
}
#define CALL(function, ...)                              \
    switch (level()) {                                   \
        case 3: return v3::function(__VA_ARGS__);        \
        default: return baseline::function(__VA_ARGS__); \
    }
#else
static int highest_level = 1;
static int level() { return highest_level; }
#define CALL(function, ...) return baseline::function(__VA_ARGS__);
#endif

extern "C" {
// Uses no instruction set above this level; returns the level in use.
int64_t vader3d_limit_level(int64_t highest) {
    highest_level = (int)highest;
    return level();
}
// Asks for pages of 2 MB where memory is touched for the first time: a fault for every 4 KB of a grid takes longer than
// laying the grid out. A hint, which kernels may not take.
void vader3d_expect_touching(void *memory, int64_t bytes) {
#ifdef MADV_HUGEPAGE
    const uintptr_t page = 4096, begin = ((uintptr_t)memory + page - 1) / page * page;
    madvise((void *)begin, (uintptr_t)memory + bytes - begin, MADV_HUGEPAGE);
#endif
}
// Sizes [B, C, D, H, W] and strides (in elements) of the outer grid; the inner one has `channels` >= C.
void vader3d_pack(const float *outer, const int64_t *sizes, const int64_t *strides, float *inner, int64_t channels,
                  int64_t threads) {
    CALL(pack, outer, sizes, strides, inner, channels, threads)
}
void vader3d_unpack(float *outer, const int64_t *sizes, const int64_t *strides, const float *inner, int64_t channels,
                    int64_t threads) {
    CALL(unpack, outer, sizes, strides, inner, channels, threads)
}
void vader3d_empty_bricks(const float *outer, const int64_t *sizes, const int64_t *strides, double empty_below,
                          uint8_t *empty, float *bounds, uint8_t *spare, int64_t threads) {
    CALL(empty_bricks, outer, sizes, strides, (float)empty_below, empty, bounds, spare, threads)
}
void vader3d_lengths(const float *vectors, int64_t count, float *least_and_largest, int64_t threads) {
    CALL(lengths, vectors, count, least_and_largest, threads)
}
void vader3d_nearest(const float *a, int64_t rows, const float *b, int64_t columns, float *to_a, float *to_b) {
    CALL(nearest, a, rows, b, columns, to_a, to_b)
}
void vader3d_resample(const Resampling *job) { CALL(resample, *job) }
void vader3d_resample_backward(const Resampling *job) { CALL(resample_backward, *job) }
void vader3d_forward(const March *job) { CALL(forward, *job) }
void vader3d_backward(const March *job) { CALL(backward, *job) }
void vader3d_floor(const March *job) { CALL(load_only, *job) }
}
