// Volumes read at any places between their voxels, and the gradients of that; beyond the border they go on as it is.

struct Spots {
    alignas(64) float at[3][MANY], speed[3][MANY];  // x, y, z in the cell, in [0, 1]; how these move with the place
    alignas(64) int32_t offset[MANY], slice[MANY];  // of the cell's low corner: in pairs of numbers; its z
    int length;                                     // rounded up to eights
};

// Where places lie. Not-a-numbers stay so, in a cell that there is. What fills up the last eight lies in the middle.
static inline void locate(const Resampling &job, const float *places, int count, Spots &b) {
    const int32_t size[3] = {(int32_t)job.width, (int32_t)job.height, (int32_t)job.depth};
    const int32_t steps[3] = {(int32_t)job.channels / 2, steps[0] * size[0], steps[1] * size[1]};
    b.length = (count + 7) / 8 * 8;
    for (int i = 0; i < b.length; i++)
        for (int k = 0; k < 3; k++) b.at[k][i] = i < count ? places[3 * i + k] : 0;
    BLOCK {
        iv offset = {}, cell = {};
        for (int k = 0; k < 3; k++) {
            const fv zero = {}, last = splat(size[k] - 1), half = 0.5f * last, at = (LOAD(b.at[k]) + 1) * half;
            const fv in = at > last ? last : at < zero ? zero : at;
            cell = lower(whole(in), iv{} + (size[k] > 1 ? size[k] - 2 : 0));
            cell = cell > 0 ? cell : 0;
            offset += cell * steps[k];
            STORE(b.speed[k], at > zero ? at < last ? half : zero : zero);
            STORE(b.at[k], in - real(cell));
        }
        STORE(b.offset, offset), STORE(b.slice, cell);
    }
}

enum { LARGER_BYTES = 1 << 20 };  // volumes than that are fetched ahead: places jump where rays go on

// The corners of the cells in a volume, or in its gradient.
static inline Corners corners_of(const Resampling &job, const float *volume, const Spots &b) {
    const Corners c = corners(job, volume);
    if (job.depth * job.height * job.width * job.channels * 4 > LARGER_BYTES) fetch_ahead(c, b);
    return c;
}

template <class T>
static inline T mix(T a, T b, float share) {  // exactly b where its share is 1
    return (1 - share) * a + share * b;
}

#define LOW(pair) SWIZZLE(pair, pair, 0, 1, 2, 3)
#define HIGH(pair) SWIZZLE(pair, pair, 4, 5, 6, 7)
#define NEXT (job.width > 1 ? channels : 0)  // the neighbour in x

// ALONE: a voxel has four channels and no more, and W > 1.
template <bool ALONE>
static void read_places(const Resampling &job, const float *volume, int64_t begin, int count) {
    const int64_t channels = ALONE ? 4 : job.channels, next = NEXT;
    Spots b;
    locate(job, job.places + 3 * begin, count, b);
    const Corners c = corners_of(job, volume, b);
    for (int i = 0; i < count; i++)
        for (int64_t k = 0; k < channels; k += 4) {
            f8 rows[4];
            for (int r = 0; r < 4; r++) rows[r] = at<ALONE>(c.rows[r] + k, b.offset[i], next);
            const float y = b.at[1][i];
            const f8 both = mix(mix(rows[0], rows[1], y), mix(rows[2], rows[3], y), b.at[2][i]);
            *(f4 *)(job.values + (begin + i) * channels + k) = mix(LOW(both), HIGH(both), b.at[0][i]);
        }
}

// Gradients of places: what a cell's corners would each add to the loss, in four places at once, and its slopes.
template <bool ALONE>
static void to_places(const Resampling &job, const float *volume, int64_t begin, int count) {
    const int64_t channels = ALONE ? 4 : job.channels, next = NEXT;
    Spots b;
    locate(job, job.places + 3 * begin, count, b);
    const Corners c = corners_of(job, volume, b);
    for (int i = 0; i < count; i += 4) {
        f8 sums[4][4] = {};  // of each row of corners and place
        for (int n = 0; n < 4; n++) {
            const float *gradients = job.d_values + (begin + (i + n < count ? i + n : count - 1)) * channels;
            for (int64_t k = 0; k < channels; k += 4) {
                const f4 g = *(const f4 *)(gradients + k);
                const f8 both = SWIZZLE(g, g, 0, 1, 2, 3, 0, 1, 2, 3);
                for (int r = 0; r < 4; r++) sums[r][n] += both * at<ALONE>(c.rows[r] + k, b.offset[i + n], next);
            }
        }
        const f4 x = *(const f4 *)(b.at[0] + i), y = *(const f4 *)(b.at[1] + i), z = *(const f4 *)(b.at[2] + i);
        f4 rise[4], on[4];  // along x, of each row; and what it adds up to at the places' x
        for (int r = 0; r < 4; r++) {
            const f8 s01 = TURNED(0, sums[r][0], sums[r][1]) + TURNED(2, sums[r][0], sums[r][1]);
            const f8 s23 = TURNED(0, sums[r][2], sums[r][3]) + TURNED(2, sums[r][2], sums[r][3]);
            const f8 ends = JOINED(0, s01, s23) + JOINED(2, s01, s23);
            rise[r] = HIGH(ends) - LOW(ends), on[r] = LOW(ends) + x * rise[r];
        }
        const f4 front = rise[0] + y * (rise[1] - rise[0]), back = rise[2] + y * (rise[3] - rise[2]);
        const f4 up = on[1] - on[0], far = on[2] - on[0];
        const f4 slopes[3] = {front + z * (back - front), up + z * (on[3] - on[2] - up),
                              far + y * (on[3] - on[1] - far)};
        for (int k = 0; k < 3; k++) *(f4 *)(b.speed[k] + i) *= slopes[k];
    }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 3; k++) job.d_places[3 * (begin + i) + k] = b.speed[k][i];
}

// Adds to the gradients of a volume's slices from first on, until stop.
template <bool ALONE>
static void to_slices(const Resampling &job, float *d_volume, int64_t begin, int count, int64_t first, int64_t stop) {
    const int64_t channels = ALONE ? 4 : job.channels, next = NEXT;
    Spots b;
    locate(job, job.places + 3 * begin, count, b);
    const Corners c = corners_of(job, d_volume, b);
    for (int i = 0; i < count; i++)
        for (int deep = 0; deep < (job.depth > 1 ? 2 : 1); deep++) {
            if (b.slice[i] + deep < first || b.slice[i] + deep >= stop) continue;
            const float x = b.at[0][i], y = b.at[1][i], z = deep ? b.at[2][i] : 1 - b.at[2][i];
            for (int64_t k = 0; k < channels; k += 4) {
                const f4 all = z * *(const f4 *)(job.d_values + (begin + i) * channels + k), y1 = y * all;
                const f4 rows[2] = {all - y1, y1};
                for (int r = 0; r < 2; r++) {
                    float *voxel = (float *)c.rows[2 * deep + r] + 2 * (int64_t)b.offset[i] + k;
                    const f4 high = x * rows[r];
                    *(f4 *)voxel += rows[r] - high;
                    *(f4 *)(voxel + next) += high;
                }
            }
        }
}

// Blocks of places from begin on, until end.
template <class Act>
static inline void for_blocks(int64_t begin, int64_t end, const Act &act) {
    for (; begin < end; begin += MANY) act(begin, end - begin < MANY ? (int)(end - begin) : (int)MANY);
}

// All places, in parts that threads share out.
template <class Act>
static void for_places(const Resampling &job, const Act &act) {
    enum { TOGETHER = 16 * MANY };
    const int64_t parts = (job.places_each + TOGETHER - 1) / TOGETHER;
    const int64_t size = job.depth * job.height * job.width * job.channels;
#pragma omp parallel for num_threads(job.threads) if (job.threads > 1)
    for (int64_t part = 0; part < job.objects * parts; part++) {
        const int64_t object = part / parts, begin = object * job.places_each + part % parts * TOGETHER;
        const int64_t end = begin + TOGETHER, last = (object + 1) * job.places_each;
        for_blocks(begin, end < last ? end : last,
                   [&](int64_t first, int count) { act(job, job.volume + object * size, first, count); });
    }
}

static void resample(const Resampling &job) {
    for_places(job, job.channels == 4 && job.width > 1 ? read_places<true> : read_places<false>);
}

// Threads share out the slices of the volumes' gradient: no sum has two writers, and each is added up in the order of
// the places, whatever the number of threads.
static void resample_backward(const Resampling &job) {
    const bool alone = job.channels == 4 && job.width > 1;
    if (job.d_places) for_places(job, alone ? to_places<true> : to_places<false>);
    if (!job.d_volume) return;
    const auto act = alone ? to_slices<true> : to_slices<false>;
    const int64_t slice = job.height * job.width * job.channels;
    int64_t parts = job.threads > 1 ? (2 * job.threads + job.objects - 1) / job.objects : 1;
    parts = parts < job.depth ? parts : job.depth;
#pragma omp parallel for schedule(dynamic) num_threads(job.threads) if (job.threads > 1)
    for (int64_t task = 0; task < job.objects * parts; task++) {
        const int64_t object = task / parts, part = task % parts;
        const int64_t first = part * job.depth / parts, stop = (part + 1) * job.depth / parts;
        float *d_volume = job.d_volume + object * job.depth * slice;
        memset(d_volume + first * slice, 0, (stop - first) * slice * sizeof(float));
        for_blocks(object * job.places_each, (object + 1) * job.places_each,
                   [&](int64_t begin, int count) { act(job, d_volume, begin, count, first, stop); });
    }
}
