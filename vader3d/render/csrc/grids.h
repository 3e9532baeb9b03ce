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

static inline int64_t bricks_along(int64_t size) { return size > 1 ? (size - 2) / BRICK + 1 : 1; }

// How far every brick of BRICK^3 cells is from the nearest one that holds anything, in bricks along the worst axis
// (0: it holds something; 255: as far or farther). A brick's corners are its own and its neighbours' first voxels.
static void empty_bricks(const float *outer, const int64_t *sizes, const int64_t *strides, float empty_below,
                         uint8_t *empty, int64_t threads) {
    const int64_t D = sizes[2], H = sizes[3], W = sizes[4];
    const int64_t nz = bricks_along(D), ny = bricks_along(H), nx = bricks_along(W);
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t line = 0; line < sizes[0] * nz * ny; line++) {
        const int64_t kz = line / ny % nz, ky = line % ny;
        uint8_t *bricks = empty + line * nx;
        memset(bricks, 255, nx);
        for (int64_t z = kz * BRICK; z <= (kz + 1) * BRICK && z < D; z++)
            for (int64_t y = ky * BRICK; y <= (ky + 1) * BRICK && y < H; y++) {
                const float *raw = outer + line / (ny * nz) * strides[0] + 3 * strides[1] + z * strides[2] + y * strides[3];
                for (int64_t kx = 0; kx < nx; kx++) {
                    bool holds = false;
                    for (int64_t x = kx * BRICK; x <= (kx + 1) * BRICK && x < W; x++)
                        holds |= !(raw[x * strides[4]] <= empty_below);  // not-a-numbers are something
                    if (holds) bricks[kx] = 0;
                }
            }
    }
    // Chessboard distances by two sweeps over all neighbours already visited.
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t object = 0; object < sizes[0]; object++) {
        uint8_t *bricks = empty + object * nz * ny * nx;
        for (int sweep = 0; sweep < 2; sweep++)
            for (int64_t n = 0; n < nz * ny * nx; n++) {
                const int64_t here = sweep ? nz * ny * nx - 1 - n : n, step = sweep ? 1 : -1;
                const int64_t z = here / (ny * nx), y = here / nx % ny, x = here % nx;
                int nearest = bricks[here];
                for (int64_t other = 0; other < 13; other++) {  // 9 in the plane before, 3 in the row before, 1 before
                    const int64_t dz = other < 9 ? step : 0, dy = other < 9 ? other / 3 - 1 : other < 12 ? step : 0;
                    const int64_t dx = other < 12 ? other % 3 - 1 : step;
                    if (z + dz < 0 || z + dz >= nz || y + dy < 0 || y + dy >= ny || x + dx < 0 || x + dx >= nx) continue;
                    const int far = bricks[((z + dz) * ny + y + dy) * nx + x + dx] + 1;
                    nearest = far < nearest ? far : nearest;
                }
                bricks[here] = (uint8_t)nearest;
            }
    }
}
