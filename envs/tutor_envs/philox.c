/* Uniform numbers by Philox4x32-10; addresses and constants as in rng.py.
 *
 * Draws of GROUP addresses side by side, so that a compiler makes vector instructions of the inner
 * loops. `out` is (n, lanes), row-major. Parts of the address that have a stride of 0 are the same
 * for all.
 */
#include <stdint.h>

enum { GROUP = 32, ROUNDS = 10 };

void uniforms(int64_t n, const int64_t *student, const int64_t *trial, const int64_t *clock,
              int64_t student_stride, int64_t trial_stride, int64_t clock_stride, uint32_t purpose, uint32_t key_0, uint32_t key_1, int64_t lanes, float *out) {
    for (int64_t first = 0; first < n; first += GROUP) {
        int64_t m = n - first < GROUP ? n - first : GROUP;
        uint32_t at[3][GROUP] = {{0}};
        for (int64_t j = 0; j < m; j++) {
            at[0][j] = (uint32_t)student[(first + j) * student_stride];
            at[1][j] = (uint32_t)trial[(first + j) * trial_stride];
            at[2][j] = (uint32_t)clock[(first + j) * clock_stride];
        }
        for (int64_t lane = 0; lane < lanes; lane += 4) {
            uint32_t c[4][GROUP], k0 = key_0, k1 = key_1;
            for (int j = 0; j < GROUP; j++) {
                c[0][j] = at[0][j];
                c[1][j] = at[1][j];
                c[2][j] = at[2][j];
                c[3][j] = (purpose << 16) + (uint32_t)(lane / 4);
            }
            for (int round = 0; round < ROUNDS; round++) {
                for (int j = 0; j < GROUP; j++) {
                    uint64_t p0 = 0xD2511F53u * (uint64_t)c[0][j];
                    uint64_t p1 = 0xCD9E8D57u * (uint64_t)c[2][j];
                    c[0][j] = (uint32_t)(p1 >> 32) ^ c[1][j] ^ k0;
                    c[1][j] = (uint32_t)p1;
                    c[2][j] = (uint32_t)(p0 >> 32) ^ c[3][j] ^ k1;
                    c[3][j] = (uint32_t)p0;
                }
                k0 += 0x9E3779B9u;
                k1 += 0xBB67AE85u;
            }
            int64_t wanted = lanes - lane < 4 ? lanes - lane : 4;
            for (int64_t j = 0; j < m; j++)
                for (int64_t w = 0; w < wanted; w++)
                    out[(first + j) * lanes + lane + w] = (float)(c[w][j] >> 8) * 0x1p-24f;
        }
    }
}
