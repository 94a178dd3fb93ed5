/* The traffic of a readout with nothing computed: read some planes one after the other, write others past the cache. */
#include <stdint.h>
#include <stdlib.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

__attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
uint64_t read_planes(const uint64_t *planes, size_t words)
{
    uint64_t a = 0, b = 0, c = 0, d = 0; /* four streams: more requests are under way */
    const size_t quarter = words / 4;
    for (size_t k = 0; k < quarter; k++) {
        a ^= planes[k];
        b ^= planes[quarter + k];
        c ^= planes[2 * quarter + k];
        d ^= planes[3 * quarter + k];
    }
    return a ^ b ^ c ^ d;
}

void write_planes(uint64_t *planes, size_t words)
{
#if defined(__SSE2__)
    const __m128i value = _mm_set1_epi32(7);
    for (size_t k = 0; k + 2 <= words; k += 2)
        _mm_stream_si128((__m128i *)(void *)(planes + k), value);
    _mm_sfence();
#else
    for (size_t k = 0; k < words; k++)
        planes[k] = 7;
#endif
}
