// Compares kernels/tiles.h with TDPBSSD written as three loops (Intel SDM vol. 2), for every number of rows ggml may ask for.
#include <stdio.h>
#include <stdlib.h>

static int8_t byte(int round) {
    static const int8_t extremes[] = {-128, 127, 0, -1, 1, -127};
    return round % 3 == 0 ? extremes[rand() % 6] : (int8_t) (rand() % 256 - 128);
}

int main() {
    for (int round = 0; round < 600; round++) {
        const int rows = 1 + round % 16;
        const int m0 = rows, m1 = rows;
        const bool odd = round % 2;
        int8_t a[16][32], b[8][64];
        int32_t got[16][16], want[16][16];
        for (auto & row : a) { for (auto & value : row) { value = round % 7 == 0 ? (int8_t) -128 : byte(round); } }
        for (auto & row : b) { for (auto & value : row) { value = round % 7 == 0 ? (int8_t) -128 : byte(round); } }
        memset(got, 0x55, sizeof got);
        for (int m = 0; m < 16; m++) {
            for (int n = 0; n < 16; n++) {
                want[m][n] = 0;
                for (int k = 0; k < 8; k++) {
                    for (int i = 0; i < 4; i++) { want[m][n] += a[m][4 * k + i] * b[k][4 * n + i]; }
                }
            }
        }
        _tile_loadd(0, b, 64);
        if (odd) {
            _tile_zero(5);
            _tile_loadd(3, a, 32);
            _tile_dpbssd(5, 3, 0);
            _tile_stored(5, got, 64);
        } else {
            _tile_zero(4);
            _tile_loadd(2, a, 32);
            _tile_dpbssd(4, 2, 0);
            _tile_stored(4, got, 64);
        }
        for (int m = 0; m < rows; m++) {
            if (memcmp(got[m], want[m], sizeof got[m]) != 0) {
                printf("round %d: row %d of %d differs\n", round, m, rows);
                return 1;
            }
        }
    }
    return 0;
}
