/* native/include/lightmill/codec.h: big-endian files to native memory and back.
 *
 * FITS stores unsigned integers as signed ones with an offset (BZERO = 2^15 or 2^31); adding the
 * offset is turning the sign bit over, so `flip` does both directions: pass it as it stands in the
 * NATIVE value (0x8000, 0x80000000, or 0).
 *
 * Elements are read and written by bytes, so neither side needs to be aligned. Source and
 * destination must not overlap. `count` may be 0.
 */
#ifndef LIGHTMILL_CODEC_H
#define LIGHTMILL_CODEC_H
#include "core.h"

/* native[i] = byteswap(stored[i]) ^ flip. */
LM_API lm_status lm_decode16(const void *stored, size_t count, uint32_t flip, void *native);
LM_API lm_status lm_decode32(const void *stored, size_t count, uint32_t flip, void *native);
LM_API lm_status lm_decode64(const void *stored, size_t count, void *native);

/* stored[i] = byteswap(native[i] ^ flip). */
LM_API lm_status lm_encode16(const void *native, size_t count, uint32_t flip, void *stored);
LM_API lm_status lm_encode32(const void *native, size_t count, uint32_t flip, void *stored);
LM_API lm_status lm_encode64(const void *native, size_t count, void *stored);

/* 16-bit integers straight to float32; `is_unsigned`: the native value is uint16 (flip 0x8000). */
LM_API lm_status lm_decode16_to_float(const void *stored, size_t count, int is_unsigned, float *values);

/* Big-endian float64 straight to float32, rounded to nearest. */
LM_API lm_status lm_decode64_to_float(const void *stored, size_t count, float *values);

#endif
