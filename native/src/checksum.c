/* CRC-32; see lightmill/checksum.h. */
#include "lightmill/checksum.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAS_FOLDING 1
#else
#define HAS_FOLDING 0
#endif

/* Sums of the 16 half bytes: bit by bit, x^32 is x^26 + x^23 + ... + 1 (0xedb88320, lowest power first). */
static const uint32_t half_bytes[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

static uint32_t add_bytes(uint32_t crc, const unsigned char *bytes, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        crc ^= bytes[k];
        crc = crc >> 4 ^ half_bytes[crc & 15];
        crc = crc >> 4 ^ half_bytes[crc & 15];
    }
    return crc;
}

#if HAS_FOLDING

/* What x^n leaves of 64 bits that lie n bits before the end, for the two halves of a register:
 * x^(512 + 32), x^(512 - 32), and x^(128 + 32), x^(128 - 32), lowest power first (V. Gopal et al. 2009, Fast CRC
 * Computation for Generic Polynomials Using PCLMULQDQ Instruction, Intel). */
static const uint64_t by_512[2] = {0x154442bd4, 0x1c6e41596}, by_128[2] = {0x1751997d0, 0x0ccaa009e};

__attribute__((target("pclmul,sse2"))) static __m128i folded(__m128i sum, __m128i by, __m128i next)
{
    const __m128i low = _mm_clmulepi64_si128(sum, by, 0x00), high = _mm_clmulepi64_si128(sum, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* Four registers go through the bytes 64 at a time; what they hold at the end has the same sum as all before. */
__attribute__((target("pclmul,sse2"))) static uint32_t fold(uint32_t crc, const unsigned char *bytes, size_t count)
{
    const __m128i far = _mm_loadu_si128((const __m128i *)(const void *)by_512);
    const __m128i near = _mm_loadu_si128((const __m128i *)(const void *)by_128);
    const __m128i *at = (const __m128i *)(const void *)bytes;
    unsigned char rest[16];
    __m128i sums[4];
    for (int k = 0; k < 4; k++)
        sums[k] = _mm_loadu_si128(at + k);
    sums[0] = _mm_xor_si128(sums[0], _mm_cvtsi32_si128((int)crc));
    for (at += 4, count -= 64; count >= 64; at += 4, count -= 64)
        for (int k = 0; k < 4; k++)
            sums[k] = folded(sums[k], far, _mm_loadu_si128(at + k));
    for (int k = 1; k < 4; k++)
        sums[k] = folded(sums[k - 1], near, sums[k]);
    _mm_storeu_si128((__m128i *)(void *)rest, sums[3]);
    crc = add_bytes(0, rest, sizeof rest);
    return add_bytes(crc, (const unsigned char *)at, count);
}

int lm_crc32_is_fast(void) { return __builtin_cpu_supports("pclmul") != 0; }

#else

static uint32_t fold(uint32_t crc, const unsigned char *bytes, size_t count) { return add_bytes(crc, bytes, count); }

int lm_crc32_is_fast(void) { return 0; }

#endif

lm_status lm_crc32(const void *bytes, size_t count, uint32_t *crc)
{
    const int folds = count >= 64 && lm_crc32_is_fast();
    *crc = ~(folds ? fold(~*crc, bytes, count) : add_bytes(~*crc, bytes, count));
    return LM_OK;
}
