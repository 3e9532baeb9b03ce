// Grids change their layout: [B, C, D, H, W] with any strides <-> [B, D, H, W, channels] dense, padded with zeros.

static inline void transpose(f4 &a, f4 &b, f4 &c, f4 &d) {
    const f4 ab0 = SWIZZLE(a, b, 0, 4, 1, 5), ab1 = SWIZZLE(a, b, 2, 6, 3, 7);
    const f4 cd0 = SWIZZLE(c, d, 0, 4, 1, 5), cd1 = SWIZZLE(c, d, 2, 6, 3, 7);
    a = SWIZZLE(ab0, cd0, 0, 1, 4, 5), b = SWIZZLE(ab0, cd0, 2, 3, 6, 7);
    c = SWIZZLE(ab1, cd1, 0, 1, 4, 5), d = SWIZZLE(ab1, cd1, 2, 3, 6, 7);
}

static void pack(const float *outer, const int64_t *sizes, const int64_t *strides, float *inner, int64_t channels,
                 int64_t threads) {
    const int64_t C = sizes[1], D = sizes[2], H = sizes[3], W = sizes[4];
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < sizes[0] * D * H; row++) {
        const float *from = outer + row / (D * H) * strides[0] + row / H % D * strides[2] + row % H * strides[3];
        float *to = inner + row * W * channels;
        int64_t x = 0;
        if (C == 4 && channels == 4 && strides[4] == 1)
            for (; x + 4 <= W; x += 4) {
                const float *here = from + x;
                f4 v[4];
                for (int k = 0; k < 4; k++) v[k] = *(const f4 *)(here + k * strides[1]);
                transpose(v[0], v[1], v[2], v[3]);
                for (int k = 0; k < 4; k++) *(f4 *)(to + 4 * (x + k)) = v[k];
            }
        for (; x < W; x++)
            for (int64_t c = 0; c < channels; c++)
                to[x * channels + c] = c < C ? from[x * strides[4] + c * strides[1]] : 0;
    }
}

static void unpack(float *outer, const int64_t *sizes, const int64_t *strides, const float *inner, int64_t channels,
                   int64_t threads) {
    const int64_t C = sizes[1], D = sizes[2], H = sizes[3], W = sizes[4];
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < sizes[0] * D * H; row++) {
        float *to = outer + row / (D * H) * strides[0] + row / H % D * strides[2] + row % H * strides[3];
        const float *from = inner + row * W * channels;
        int64_t begin = 0;
        if (C == 4 && channels == 4 && strides[4] == 1)
            for (; begin + 4 <= W; begin += 4) {
                f4 v[4];
                for (int k = 0; k < 4; k++) v[k] = *(const f4 *)(from + 4 * (begin + k));
                transpose(v[0], v[1], v[2], v[3]);
                for (int k = 0; k < 4; k++) *(f4 *)(to + begin + k * strides[1]) = v[k];
            }
        for (int64_t c = 0; c < C; c++)
            for (int64_t x = begin; x < W; x++) to[x * strides[4] + c * strides[1]] = from[x * channels + c];
    }
}

// The least and the largest squared length of `count` vectors of three; not-a-numbers and infinities make both so.
static void lengths(const float *vectors, int64_t count, float *least_and_largest, int64_t threads) {
    float least = INFINITY, largest = 0, fault = 0;
#pragma omp parallel for simd reduction(min : least) reduction(max : largest) reduction(+ : fault) \
    num_threads(threads) if (threads > 1)
    for (int64_t i = 0; i < count; i++) {
        const float x = vectors[3 * i], y = vectors[3 * i + 1], z = vectors[3 * i + 2], s = x * x + y * y + z * z;
        least = s < least ? s : least, largest = s > largest ? s : largest, fault += s * 0;
    }
    least_and_largest[0] = least + fault, least_and_largest[1] = largest + fault;
}
