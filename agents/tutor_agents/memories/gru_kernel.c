/* The gates of a GRU for one step of a batch; equations and layouts in gru_kernel.py.
 *
 * Plain loops that a compiler turns into vector instructions: hence an exp of our own, without
 * branches or calls. Rows are students; all arrays are float, row-major and dense but for `saved`,
 * whose rows lie `saved_stride` apart (0: nothing is kept, every row writes to the same place).
 */
#include <stdint.h>
#include <string.h>

#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(enable)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

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

/* The sum of x and `common` is W_ih u + b_ih, and g is W_hh h + b_hh, 3 width wide in the order
 * r, z, n: `common` for all rows, x and g row by row, but with tokens the row of x is the token;
 * before = h and after, (rows, width); saved, (rows, 4 width): W_hn h + b_hn, r, z, n. */
void gru_forward(int64_t rows, int64_t width, const float *x, const int64_t *token,
                 const float *common, const float *g, const float *before, float *after,
                 float *saved, int64_t saved_stride) {
    const float *cr = common, *cz = cr + width, *cn = cz + width;
    for (int64_t row = 0; row < rows; row++) {
        const float *xr = x + (token ? token[row] : row) * 3 * width;
        const float *xz = xr + width, *xn = xz + width;
        const float *gr = g + row * 3 * width, *gz = gr + width, *gn = gz + width;
        const float *h = before + row * width;
        float *out = after + row * width;
        float *q = saved + row * saved_stride, *r = q + width, *z = r + width, *n = z + width;
        INDEPENDENT
        for (int64_t j = 0; j < width; j++) {
            float r_j = sigmoid(xr[j] + cr[j] + gr[j]);
            float z_j = sigmoid(xz[j] + cz[j] + gz[j]);
            float n_j = hyperbolic_tangent(xn[j] + cn[j] + r_j * gn[j]);
            out[j] = n_j + z_j * (h[j] - n_j);
            q[j] = gn[j];
            r[j] = r_j;
            z[j] = z_j;
            n[j] = n_j;
        }
    }
}

/* grad: of the loss by the output of this step; carry: by the same, from later steps, and on
 * return the part of the gradient by `before` that does not pass through the gates;
 * d, (rows, 4 width): by W_hn h + b_hn, and by the arguments of r, z and n. With tokens the last
 * three are added to d_x, at the row of the token, and to d_common. */
void gru_backward(int64_t rows, int64_t width, const float *grad, const float *saved,
                  const float *before, float *carry, float *d, const int64_t *token, float *d_x,
                  float *d_common) {
    for (int64_t row = 0; row < rows; row++) {
        const float *q = saved + row * 4 * width, *r = q + width, *z = r + width, *n = z + width;
        const float *h = before + row * width, *out = grad + row * width;
        float *later = carry + row * width;
        float *dq = d + row * 4 * width, *dr = dq + width, *dz = dr + width, *dn = dz + width;
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
        if (!token) continue;
        float *of_token = d_x + token[row] * 3 * width;
        INDEPENDENT
        for (int64_t j = 0; j < 3 * width; j++) {
            of_token[j] += dr[j];
            d_common[j] += dr[j];
        }
    }
}
