// The march's gradient: one more march, in which what lies behind a sample is "total - what came before".

static void backward_ray(const March &job, int64_t number, float *d_grid) {
    const int64_t marched = job.marched[number];
    if (marched == 0) return;
    const int64_t voxel = job.channels, sy = job.height > 1 ? job.width * voxel : 0;
    const int64_t sz = job.depth > 1 ? job.width * job.height * voxel : 0;
    const float *grid = job.grid + number / job.rays * job.depth * job.height * job.width * voxel;
    const float *out = job.features + 3 * number, *d_out = job.d_features + 3 * number;
    const f4 d_colour = {d_out[0], d_out[1], d_out[2], 0};
    const float d_opacity = job.d_opacity[number], d_depth = job.d_depth[number];
    const Ray ray = start_ray(job, number);
    Block b;
    Light light = {fv{}, splat(1)};
    fv behind = splat(d_out[0] * out[0] + d_out[1] * out[1] + d_out[2] * out[2] + d_opacity * job.opacity[number] +
                      d_depth * job.depth_sum[number]);
    for (int64_t first = 0; first < marched; first += N) {
        place(job, ray, first, b);
        fetch(job, grid, b);
        attenuate(job, ray, light, b);
        const int count = marched - first < N ? (int)(marched - first) : (int)N;
        alignas(64) float weights[N], d_raws[N];
        BLOCK {
            fv weight = b.before[v] - b.after[v];
            if (count < N) weight = LOAD(COUNT) < (float)count ? weight : fv{};
            const fv gain = d_colour[0] * LOAD(b.red) + d_colour[1] * LOAD(b.green) + d_colour[2] * LOAD(b.blue) +
                            d_depth * b.depth[v] + d_opacity;
            const fv left = behind - running_sum(weight * gain);
            behind = last_lane(left);
            STORE(weights, weight);
            STORE(d_raws, (b.after[v] * gain - left) * ray.step * b.slope[v]);
        }
        for (int i = 0; i < count; i++) {
            f4 value = weights[i] * d_colour;
            value[3] = d_raws[i];
            const f4 high = value * b.x[i], low = value - high;
            const f8 pair = SWIZZLE(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
            const f8 z1 = b.z[i] * pair, z0 = pair - z1, z1y1 = b.y[i] * z1, z0y1 = b.y[i] * z0;
            float *p = d_grid + b.cell[i] * voxel;
            *(f8 *)p += z0 - z0y1;
            *(f8 *)(p + sy) += z0y1;
            *(f8 *)(p + sz) += z1 - z1y1;
            *(f8 *)(p + sz + sy) += z1y1;
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
