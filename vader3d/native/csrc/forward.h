// The march forward, and the floor it is measured against: `load_only`.

// Corner weights of a block's samples, times `factors`.
template <int N>
struct Weights {
    alignas(64) float corner[8][N];  // bits 2, 1, 0 of the corner: z, y, x
};

template <int N>
static inline void weigh(const Block<N> &b, const float *factors, Weights<N> &w) {
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

// The extra channels lie behind the first four, and are done in parts: some groups of eight, perhaps with one of four.
template <int EIGHT_GROUPS, bool WITH_FOUR>
struct Part {
    enum { EIGHTS = EIGHT_GROUPS, FOUR = WITH_FOUR };
    f8 eights[EIGHT_GROUPS + 1] = {};
    f4 four = {};
    inline void add(float weight, const float *from) {
        for (int g = 0; g < EIGHTS; g++) eights[g] += weight * *(const f8 *)(from + 8 * g);
        if (FOUR) four += weight * *(const f4 *)(from + 8 * EIGHTS);
    }
    inline void add_to(float *sums) const {
        for (int g = 0; g < EIGHTS; g++) *(f8 *)(sums + 8 * g) += eights[g];
        if (FOUR) *(f4 *)(sums + 8 * EIGHTS) += four;
    }
};

template <class Act>
static inline void for_extra(int64_t channels, const Act &act) {
    for (int64_t first = 4; first < channels; first += 16) {
        switch (channels - first) {
            case 4: act(first, Part<0, true>()); break;
            case 8: act(first, Part<1, false>()); break;
            case 12: act(first, Part<1, true>()); break;
            default: act(first, Part<2, false>());
        }
    }
}

// Corner k of sample i's cell; bits 2, 1, 0 of k: z, y, x.
template <int N>
static inline const float *corner(const Corners &c, const Block<N> &b, int i, int k) {
    return c.rows[k / 2] + 2 * (int64_t)b.offset[i] + k % 2 * c.channels;
}

// Adds `count` samples' extra channels to `sums`. Each is lerped on its own, so that none waits for the one before.
template <int N>
static void add_extra(const Corners &c, const Block<N> &b, const float *weights, int count, float *sums) {
    Weights<N> w;
    weigh(b, weights, w);
    for_extra(c.channels, [&](int64_t first, auto total) {
        for (int i = 0; i < count; i++) {
            decltype(total) value;
            for (int k = 0; k < 8; k++) value.add(w.corner[k][i], corner(c, b, i, k) + first);
            for (int g = 0; g < total.EIGHTS; g++) total.eights[g] += value.eights[g];
            total.four += value.four;
        }
        total.add_to(sums + first - 4);
    });
}

template <bool SEEDED, int N>
static void forward_ray(const March &job, int64_t number, int64_t object) {
    const int64_t voxels = job.depth * job.height * job.width;
    const Corners c = corners(job, job.grid + object * voxels * job.channels);
    const bool far = voxels * job.channels * 4 > FAR_BYTES;
    const Ray ray = start_ray(job, number);
    const Leap leap = N == FEW && ray.hits ? prepare_leap(job, ray, object) : Leap{};
    Block<N> b;
    Light light = {fv{}, splat(1)};
    fv red = {}, green = {}, blue = {}, depth = {};
    float opacity = 0, extra[MOST_CHANNELS];
    if (job.channels > 4) memset(extra, 0, (job.channels - 4) * sizeof(float));
    const int64_t end = N == FEW ? leap.end : ray.hits ? job.samples : 0;
    int64_t first = N == FEW ? leap.first : 0;
    for (bool lit = true; lit && first < end;) {
        if (N == FEW) {
            const int64_t skipped = skippable(leap, ray, first);
            first += skipped;
            if (skipped) continue;
        }
        place<SEEDED>(job, ray, first, end, b);
        if (far) fetch_ahead(c, b);
        fetch(c, b);
        attenuate<SEEDED, false>(job, ray, light, b);
        const int count = counted(job, first, light, b);
        if (count) opacity = 1 - ((const float *)b.after)[count - 1];
        alignas(64) float weights[N];
        BLOCK {
            const fv weight = stopped(light, b, v, count);
            red += weight * LOAD(b.channels[0]), green += weight * LOAD(b.channels[1]);
            blue += weight * LOAD(b.channels[2]), depth += weight * b.depth[v];
            STORE(weights, weight);
        }
        if (job.channels > 4) add_extra(c, b, weights, count, extra);
        first += count, lit = count == b.length;
    }
    float *features = job.features + job.features_per_ray * number;
    const float fault = ray.finite ? 0.0f : NAN;  // so that a broken ray shows
    job.marched[number] = ray.hits ? (int32_t)(first < job.samples ? first : job.samples) : 0;
    job.opacity[number] = opacity + fault, job.depth_sum[number] = sum(depth) + fault;
    features[0] = sum(red) + fault, features[1] = sum(green) + fault, features[2] = sum(blue) + fault;
    for (int64_t k = 3; k < job.features_per_ray; k++) features[k] = extra[k - 3] + fault;
}

static void show_nothing(const March &job, int64_t number) {
    memset(job.features + job.features_per_ray * number, 0, job.features_per_ray * sizeof(float));
    job.opacity[number] = job.depth_sum[number] = 0, job.marched[number] = 0;
}

static void forward(const March &job) {
    enum { CHUNK = 64 };
    const auto march = job.empty    ? job.seeded ? forward_ray<true, FEW> : forward_ray<false, FEW>
                       : job.seeded ? forward_ray<true, MANY>
                                    : forward_ray<false, MANY>;
#pragma omp parallel for schedule(dynamic) num_threads(job.threads) if (job.threads > 1)
    for (int64_t chunk = 0; chunk < job.objects * job.rays; chunk += CHUNK) {
        const int64_t rays = job.objects * job.rays, end = chunk + CHUNK < rays ? chunk + CHUNK : rays;
        for (int64_t number = chunk; number < end;) {
            const int64_t object = number / job.rays, first = number, next = (object + 1) * job.rays;
            const int64_t stop = next < end ? next : end;
            int32_t passes[CHUNK] = {};
            if (job.empty) pass_by(job, object, first, stop - first, passes);
            for (; number < stop; number++)
                passes[number - first] ? show_nothing(job, number) : march(job, number, object);
        }
    }
}

// What no renderer can do without: place all samples and load the corners of their cells.
template <bool ALONE>
static void load_ray(const March &job, int64_t number) {
    enum { N = MANY };
    const int64_t voxels = job.depth * job.height * job.width;
    const Corners c = corners(job, job.grid + number / job.rays * voxels * job.channels);
    const Ray ray = start_ray(job, number);
    if (!ray.hits) return;
    Block<N> b;
    f8 total = {};
    for (int64_t first = 0; first < job.samples; first += N) {
        place<false>(job, ray, first, job.samples, b);
        for (int i = 0; i < b.length; i++)
            for (int64_t k = 0; k < (ALONE ? 4 : job.channels); k += 4)
                total += (at<ALONE>(c.rows[0] + k, b.offset[i], c.channels) +
                          at<ALONE>(c.rows[1] + k, b.offset[i], c.channels)) +
                         (at<ALONE>(c.rows[2] + k, b.offset[i], c.channels) +
                          at<ALONE>(c.rows[3] + k, b.offset[i], c.channels));
    }
    job.opacity[number] = total[0] + total[1] + total[2] + total[3] + total[4] + total[5] + total[6] + total[7];
}

static void load_only(const March &job) {
#pragma omp parallel for schedule(dynamic, 64) num_threads(job.threads) if (job.threads > 1)
    for (int64_t number = 0; number < job.objects * job.rays; number++)
        job.channels == 4 ? load_ray<true>(job, number) : load_ray<false>(job, number);
}
