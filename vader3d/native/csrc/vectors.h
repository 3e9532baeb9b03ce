// Vectors of LANES numbers, and the few functions on them that the march needs.
typedef float fv __attribute__((vector_size(4 * LANES)));
typedef int32_t iv __attribute__((vector_size(4 * LANES)));
typedef uint32_t uv __attribute__((vector_size(4 * LANES)));
typedef float f4 __attribute__((vector_size(16), aligned(4), may_alias));  // one voxel's four channels
typedef float f8 __attribute__((vector_size(32), aligned(4), may_alias));  // those of two neighbours in x
typedef float f16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t i4 __attribute__((vector_size(16)));
typedef double d4 __attribute__((vector_size(32)));

// The samples of a block: many, so that their arithmetic overlaps; few where a march may leap ahead after each block.
enum { MANY = 64, FEW = 32 };
#define BLOCK for (int v = 0; v * LANES < b.length; v++)  // its samples in vectors
#define SWIZZLE __builtin_shufflevector

static inline fv splat(float x) { return x - fv{}; }
static inline fv lower(fv a, fv b) { return a < b ? a : b; }  // b where a is not a number
static inline fv higher(fv a, fv b) { return a > b ? a : b; }
static inline iv lower(iv a, iv b) { return a < b ? a : b; }
static inline fv real(iv a) { return __builtin_convertvector(a, fv); }
static inline iv whole(fv a) { return __builtin_convertvector(a, iv); }

// Lanes moved up by one, the last lane of `before` coming in; the last lane in all; running sums over the lanes, by
// shuffles that stay within 16 bytes where they can (one cheap instruction each).
#if LANES == 4
static const fv COUNT = {0, 1, 2, 3};
static inline fv push(fv before, fv x) { return SWIZZLE(before, x, 3, 4, 5, 6); }
static inline fv last_lane(fv x) { return SWIZZLE(x, x, 3, 3, 3, 3); }
static inline fv running_sum(fv x) {
    const fv o = {};
    x += SWIZZLE(o, x, 3, 4, 5, 6);
    return x + SWIZZLE(o, x, 2, 3, 4, 5);
}
#else
static const fv COUNT = {0, 1, 2, 3, 4, 5, 6, 7};
static inline fv push(fv before, fv x) { return SWIZZLE(before, x, 7, 8, 9, 10, 11, 12, 13, 14); }
static inline fv last_lane(fv x) {
    const fv high = SWIZZLE(x, x, 4, 5, 6, 7, 4, 5, 6, 7);
    return SWIZZLE(high, high, 3, 3, 3, 3, 7, 7, 7, 7);
}
static inline fv running_sum(fv x) {
    const fv o = {};
    x += SWIZZLE(o, x, 3, 8, 9, 10, 7, 12, 13, 14);
    x += SWIZZLE(o, x, 2, 3, 8, 9, 6, 7, 12, 13);
    const fv low = SWIZZLE(o, x, 0, 1, 2, 3, 8, 9, 10, 11);
    return x + SWIZZLE(low, low, 3, 3, 3, 3, 7, 7, 7, 7);
}
#endif

static inline float sum4(f4 x) { return (x[0] + x[2]) + (x[1] + x[3]); }
static inline float sum(fv x) {
    f4 s = {};
    for (int i = 0; i < LANES; i += 4) s += *((const f4 *)&x + i / 4);
    return sum4(s);
}

// 2^-x for x >= 0, to 1e-7 relative; 1 at 0; not-a-numbers stay so.
static inline fv exp2_minus(fv x) {
    x = x > 100.0f ? splat(100.0f) : x;  // so that no difference of two results is denormal
    const fv turns = 12582912.0f - x;    // its low bits now hold n = round(-x)
    const fv r = x + (turns - 12582912.0f);
    fv p = 1.535336151e-4f * r - 1.339887452e-3f;
    p = p * r + 9.618437360e-3f;
    p = p * r - 5.550332471e-2f;
    p = p * r + 2.402264791e-1f;
    p = p * r - 6.931472029e-1f;
    p = p * r + 1.0f;
    return p * (fv)(((iv)turns << 23) + 0x3F800000);
}

static inline uv hash32(uv key) {
    key = (key ^ (key >> 16)) * 0x85EBCA6Bu;
    key = (key ^ (key >> 13)) * 0xC2B2AE35u;
    return key ^ (key >> 16);
}
