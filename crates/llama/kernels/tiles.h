// AMX tiles in software, for ggml's AMX kernels on processors with AVX-512 VNNI.
//
// ggml lays weights out anew for AMX, and for single rows (decode) computes on that layout with VNNI alone, which is half again as fast as
// on the file's layout. For several rows (prefill) it uses the tile instructions, which EPYC does not have and which some hypervisors
// announce and do not run. This header, included before ggml's sources, stands in for the five intrinsics that ggml uses. Each
// result equals the instruction's, bit for bit: sums of 8-bit products in 32 bits (Intel SDM vol. 2, TDPBSSD).
//
// Shapes are those of ggml_tile_config_init: B in tiles 0 and 1 (8 rows of 64 bytes), A in 2 and 3 (16 rows of 32 bytes),
// sums in 4 to 7 (16 rows of 16 integers).
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct lethe_tile {
    alignas(64) uint8_t bytes[1024];
};

static thread_local lethe_tile lethe_tiles[8];

// A is kept with its sign bit flipped, as VNNI multiplies unsigned by signed bytes.
static inline void lethe_tile_load(int tile, const void * base, size_t stride, int rows) {
    const uint8_t * from = (const uint8_t *) base;
    uint8_t * to = lethe_tiles[tile].bytes;
    if (tile < 2) {
        for (int row = 0; row < 8; row++) {
            _mm512_store_si512(to + 64 * row, _mm512_loadu_si512(from + stride * row));
        }
        return;
    }
    const __m256i flip = _mm256_set1_epi8((char) 0x80);
    for (int row = 0; row < rows; row++) {
        const __m256i signed_row = _mm256_loadu_si256((const __m256i *) (from + stride * row));
        _mm256_store_si256((__m256i *) (to + 32 * row), _mm256_xor_si256(signed_row, flip));
    }
}

static inline void lethe_tile_store(int tile, void * base, size_t stride, int rows) {
    for (int row = 0; row < rows; row++) {
        const __m512i sums = _mm512_load_si512(lethe_tiles[tile].bytes + 64 * row);
        _mm512_storeu_si512((uint8_t *) base + stride * row, sums);
    }
}

// (A + 128) * B summed is A * B summed and 128 times the sum of B: the latter is taken off at the start.
template <int ROWS>
static inline void lethe_tile_multiply(uint8_t * out, const uint8_t * left, const uint8_t * right) {
    __m512i excess = _mm512_setzero_si512();
    for (int k = 0; k < 8; k++) {
        excess = _mm512_dpbusd_epi32(excess, _mm512_set1_epi8((char) 0x80), _mm512_load_si512(right + 64 * k));
    }
    __m512i rows[ROWS];
    for (int row = 0; row < ROWS; row++) {
        rows[row] = _mm512_sub_epi32(_mm512_load_si512(out + 64 * row), excess);
    }
    for (int k = 0; k < 8; k++) {
        const __m512i column = _mm512_load_si512(right + 64 * k);
#pragma GCC unroll 16
        for (int row = 0; row < ROWS; row++) {
            int32_t four;
            memcpy(&four, left + 32 * row + 4 * k, sizeof four);
            rows[row] = _mm512_dpbusd_epi32(rows[row], _mm512_set1_epi32(four), column);
        }
    }
    for (int row = 0; row < ROWS; row++) {
        _mm512_store_si512(out + 64 * row, rows[row]);
    }
}

// Rows that are not asked for are left as they are: ggml reads none of them.
static inline void lethe_tile_dpbssd(int sums, int a, int b, int rows) {
    uint8_t * out = lethe_tiles[sums].bytes;
    const uint8_t * left = lethe_tiles[a].bytes;
    const uint8_t * right = lethe_tiles[b].bytes;
    if (rows <= 2) {
        lethe_tile_multiply<2>(out, left, right);
    } else if (rows <= 4) {
        lethe_tile_multiply<4>(out, left, right);
    } else if (rows <= 8) {
        lethe_tile_multiply<8>(out, left, right);
    } else {
        lethe_tile_multiply<16>(out, left, right);
    }
}

// ggml's kernels hold the rows of A and of the sums that count in `m0` (tiles 2, 4 and 6) and `m1` (3, 5 and 7); AMX has no use for them, and
// computes all 16, which for the few rows of parallel decoding would be most of the work.
#define LETHE_TILE_ROWS(tile) ((tile) % 2 == 0 ? m0 : m1)

#undef _tile_loadconfig
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#define _tile_loadconfig(config) ((void) (config))
#define _tile_zero(tile) memset(lethe_tiles[tile].bytes, 0, 64 * LETHE_TILE_ROWS(tile))
#define _tile_loadd(tile, base, stride) lethe_tile_load(tile, base, (size_t) (stride), LETHE_TILE_ROWS(tile))
#define _tile_stored(tile, base, stride) lethe_tile_store(tile, base, (size_t) (stride), LETHE_TILE_ROWS(tile))
#define _tile_dpbssd(sums, a, b) lethe_tile_dpbssd(sums, a, b, LETHE_TILE_ROWS(a))

// ggml_amx_init asks the kernel for the permission to use tiles; these need none.
#define syscall(...) 0L
