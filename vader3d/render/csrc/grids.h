// Grids change their layout: [B, C, D, H, W] with any strides (in elements) <-> [B, D, H, W, channels] dense.

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
