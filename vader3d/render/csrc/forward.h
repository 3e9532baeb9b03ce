// The march forward, and the floor it is measured against.

// Corner weights of a block's samples, times `factors`.
struct Weights {
    alignas(64) float corner[8][N];  // bits 2, 1, 0 of the corner: z, y, x
};

static inline void weigh(const Block &b, const float *factors, Weights &w) {
    BLOCK {
        const fv x = LOAD(b.x), y = LOAD(b.y), z = LOAD(b.z), all = LOAD(factors);
        const fv z1 = all * z, z0 = all - z1, z1y1 = z1 * y, z1y0 = z1 - z1y1, z0y1 = z0 * y, z0y0 = z0 - z0y1;
        const fv rows[4] = {z0y0, z0y1, z1y0, z1y1};
        for (int r = 0; r < 4; r++) {
            const fv x1 = rows[r] * x;
            STORE(w.corner[2 * r + 1], x1);
            STORE(w.corner[2 * r], rows[r] - x1);
        }
    }
}

// The extra channels lie behind the first four in groups of four: adds `count` samples' to `sums`.
template <int GROUPS>
static inline void add_extra(const Corners &c, const Block &b, const Weights &w, int64_t channels, int count, float *sums) {
    f4 total[GROUPS];
    for (int g = 0; g < GROUPS; g++) total[g] = *(const f4 *)(sums + 4 * g);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 8; k++) {
            const float *voxel = c.rows[k / 2] + 2 * (int64_t)b.offset[i] + k % 2 * channels;
            for (int g = 0; g < GROUPS; g++) total[g] += w.corner[k][i] * *(const f4 *)(voxel + 4 * g);
        }
    for (int g = 0; g < GROUPS; g++) *(f4 *)(sums + 4 * g) = total[g];
}

static inline Corners shifted(Corners c, int64_t by) {
    for (int r = 0; r < 4; r++) c.rows[r] += by;
    return c;
}

static void add_all_extra(const March &job, const Corners &c, const Block &b, const float *weights, int count, float *sums) {
    Weights w;
    weigh(b, weights, w);
    for (int64_t first = 4; first < job.channels; first += 16) {
        const Corners here = shifted(c, first);
        switch (job.channels - first) {
            case 4: add_extra<1>(here, b, w, job.channels, count, sums + first - 4); break;
            case 8: add_extra<2>(here, b, w, job.channels, count, sums + first - 4); break;
            case 12: add_extra<3>(here, b, w, job.channels, count, sums + first - 4); break;
            default: add_extra<4>(here, b, w, job.channels, count, sums + first - 4);
        }
    }
}

// From sample `first` on, how many are sure to lie in empty bricks.
static inline int64_t skippable(const March &job, const Ray &ray, const uint8_t *empty, int64_t first) {
    const int64_t size[3] = {job.width, job.height, job.depth};
    const float gone = (float)first * ray.step;
    float place[3];
    int64_t brick[3];
    for (int k = 0; k < 3; k++) {
        const float last = (float)(size[k] > 1 ? size[k] - 2 : 0);
        place[k] = ray.entry[k] + gone * ray.speed[k];
        const float inside = place[k] > 0 ? place[k] : 0;
        brick[k] = (int64_t)(inside < last ? inside : last) / BRICK;
    }
    const int64_t nx = bricks_along(size[0]), ny = bricks_along(size[1]);
    const int64_t distance = empty[(brick[2] * ny + brick[1]) * nx + brick[0]];
    if (!distance) return 0;
    float way = INFINITY;
    for (int k = 0; k < 3; k++) {
        if (ray.speed[k] == 0) continue;
        const float wall = (float)(BRICK * (ray.speed[k] > 0 ? brick[k] + distance : brick[k] + 1 - distance));
        const float to_wall = (wall - place[k]) / ray.speed[k];
        way = to_wall < way ? to_wall : way;
    }
    const float samples = way / ray.step - 1e-3f;
    const int64_t left = job.samples - first;
    return samples < (float)left ? (samples > 0 ? (int64_t)samples : 0) : left;
}

static void forward_ray(const March &job, int64_t number) {
    const int64_t voxels = job.depth * job.height * job.width, object = number / job.rays;
    const Corners c = corners(job, job.grid + object * voxels * job.channels);
    const bool far = voxels * job.channels * 4 > FAR_BYTES;
    const uint8_t *empty = NULL;
    if (job.empty) empty = job.empty + object * bricks_along(job.depth) * bricks_along(job.height) * bricks_along(job.width);
    const Ray ray = start_ray(job, number);
    Block b;
    Light light = {fv{}, splat(1)};
    fv red = {}, green = {}, blue = {}, depth = {};
    float opacity = 0, extra[MOST_CHANNELS];
    memset(extra, 0, (job.channels - 4) * sizeof(float));
    int64_t first = ray.hits ? 0 : job.samples;
    for (int count = N; count == N && first < job.samples; first += count) {
        if (empty) {
            const int64_t skipped = skippable(job, ray, empty, first);
            if (skipped) {
                first += skipped - N;
                continue;
            }
        }
        place(job, ray, first, b);
        if (far) fetch_ahead(c, b);
        fetch(c, b);
        attenuate(job, ray, light, b);
        count = counted(job, first, light, b);
        if (count) opacity = 1 - ((const float *)b.after)[count - 1];
        alignas(64) float weights[N];
        BLOCK {
            fv weight = b.before[v] - b.after[v];
            if (count < N) weight = LOAD(COUNT) < (float)count ? weight : fv{};
            red += weight * LOAD(b.channels[0]), green += weight * LOAD(b.channels[1]);
            blue += weight * LOAD(b.channels[2]), depth += weight * b.depth[v];
            STORE(weights, weight);
        }
        if (job.channels > 4) add_all_extra(job, c, b, weights, count, extra);
    }
    float *features = job.features + job.features_per_ray * number;
    const float fault = ray.finite ? 0.0f : NAN;  // so that a broken ray shows
    job.marched[number] = ray.hits ? (int32_t)(first < job.samples ? first : job.samples) : 0;
    job.opacity[number] = opacity + fault, job.depth_sum[number] = sum(depth) + fault;
    features[0] = sum(red) + fault, features[1] = sum(green) + fault, features[2] = sum(blue) + fault;
    for (int64_t k = 3; k < job.features_per_ray; k++) features[k] = extra[k - 3] + fault;
}

static void forward(const March &job) {
#pragma omp parallel for schedule(dynamic, 64) num_threads(job.threads) if (job.threads > 1)
    for (int64_t number = 0; number < job.objects * job.rays; number++) forward_ray(job, number);
}

// What no renderer can do without: place all samples and load the corners of their cells.
template <bool ALONE>
static void floor_ray(const March &job, int64_t number) {
    const int64_t voxels = job.depth * job.height * job.width;
    const Corners c = corners(job, job.grid + number / job.rays * voxels * job.channels);
    const Ray ray = start_ray(job, number);
    if (!ray.hits) return;
    Block b;
    f8 total = {};
    for (int64_t first = 0; first < job.samples; first += N) {
        place(job, ray, first, b);
        for (int i = 0; i < N; i++)
            for (int64_t k = 0; k < (ALONE ? 4 : job.channels); k += 4)
                total += (at<ALONE>(c.rows[0] + k, b.offset[i], c.channels) + at<ALONE>(c.rows[1] + k, b.offset[i], c.channels)) +
                         (at<ALONE>(c.rows[2] + k, b.offset[i], c.channels) + at<ALONE>(c.rows[3] + k, b.offset[i], c.channels));
    }
    job.opacity[number] = total[0] + total[1] + total[2] + total[3] + total[4] + total[5] + total[6] + total[7];
}

static void floor(const March &job) {
#pragma omp parallel for schedule(dynamic, 64) num_threads(job.threads) if (job.threads > 1)
    for (int64_t number = 0; number < job.objects * job.rays; number++)
        job.channels == 4 ? floor_ray<true>(job, number) : floor_ray<false>(job, number);
}
