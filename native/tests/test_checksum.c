#include "check.h"

#include <string.h>

#include "lightmill/lightmill.h"

static uint32_t bit_by_bit(const unsigned char *bytes, size_t count)
{
    uint32_t crc = 0xffffffff;
    for (size_t k = 0; k < count; k++) {
        crc ^= bytes[k];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    return ~crc;
}

static void the_check_value_of_the_standard(void)
{
    uint32_t crc = 0;
    CHECK(lm_crc32("123456789", 9, &crc) == LM_OK && crc == 0xcbf43926);
    CHECK(lm_crc32(NULL, 0, &crc) == LM_OK && crc == 0xcbf43926);
}

static void every_length_and_every_place(void)
{
    unsigned char bytes[400];
    for (size_t k = 0; k < sizeof bytes; k++)
        bytes[k] = (unsigned char)(k * k * 31 + k / 7);
    for (size_t start = 0; start < 17; start++)
        for (size_t count = 0; count + start <= sizeof bytes; count++) {
            uint32_t whole = 0, parts = 0;
            CHECK(lm_crc32(bytes + start, count, &whole) == LM_OK);
            CHECK(whole == bit_by_bit(bytes + start, count));
            CHECK(lm_crc32(bytes + start, count / 3, &parts) == LM_OK);
            CHECK(lm_crc32(bytes + start + count / 3, count - count / 3, &parts) == LM_OK && parts == whole);
        }
}

static void one_bit_is_seen(void)
{
    static unsigned char bytes[1 << 16];
    uint32_t before = 0, after = 0;
    CHECK(lm_crc32(bytes, sizeof bytes, &before) == LM_OK);
    bytes[12345] ^= 4;
    CHECK(lm_crc32(bytes, sizeof bytes, &after) == LM_OK && after != before);
}

int main(void)
{
    the_check_value_of_the_standard();
    every_length_and_every_place();
    one_bit_is_seen();
    return 0;
}
