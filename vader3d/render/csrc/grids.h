// Grids change their layout: [B, C, D, H, W] with any strides <-> [B, D, H, W, channels] dense, padded with zeros.

static void pack(const float *outer, const int64_t *sizes, const int64_t *strides, float *inner,
                 int64_t channels, int64_t threads) {
    const int64_t C = sizes[1], D = sizes[2], H = sizes[3], W = sizes[4];
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < sizes[0] * D * H; row++) {
        const float *from = outer + row / (D * H) * strides[0] + row / H % D * strides[2] + row % H * strides[3];
        float *to = inner + row * W * channels;
        if (C == 4 && channels == 4 && strides[4] == 1) {
            const float *a = from, *b = a + strides[1], *c = b + strides[1], *d = c + strides[1];
            for (int64_t x = 0; x < W; x++) *(f4 *)(to + 4 * x) = f4{a[x], b[x], c[x], d[x]};
            continue;
        }
        for (int64_t x = 0; x < W; x++)
            for (int64_t c = 0; c < channels; c++)
                to[x * channels + c] = c < C ? from[x * strides[4] + c * strides[1]] : 0;
    }
}

static void unpack(float *outer, const int64_t *sizes, const int64_t *strides, const float *inner,
                   int64_t channels, int64_t threads) {
    const int64_t C = sizes[1], D = sizes[2], H = sizes[3], W = sizes[4];
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < sizes[0] * D * H; row++) {
        float *to = outer + row / (D * H) * strides[0] + row / H % D * strides[2] + row % H * strides[3];
        const float *from = inner + row * W * channels;
        if (C == 4 && channels == 4 && strides[4] == 1) {
            float *__restrict a = to, *__restrict b = a + strides[1], *__restrict c = b + strides[1];
            float *__restrict d = c + strides[1];
            for (int64_t x = 0; x < W; x++)
                a[x] = from[4 * x], b[x] = from[4 * x + 1], c[x] = from[4 * x + 2], d[x] = from[4 * x + 3];
            continue;
        }
        for (int64_t c = 0; c < C; c++)
            for (int64_t x = 0; x < W; x++) to[x * strides[4] + c * strides[1]] = from[x * channels + c];
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
