#include "lightmill/codec.h"

#include <string.h>

#include "clones.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define SWAP16(x) (x)
#define SWAP32(x) (x)
#define SWAP64(x) (x)
#else
#define SWAP16(x) ((uint16_t)(((x) << 8) | ((x) >> 8)))
#define SWAP32(x) __builtin_bswap32(x)
#define SWAP64(x) __builtin_bswap64(x)
#endif

/* memcpy of one element is how C reads an unaligned one; compilers make it a plain load. */
LM_CLONES static void swap16(const unsigned char *restrict from, size_t count, uint16_t flip,
                             unsigned char *restrict to)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t v;
        memcpy(&v, from + 2 * i, 2);
        v = (uint16_t)(SWAP16(v) ^ flip);
        memcpy(to + 2 * i, &v, 2);
    }
}

LM_CLONES static void swap32(const unsigned char *restrict from, size_t count, uint32_t flip,
                             unsigned char *restrict to)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t v;
        memcpy(&v, from + 4 * i, 4);
        v = SWAP32(v) ^ flip;
        memcpy(to + 4 * i, &v, 4);
    }
}

LM_CLONES static void swap64(const unsigned char *restrict from, size_t count, unsigned char *restrict to)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t v;
        memcpy(&v, from + 8 * i, 8);
        v = SWAP64(v);
        memcpy(to + 8 * i, &v, 8);
    }
}

LM_CLONES static void unsigned16_to_float(const unsigned char *restrict from, size_t count, float *restrict to)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t v;
        memcpy(&v, from + 2 * i, 2);
        v = (uint16_t)(SWAP16(v) ^ 0x8000u);
        to[i] = (float)(int32_t)v;
    }
}

LM_CLONES static void signed16_to_float(const unsigned char *restrict from, size_t count, float *restrict to)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t v;
        memcpy(&v, from + 2 * i, 2);
        v = SWAP16(v);
        int16_t s;
        memcpy(&s, &v, 2);
        to[i] = (float)s;
    }
}

LM_CLONES static void double_to_float(const unsigned char *restrict from, size_t count, float *restrict to)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t v;
        double d;
        memcpy(&v, from + 8 * i, 8);
        v = SWAP64(v);
        memcpy(&d, &v, 8);
        to[i] = (float)d;
    }
}

lm_status lm_decode16(const void *stored, size_t count, uint32_t flip, void *native)
{
    if (flip > UINT16_MAX)
        return LM_BAD_ARGUMENT;
    swap16(stored, count, (uint16_t)flip, native);
    return LM_OK;
}

lm_status lm_decode32(const void *stored, size_t count, uint32_t flip, void *native)
{
    swap32(stored, count, flip, native);
    return LM_OK;
}

lm_status lm_decode64(const void *stored, size_t count, void *native)
{
    swap64(stored, count, native);
    return LM_OK;
}

/* swap(v ^ flip) == swap(v) ^ swap(flip): encoding is decoding with the mask in file order. */
lm_status lm_encode16(const void *native, size_t count, uint32_t flip, void *stored)
{
    if (flip > UINT16_MAX)
        return LM_BAD_ARGUMENT;
    uint16_t mask = (uint16_t)flip;
    swap16(native, count, SWAP16(mask), stored);
    return LM_OK;
}

lm_status lm_encode32(const void *native, size_t count, uint32_t flip, void *stored)
{
    swap32(native, count, SWAP32(flip), stored);
    return LM_OK;
}

lm_status lm_encode64(const void *native, size_t count, void *stored)
{
    swap64(native, count, stored);
    return LM_OK;
}

lm_status lm_decode16_to_float(const void *stored, size_t count, int is_unsigned, float *values)
{
    if (is_unsigned)
        unsigned16_to_float(stored, count, values);
    else
        signed16_to_float(stored, count, values);
    return LM_OK;
}

lm_status lm_decode64_to_float(const void *stored, size_t count, float *values)
{
    double_to_float(stored, count, values);
    return LM_OK;
}
