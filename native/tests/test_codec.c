#include "check.h"

#include <string.h>

#include "lightmill/lightmill.h"

static void unsigned_integers_are_offset(void)
{
    const unsigned char stored[] = {0x80, 0x00, 0x00, 0x00, 0x7f, 0xff};
    uint16_t native[3];
    float values[3];
    CHECK(lm_decode16(stored, 3, 0x8000, native) == LM_OK);
    CHECK(native[0] == 0 && native[1] == 32768 && native[2] == 65535);
    CHECK(lm_decode16_to_float(stored, 3, 1, values) == LM_OK);
    CHECK(values[0] == 0.0f && values[1] == 32768.0f && values[2] == 65535.0f);
    CHECK(lm_decode16_to_float(stored, 3, 0, values) == LM_OK);
    CHECK(values[0] == -32768.0f && values[1] == 0.0f && values[2] == 32767.0f);
    CHECK(lm_decode16(stored, 3, 0x10000, native) == LM_BAD_ARGUMENT);
}

static void encoding_undoes_decoding(void)
{
    unsigned char stored[8 * 33 + 1], again[8 * 33 + 1], native[8 * 33 + 1];
    for (size_t k = 0; k < sizeof stored; k++)
        stored[k] = (unsigned char)(k * 89 + 7);
    for (size_t count = 0; count <= 33; count++) { /* one byte in: nothing need be aligned */
        CHECK(lm_decode16(stored + 1, count, 0x8000, native + 1) == LM_OK);
        CHECK(lm_encode16(native + 1, count, 0x8000, again) == LM_OK && !memcmp(stored + 1, again, 2 * count));
        CHECK(lm_decode32(stored + 1, count, 0x80000000u, native + 1) == LM_OK);
        CHECK(lm_encode32(native + 1, count, 0x80000000u, again) == LM_OK && !memcmp(stored + 1, again, 4 * count));
        CHECK(lm_decode64(stored + 1, count, native + 1) == LM_OK);
        CHECK(lm_encode64(native + 1, count, again) == LM_OK && !memcmp(stored + 1, again, 8 * count));
    }
}

static void doubles_are_rounded(void)
{
    const unsigned char third[] = {0x3f, 0xd5, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55};
    float value;
    CHECK(lm_decode64_to_float(third, 1, &value) == LM_OK);
    CHECK(value == 1.0f / 3.0f);
}

int main(void)
{
    unsigned_integers_are_offset();
    encoding_undoes_decoding();
    doubles_are_rounded();
    return 0;
}
