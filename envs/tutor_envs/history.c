/* Sums over the reviews of a history by window and value; see window_totals in history.py.
 *
 * `amount`, `lag` and `index` are (n, reviews), row-major; `out` is (n, windows, values).
 */
#include <stdint.h>
#include <string.h>

static inline int64_t value_at(const void *index, int64_t bytes, int64_t i) {
    return bytes == 1 ? ((const int8_t *)index)[i]
         : bytes == 2 ? ((const int16_t *)index)[i]
                      : ((const int32_t *)index)[i];
}

void window_totals(int64_t n, int64_t reviews, const float *amount, const float *lag,
                   const void *index, int64_t index_bytes, int64_t windows, const float *limit,
                   int64_t values, float *out) {
    for (int64_t student = 0; student < n; student++, out += windows * values) {
        memset(out, 0, windows * values * sizeof *out);
        for (int64_t i = student * reviews; i < (student + 1) * reviews; i++) {
            if (amount[i] == 0) continue;
            int64_t window = 0;
            while (window < windows && lag[i] > limit[window]) window++;
            if (window < windows) out[window * values + value_at(index, index_bytes, i)] += amount[i];
        }
    }
}
