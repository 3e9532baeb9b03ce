// The march forward, and the floor it is measured against.

static void forward_ray(const March &job, int64_t number) {
    const float *grid = job.grid + number / job.rays * job.depth * job.height * job.width * job.channels;
    float *features = job.features + 3 * number;
    const Ray ray = start_ray(job, number);
    const float blank = ray.finite ? 0.0f : NAN;
    features[0] = features[1] = features[2] = job.opacity[number] = job.depth_sum[number] = blank;
    job.marched[number] = 0;
    if (!ray.hits) return;
    Block b;
    Light light = {fv{}, splat(1)};
    fv red = {}, green = {}, blue = {}, depth = {};
    float opacity = 0;
    int64_t first = 0;
    for (int count = N; count == N && first < job.samples; first += count) {
        place(job, ray, first, b);
        fetch(job, grid, b);
        attenuate(job, ray, light, b);
        count = counted(job, first, light, b);
        if (count) opacity = 1 - ((const float *)b.after)[count - 1];
        BLOCK {
            fv weight = b.before[v] - b.after[v];
            if (count < N) weight = LOAD(COUNT) < (float)count ? weight : fv{};
            red += weight * LOAD(b.red), green += weight * LOAD(b.green), blue += weight * LOAD(b.blue);
            depth += weight * b.depth[v];
        }
    }
    job.marched[number] = (int32_t)first;
    features[0] = sum(red), features[1] = sum(green), features[2] = sum(blue);
    job.opacity[number] = opacity, job.depth_sum[number] = sum(depth);
}

static void forward(const March &job) {
#pragma omp parallel for schedule(dynamic, 64) num_threads(job.threads) if (job.threads > 1)
    for (int64_t number = 0; number < job.objects * job.rays; number++) forward_ray(job, number);
}

// What no renderer can do without: place all samples and load the corners of their cells.
static void floor_ray(const March &job, int64_t number) {
    const int64_t voxel = job.channels, sy = job.width * voxel, sz = job.width * job.height * voxel;
    const float *grid = job.grid + number / job.rays * job.depth * sz;
    const Ray ray = start_ray(job, number);
    if (!ray.hits) return;
    Block b;
    f8 total = {};
    for (int64_t first = 0; first < job.samples; first += N) {
        place(job, ray, first, b);
        for (int i = 0; i < N; i++) {
            const float *p = grid + b.cell[i] * voxel;
            total += (*(const f8 *)p + *(const f8 *)(p + sy)) + (*(const f8 *)(p + sz) + *(const f8 *)(p + sz + sy));
        }
    }
    job.opacity[number] = total[0] + total[1] + total[2] + total[3] + total[4] + total[5] + total[6] + total[7];
}

static void floor(const March &job) {
#pragma omp parallel for schedule(dynamic, 64) num_threads(job.threads) if (job.threads > 1)
    for (int64_t number = 0; number < job.objects * job.rays; number++) floor_ray(job, number);
}
