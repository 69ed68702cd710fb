/* Uniform numbers by Philox4x32-10; addresses and constants as in rng.py.
 *
 * Addresses are (rows, columns) and `out` is (rows, lanes, columns). Each part of an address has a
 * stride for rows and one for columns, which is 1, or 0 where the part is the same for all columns.
 *
 * The words of GROUP addresses are computed side by side, each in the lower half of 64 bits; what
 * the multiplications leave in the upper halves is never read.
 */
#include <stdint.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

enum { WIDTH = 8, VECTORS = 2, GROUP = WIDTH * VECTORS, ROUNDS = 10 };
typedef uint64_t words __attribute__((vector_size(8 * WIDTH)));
typedef union {
    words vector[VECTORS];
    uint64_t one[GROUP];
} group;

static inline words times(words a, uint32_t b) {
#ifdef __AVX512F__
    return (words)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#else
    return (a & 0xFFFFFFFFu) * (uint64_t)b;
#endif
}

static void philox(group c[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < ROUNDS; round++) {
        for (int v = 0; v < VECTORS; v++) {
            words p0 = times(c[0].vector[v], 0xD2511F53u), p1 = times(c[2].vector[v], 0xCD9E8D57u);
            c[0].vector[v] = (p1 >> 32) ^ c[1].vector[v] ^ (uint64_t)k0;
            c[1].vector[v] = p1;
            c[2].vector[v] = (p0 >> 32) ^ c[3].vector[v] ^ (uint64_t)k1;
            c[3].vector[v] = p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void uniforms(int64_t rows, int64_t columns, const int64_t *const at[3], const int64_t strides[6],
              uint32_t purpose, uint32_t key_0, uint32_t key_1, int64_t lanes, float *out) {
    for (int64_t row = 0; row < rows; row++, out += lanes * columns)
        for (int64_t first = 0; first < columns; first += GROUP) {
            int64_t m = least(GROUP, columns - first);
            group address[3] = {0};
            for (int part = 0; part < 3; part++) {
                const int64_t *from = at[part] + row * strides[2 * part];
                if (strides[2 * part + 1])
                    for (int64_t j = 0; j < m; j++) address[part].one[j] = from[first + j];
                else
                    for (int j = 0; j < GROUP; j++) address[part].one[j] = *from;
            }
            for (int64_t lane = 0; lane < lanes; lane += 4) {
                group c[4] = {address[0], address[1], address[2]};
                for (int j = 0; j < GROUP; j++) c[3].one[j] = (purpose << 16) + (uint32_t)(lane / 4);
                philox(c, key_0, key_1);
                for (int64_t w = 0; w < least(4, lanes - lane); w++) {
                    float *to = out + (lane + w) * columns + first;
                    for (int64_t j = 0; j < m; j++)
                        to[j] = (float)(int32_t)((uint32_t)c[w].one[j] >> 8) * 0x1p-24f;
                }
            }
        }
}
