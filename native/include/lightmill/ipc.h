/* native/include/lightmill/ipc.h: undo the signal that leaks between neighbouring pixels. */
#ifndef LIGHTMILL_IPC_H
#define LIGHTMILL_IPC_H
#include "core.h"

/* Convolve every group plane, in place, with a kernel of odd size k:
 *   out[y, x] = sum over j, i of K[j, i] in[y + k/2 - j, x + k/2 - i],
 * over the valid area only: rows y0 <= y < y1, columns x0 <= x < x1. What lies outside counts as 0 and
 * is not changed. The terms are added in float32, j by j and i by i, the centre last.
 *
 * kernel        k * k numbers `kernel_stride` elements apart: one each (per_pixel 0, stride 1), or
 *               one plane [n_rows][n_cols] each, K[j, i] then belonging to the pixel (y, x)
 * Allocates k rows (LM_NO_MEMORY). Rows within k/2 of the array's edge depend on the rows beyond it. */
LM_API lm_status lm_convolve_ipc(float *data, const lm_shape *shape, const float *kernel, size_t k,
                                 size_t kernel_stride, int per_pixel, size_t y0, size_t y1, size_t x0, size_t x1);

#endif
