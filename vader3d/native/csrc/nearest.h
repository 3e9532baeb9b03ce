// For each point of two sets, the squared distance to the nearest point of the other set.

// a [rows, 3]; b [3, columns], columns a multiple of LANES; to_a [columns] and to_b [rows]: of b's points to a and of
// a's to b.
static void nearest(const float *a, int64_t rows, const float *b, int64_t columns, float *to_a, float *to_b) {
    enum { TOGETHER = 4 };  // rows of a that share what is read of b
    typedef fv wv __attribute__((aligned(4), may_alias));
    const int64_t vectors = columns / LANES;
    const wv *x = (const wv *)b, *y = (const wv *)(b + columns), *z = (const wv *)(b + 2 * columns);
    wv *nearest_to_a = (wv *)to_a;
    for (int64_t v = 0; v < vectors; v++) nearest_to_a[v] = splat(INFINITY);
    for (int64_t begin = 0; begin < rows; begin += TOGETHER) {
        fv px[TOGETHER], py[TOGETHER], pz[TOGETHER], least[TOGETHER];
        for (int k = 0; k < TOGETHER; k++) {
            const float *point = a + 3 * (begin + k < rows ? begin + k : rows - 1);
            px[k] = splat(point[0]), py[k] = splat(point[1]), pz[k] = splat(point[2]), least[k] = splat(INFINITY);
        }
        for (int64_t v = 0; v < vectors; v++) {
            fv square[TOGETHER];
            for (int k = 0; k < TOGETHER; k++) {
                const fv dx = x[v] - px[k], dy = y[v] - py[k], dz = z[v] - pz[k];
                square[k] = dx * dx + dy * dy + dz * dz;
                least[k] = lower(square[k], least[k]);
            }
            const fv four = lower(lower(square[0], square[1]), lower(square[2], square[3]));
            nearest_to_a[v] = lower(four, nearest_to_a[v]);
        }
        for (int k = 0; k < TOGETHER && begin + k < rows; k++) {
            float found = INFINITY;
            for (int lane = 0; lane < LANES; lane++) found = least[k][lane] < found ? least[k][lane] : found;
            to_b[begin + k] = found;
        }
    }
}
