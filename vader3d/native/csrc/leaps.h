// Leaps over what is empty: in inference a march need not visit bricks of cells that hold nothing.
static inline int64_t bricks_along(int64_t size) { return size > 1 ? (size - 2) / BRICK + 1 : 1; }

// The least of every byte and its two neighbours along the middle one of three axes.
static void least_of_three(const uint8_t *__restrict from, uint8_t *__restrict to, int64_t outer, int64_t size,
                           int64_t inner) {
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < size; i++) {
            const uint8_t *here = from + (o * size + i) * inner, *before = i > 0 ? here - inner : here;
            const uint8_t *after = i < size - 1 ? here + inner : here;
            for (int64_t k = 0; k < inner; k++) {
                const uint8_t a = before[k] < after[k] ? before[k] : after[k];
                to[(o * size + i) * inner + k] = a < here[k] ? a : here[k];
            }
        }
}

// How far every brick of BRICK^3 cells is from the nearest one that holds anything, in bricks along the worst axis
// (0: it holds something; FARTHEST: as far or farther); and [B, 8] the lowest and the highest corner of those that do,
// in voxels. A brick has the voxels at both of its ends.
static void empty_bricks(const float *outer, const int64_t *sizes, const int64_t *strides, float empty_below,
                         uint8_t *empty, float *bounds, uint8_t *spare, int64_t threads) {
    const int64_t D = sizes[2], H = sizes[3], W = sizes[4];
    const int64_t nz = bricks_along(D), ny = bricks_along(H), nx = bricks_along(W), bricks = nz * ny * nx;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t row = 0; row < sizes[0] * nz * ny; row++) {
        const int64_t kz = row / ny % nz, ky = row % ny;
        const float *corner = outer + row / (ny * nz) * strides[0] + 3 * strides[1];
        uint8_t *line = empty + row * nx;
        memset(line, FARTHEST, nx);
        for (int64_t z = kz * BRICK; z <= (kz + 1) * BRICK && z < D; z++)
            for (int64_t y = ky * BRICK; y <= (ky + 1) * BRICK && y < H; y++) {
                const float *raw = corner + z * strides[2] + y * strides[3];
                bool before = !(raw[0] <= empty_below);  // not-a-numbers are something
                for (int64_t k = 0; k < nx; k++) {
                    bool holds = before;
                    for (int64_t x = k * BRICK + 1; x <= (k + 1) * BRICK && x < W; x++) {
                        before = !(raw[x * strides[4]] <= empty_below);
                        holds |= before;
                    }
                    if (holds) line[k] = 0;
                }
            }
    }
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t object = 0; object < sizes[0]; object++) {
        uint8_t *known = empty + object * bricks, *a = spare + 2 * object * bricks, *b = a + bricks;
        float *low = bounds + 8 * object, *high = low + 4;
        for (int k = 0; k < 4; k++) low[k] = INFINITY, high[k] = -INFINITY;
        for (int64_t n = 0; n < bricks; n++) {
            if (known[n]) continue;
            const int64_t place[3] = {n % nx, n / nx % ny, n / (nx * ny)};
            for (int k = 0; k < 3; k++) {
                const float begin = (float)(place[k] * BRICK), end = begin + BRICK;
                low[k] = begin < low[k] ? begin : low[k], high[k] = end > high[k] ? end : high[k];
            }
        }
        // Every round finds the bricks that are one farther.
        for (int round = 1; round < FARTHEST; round++) {
            least_of_three(known, a, nz * ny, nx, 1);
            least_of_three(a, b, nz, ny, nx);
            least_of_three(b, a, 1, nz, ny * nx);
            for (int64_t k = 0; k < bricks; k++) known[k] = a[k] + 1 < known[k] ? (uint8_t)(a[k] + 1) : known[k];
        }
    }
}

// Which of `count` rays of one object pass by all it holds, with a margin for rounding; broken rays do not.
static void pass_by(const March &job, int64_t object, int64_t first, int64_t count, int32_t *passes) {
    const int64_t size[3] = {job.width, job.height, job.depth};
    float low[3], high[3];
    for (int k = 0; k < 3; k++) {
        const float *bounds = job.bounds + 8 * object + k, world = size[k] > 1 ? 2.0f / (size[k] - 1) : 0;
        low[k] = size[k] > 1 ? bounds[0] * world - 1.0001f : -INFINITY;
        high[k] = size[k] > 1 ? bounds[4] * world - 0.9999f : INFINITY;
    }
    for (int64_t i = 0; i < count; i++) {
        const float *origin = job.origins + 3 * (first + i), *direction = job.directions + 3 * (first + i);
        float near = 0, far = INFINITY, all = 0;
        for (int k = 0; k < 3; k++) {
            const float o = origin[k], d = direction[k], margin = 1e-6f * fabsf(o),
                        slow = fabsf(d) > 1e-12f ? 1 / d : 1e12f;
            const float a = (low[k] - margin - o) * slow, b = (high[k] + margin - o) * slow;
            const float enters = slow > 0 ? a : b, leaves = slow > 0 ? b : a;
            near = enters > near ? enters : near, far = leaves < far ? leaves : far, all += o + d;
        }
        passes[i] = (near > far) & (all - all == 0);
    }
}

// What a ray needs to leap over empty bricks; x, y, z.
struct Leap {
    const uint8_t *empty;
    f4 entry, speed, depth_per_voxel, forward;  // forward: 1 or -1
    f4 last;                                    // highest low corner of a cell
    float samples_per_depth;
    int64_t row, plane;
    int64_t first, end;  // samples before and behind lie outside the bounds
};

static inline float least3(f4 x) {
    const float least = x[0] < x[1] ? x[0] : x[1];
    return x[2] < least ? x[2] : least;
}

// Sample i lies between i and i + 1 steps from the ray's entry; whole samples fit into so much depth, or none.
static inline int64_t whole_samples(const Leap &leap, float depth) {
    const float samples = depth * leap.samples_per_depth - 1e-3f;
    return samples > 0 ? (samples < 1e9f ? (int64_t)samples : 1000000000) : 0;
}

static inline Leap prepare_leap(const March &job, const Ray &ray, int64_t object) {
    Leap leap;
    const int64_t size[3] = {job.width, job.height, job.depth};
    leap.row = bricks_along(job.width), leap.plane = leap.row * bricks_along(job.height);
    leap.empty = job.empty + object * leap.plane * bricks_along(job.depth);
    leap.entry = f4{ray.entry[0], ray.entry[1], ray.entry[2], 0},
    leap.speed = f4{ray.speed[0], ray.speed[1], ray.speed[2], 0};
    for (int k = 0; k < 3; k++) leap.last[k] = size[k] > 1 ? (float)(size[k] - 2) : 0;
    leap.forward = leap.speed < 0 ? f4{-1, -1, -1, -1} : f4{1, 1, 1, 1};
    leap.depth_per_voxel = 1 / (leap.speed * leap.forward > 1e-20f ? leap.speed : 1e-20f * leap.forward);
    leap.samples_per_depth = 1 / ray.step;
    const f4 low = *(const f4 *)(job.bounds + 8 * object), high = *(const f4 *)(job.bounds + 8 * object + 4);
    const f4 enters = ((leap.forward > 0 ? low : high) - leap.entry) * leap.depth_per_voxel;
    const f4 leaves = ((leap.forward > 0 ? high : low) - leap.entry) * leap.depth_per_voxel;
    const float enter = -least3(-enters), leave = least3(leaves);
    leap.first = enter < leave ? whole_samples(leap, enter) : job.samples;
    leap.end = whole_samples(leap, leave) + 2;
    leap.end = leap.end < job.samples ? leap.end : job.samples;
    return leap;
}

// From sample `first` on, how many are sure to lie in empty bricks.
static inline int64_t skippable(const Leap &leap, const Ray &ray, int64_t first) {
    const f4 zero = {}, half = zero + 0.5f, place = leap.entry + (float)first * ray.step * leap.speed;
    f4 inside = place > zero ? place : zero;
    inside = inside < leap.last ? inside : leap.last;
    const i4 brick = __builtin_convertvector(inside, i4) >> BRICK_BITS;
    const int distance = leap.empty[brick[2] * leap.plane + brick[1] * leap.row + brick[0]];
    if (!distance) return 0;
    const f4 wall =
        (float)BRICK * (__builtin_convertvector(brick, f4) + half + leap.forward * ((float)distance - half));
    return whole_samples(leap, least3((wall - place) * leap.depth_per_voxel));
}
