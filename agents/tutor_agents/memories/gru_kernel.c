/* A GRU over whole sequences of a batch; equations and layouts in gru_kernel.py.
 *
 * Plain loops that a compiler turns into vector instructions: hence an exp of our own, without
 * branches or calls, and products block by block. Rows are students; all arrays are float, row-major
 * and dense but for `saved`, whose rows lie `saved_stride` apart (0: nothing is kept, every row
 * writes to the same place). `width` is a multiple of 2 LANES. Step t has the rows from starts[t] to
 * starts[t + 1] of x, grad, saved and d, no more than the step before; `hidden` holds the memories
 * before step 0, after step 0, after step 1, ...
 */
#include <stdint.h>
#include <string.h>

#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(enable)")
#define UNROLLED _Pragma("unroll")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#define UNROLLED _Pragma("GCC unroll 16")
#endif

#if defined(__AMX_BF16__) && defined(__linux__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define TILES 1
#else
#define TILES 0
#endif

/* Sums of a block of ROWS x 3 vectors fit into the registers. */
#if defined(__AVX512F__)
enum { LANES = 16, ROWS = 8 };
#else
enum { LANES = 8, ROWS = 4 };
#endif
typedef float vector __attribute__((vector_size(4 * LANES)));
typedef float anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* exp(x), relative error about 1e-7; x is held within [-87, 87], where nothing over- or underflows.
 * 2^n times a polynomial in what remains, |f| <= ln(2) / 2; coefficients: Cephes 2.2, expf.c
 * (S. L. Moshier). NaN stays NaN. */
static inline float exp_within_range(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    float shifted = x * 1.44269504088896341f + 12582912.0f; /* + 1.5 * 2^23 rounds to whole n */
    float n = shifted - 12582912.0f;
    float f = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts */
    float p = 1.9875691500e-4f;
    p = p * f + 1.3981999507e-3f;
    p = p * f + 8.3334519073e-3f;
    p = p * f + 4.1665795894e-2f;
    p = p * f + 1.6666665459e-1f;
    p = p * f + 5.0000001201e-1f;
    p = p * f * f + f + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u; /* the low bits of `shifted` are n: the exponent of 2^n */
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exp_within_range(-x)); }

static inline float hyperbolic_tangent(float x) {
    return 1.0f - 2.0f / (1.0f + exp_within_range(2.0f * x));
}

/* out (R, C LANES), dense = a (R, depth), rows `stride` apart, times panel (depth, C LANES) */
#define MULTIPLY(NAME, R, C)                                                                      \
    static void NAME(int64_t depth, const float *a, int64_t stride, const float *panel,           \
                     float *out) {                                                                \
        vector sum[R][C] = {{{0}}};                                                               \
        for (int64_t k = 0; k < depth; k++) {                                                     \
            vector w[C];                                                                          \
            UNROLLED for (int c = 0; c < C; c++) w[c] =                                           \
                *(const anywhere *)(panel + (k * C + c) * LANES);                                 \
            UNROLLED for (int r = 0; r < R; r++) {                                                \
                UNROLLED for (int c = 0; c < C; c++) sum[r][c] += a[r * stride + k] * w[c];       \
            }                                                                                     \
        }                                                                                         \
        UNROLLED for (int r = 0; r < R; r++) {                                                    \
            UNROLLED for (int c = 0; c < C; c++) *(anywhere *)(out + (r * C + c) * LANES) =       \
                sum[r][c];                                                                        \
        }                                                                                         \
    }
MULTIPLY(rows_by_gates, ROWS, 3)
MULTIPLY(row_by_gates, 1, 3)
MULTIPLY(rows_by_pair, ROWS, 2)
MULTIPLY(row_by_pair, 1, 2)

/* Products of bfloat16 in tiles of 16 x 16 sums (Intel AMX), where the processor has them. A product
 * of two numbers rounded to 8 bits is exact, and is added in float. */
enum { TILE = 16, DEPTH = 32 }; /* rows and columns of sums; numbers summed by one instruction */

/* 1 if this process may use tiles: Linux wants to be asked once (arch_prctl(2)). */
int gru_has_tiles(void) {
#if TILES
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return 0;
#endif
}

/* To nearest, ties to even; NaN as it is computed stays NaN. */
static inline uint16_t narrowed(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

static void begin_tiles(void) {
#if TILES
    uint8_t config[64] = {1}; /* palette; from 16 on bytes in a row (16 bits), from 48 on rows */
    for (int i = 0; i < 8; i++) config[16 + 2 * i] = 4 * TILE, config[48 + i] = TILE;
    _tile_loadconfig(config);
#endif
}

static void end_tiles(void) {
#if TILES
    _tile_release();
#endif
}

/* out (TILE, n TILE), dense, n of 2 or 3, = a (TILE, depth), rows `stride` apart, times a panel of
 * tiles [depth / DEPTH][n][DEPTH / 2][TILE][2]; numbers of tile registers must be constants */
static inline void multiply_tiles(int n, int64_t depth, const uint16_t *a, int64_t stride,
                                  const uint16_t *panel, float *out) {
#if TILES
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    for (int64_t k = 0; k < depth; k += DEPTH, panel += n * DEPTH * TILE) {
        _tile_loadd(3, a + k, 2 * stride);
        _tile_loadd(4, panel, 4 * TILE);
        _tile_loadd(5, panel + DEPTH * TILE, 4 * TILE);
        _tile_dpbf16ps(0, 3, 4);
        _tile_dpbf16ps(1, 3, 5);
        if (n < 3) continue;
        _tile_loadd(6, panel + 2 * DEPTH * TILE, 4 * TILE);
        _tile_dpbf16ps(2, 3, 6);
    }
    _tile_stored(0, out, 4 * n * TILE);
    _tile_stored(1, out + TILE, 4 * n * TILE);
    if (n == 3) _tile_stored(2, out + 2 * TILE, 4 * n * TILE);
#endif
}

/* W_hh, (3 width, width) in the order r, z, n, as the panels that the products read from start to
 * end: `forward` has for each LANES units [width][r, z, n][LANES], `backward` for each 2 LANES
 * inputs [n, r, z][width][2 LANES]; both 3 width x width, `backward` may be left out (0). */
void gru_pack(int64_t width, const float *w_hh, float *forward, float *backward) {
    for (int64_t j = 0; j < width; j += LANES)
        for (int64_t k = 0; k < width; k++)
            for (int gate = 0; gate < 3; gate++)
                for (int l = 0; l < LANES; l++)
                    *forward++ = w_hh[(gate * width + j + l) * width + k];
    for (int64_t j = 0; backward && j < width; j += 2 * LANES)
        for (int gate = 2; gate < 5; gate++)
            for (int64_t k = 0; k < width; k++)
                for (int l = 0; l < 2 * LANES; l++)
                    *backward++ = w_hh[(gate % 3 * width + k) * width + j + l];
}

/* The same in bfloat16, as tiles: `forward` has for each TILE units [width / DEPTH][r, z, n] tiles,
 * `backward` for each 2 TILE inputs [3 width / DEPTH][2] tiles; a tile is [DEPTH / 2][TILE][2]. */
void gru_pack_tiles(int64_t width, const float *w_hh, uint16_t *forward, uint16_t *backward) {
    for (int64_t j = 0; j < width; j += TILE)
        for (int64_t k = 0; k < width; k += DEPTH)
            for (int gate = 0; gate < 3; gate++)
                for (int i = 0; i < DEPTH / 2 * TILE * 2; i++)
                    *forward++ = narrowed(w_hh[(gate * width + j + i / 2 % TILE) * width + k +
                                               i / (2 * TILE) * 2 + i % 2]);
    for (int64_t j = 0; backward && j < width; j += TILE + TILE)
        for (int64_t k = 0; k < 3 * width; k += DEPTH)
            for (int64_t c = j; c <= j + TILE; c += TILE)
                for (int i = 0; i < DEPTH / 2 * TILE * 2; i++) {
                    int64_t row = k + i / (2 * TILE) * 2 + i % 2; /* in the order n, r, z */
                    row = row < width ? row + 2 * width : row - width;
                    *backward++ = narrowed(w_hh[row * width + c + i / 2 % TILE]);
                }
}

/* The sum of x and `common` is W_ih u + b_ih, 3 width wide in the order r, z, n: `common` for all
 * rows of a step, x (n_x rows) row by row, but with tokens the row of x is the token. The memories
 * after each step are written to `hidden`, what the way back needs to saved, (rows, 4 width):
 * W_hn h + b_hn, r, z, n. `panels` is what gru_pack made for this direction, or gru_pack_tiles where
 * `narrow`, (rows of step 0 up to a multiple of TILE, width), is given as a place for memories in
 * bfloat16. Returns 1, having done nothing, if a token is not a row of x, else 0. */
int gru_forward(int64_t n_steps, const int64_t *starts, int64_t width, int64_t n_x, const float *x,
                const int64_t *token, const float *common, const void *panels, const float *b_hh,
                float *hidden, float *saved, int64_t saved_stride, uint16_t *narrow) {
    for (int64_t at = 0; token && at < starts[n_steps]; at++)
        if (token[at] < 0 || token[at] >= n_x) return 1;
    if (narrow) begin_tiles();
    const float *before = hidden;
    float *after = hidden + starts[1] * width;
    for (int64_t t = 0; t < n_steps; t++) {
        int64_t first = starts[t], n_rows = starts[t + 1] - first;
        for (int64_t i = 0; narrow && i < n_rows * width; i++) narrow[i] = narrowed(before[i]);
        for (int64_t j = 0; j < width; j += LANES) {
            const float *c = common + t * 3 * width + j, *b = b_hh + j;
            for (int64_t row = 0, n = ROWS; row < n_rows; row += n) {
                float product[TILE][3][LANES];
                if (narrow) {
                    n = TILE;
                    multiply_tiles(3, width, narrow + row * width, width,
                                   (const uint16_t *)panels + j * 3 * width, product[0][0]);
                } else {
                    if (n_rows - row < ROWS) n = 1;
                    (n == 1 ? row_by_gates : rows_by_gates)(
                        width, before + row * width, width,
                        (const float *)panels + j * 3 * width, product[0][0]);
                }
                for (int64_t i = 0; i < n && row + i < n_rows; i++) {
                    int64_t at = first + row + i;
                    const float *u = x + (token ? token[at] : at) * 3 * width + j;
                    const float *h = before + (row + i) * width + j;
                    float *out = after + (row + i) * width + j;
                    float *kept = saved + at * saved_stride + j;
                    const float *gr = product[i][0], *gz = product[i][1], *gn = product[i][2];
                    INDEPENDENT
                    for (int l = 0; l < LANES; l++) {
                        float r = sigmoid(u[l] + c[l] + (gr[l] + b[l]));
                        float z = sigmoid(u[width + l] + c[width + l] + (gz[l] + b[width + l]));
                        float q = gn[l] + b[2 * width + l];
                        float n = hyperbolic_tangent(u[2 * width + l] + c[2 * width + l] + r * q);
                        out[l] = n + z * (h[l] - n);
                        kept[l] = q;
                        kept[width + l] = r;
                        kept[2 * width + l] = z;
                        kept[3 * width + l] = n;
                    }
                }
            }
        }
        before = after;
        after += n_rows * width;
    }
    if (narrow) end_tiles();
    return 0;
}

/* Back from step `last` - 1 to step `first`. grad: of the loss by the outputs; carry (rows of
 * step 0, width): by the memories after step `last` - 1, through the later steps, and on return by
 * those before step `first`; d, (rows from starts[first] on, 4 width): by W_hn h + b_hn, and by the
 * arguments of r, z and n. With tokens the last three are added to d_x, at the row of the token,
 * and to d_common. `narrow`: as above, but (.., 3 width), for the first three. */
void gru_backward(int64_t first, int64_t last, const int64_t *starts, int64_t width,
                  const float *grad, const float *saved, const float *hidden, const void *panels,
                  float *carry, float *d, const int64_t *token, float *d_x, float *d_common,
                  uint16_t *narrow) {
    if (narrow) begin_tiles();
    for (int64_t t = last - 1; t >= first; t--) {
        int64_t n_rows = starts[t + 1] - starts[t];
        const float *before = t == 0 ? hidden : hidden + (starts[1] + starts[t - 1]) * width;
        float *d_t = d + (starts[t] - starts[first]) * 4 * width;
        for (int64_t row = 0; row < n_rows; row++) {
            int64_t at = starts[t] + row;
            const float *q = saved + at * 4 * width, *r = q + width, *z = r + width, *n = z + width;
            const float *h = before + row * width, *out = grad + at * width;
            float *later = carry + row * width;
            float *dq = d_t + row * 4 * width, *dr = dq + width, *dz = dr + width, *dn = dz + width;
            INDEPENDENT
            for (int64_t j = 0; j < width; j++) {
                float dh = later[j] + out[j];
                float dn_j = dh * (1.0f - z[j]) * (1.0f - n[j] * n[j]);
                dq[j] = dn_j * r[j];
                dr[j] = dn_j * q[j] * r[j] * (1.0f - r[j]);
                dz[j] = dh * (h[j] - n[j]) * z[j] * (1.0f - z[j]);
                dn[j] = dn_j;
                later[j] = dh * z[j];
            }
            uint16_t *to = narrow + row * 3 * width;
            for (int64_t j = 0; narrow && j < 3 * width; j++) to[j] = narrowed(dq[j]);
            if (!token) continue;
            float *of_token = d_x + token[at] * 3 * width, *common = d_common + t * 3 * width;
            INDEPENDENT
            for (int64_t j = 0; j < 3 * width; j++) {
                of_token[j] += dr[j];
                common[j] += dr[j];
            }
        }
        for (int64_t j = 0; j < width; j += 2 * LANES) {
            for (int64_t row = 0, n = ROWS; row < n_rows; row += n) {
                float product[TILE][2 * LANES];
                if (narrow) {
                    n = TILE;
                    multiply_tiles(2, 3 * width, narrow + row * 3 * width, 3 * width,
                                  (const uint16_t *)panels + j * 3 * width, product[0]);
                } else {
                    if (n_rows - row < ROWS) n = 1;
                    (n == 1 ? row_by_pair : rows_by_pair)(
                        3 * width, d_t + row * 4 * width, 4 * width,
                        (const float *)panels + j * 3 * width, product[0]);
                }
                for (int64_t i = 0; i < n && row + i < n_rows; i++)
                    for (int l = 0; l < 2 * LANES; l++)
                        carry[(row + i) * width + j + l] += product[i][l];
            }
        }
    }
    if (narrow) end_tiles();
}
