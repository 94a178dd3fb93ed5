#define _GNU_SOURCE /* fmemopen */
#include "check.h"

#include <math.h>
#include <string.h>

#include "lightmill/lightmill.h"

static char bytes[8 * LM_FITS_BLOCK];
static size_t length;

static void card(const char *text)
{
    memset(bytes + length, ' ', LM_FITS_CARD);
    memcpy(bytes + length, text, strlen(text));
    length += LM_FITS_CARD;
}

static void end_block(char with)
{
    const size_t rest = (LM_FITS_BLOCK - length % LM_FITS_BLOCK) % LM_FITS_BLOCK;
    memset(bytes + length, with, rest);
    length += rest;
}

/* An image of 3 columns, 2 rows and 2 planes whose bytes count from 0. */
static void image(const char *first, const char *bitpix, const char *more, size_t size)
{
    card(first);
    card(bitpix);
    card("NAXIS   =                    3");
    card("NAXIS1  =                    3");
    card("NAXIS2  =                    2 / rows");
    card("NAXIS3  =                    2");
    if (*more)
        card(more);
    card("END");
    end_block(' ');
    for (size_t k = 0; k < 12 * size; k++)
        bytes[length++] = (char)k;
    end_block(0);
}

static lm_fits_status opened(lm_fits *fits, const char *which, lm_fits_image *found)
{
    static FILE *file;
    if (file)
        fclose(file);
    file = fmemopen(bytes, length, "rb");
    CHECK(file && lm_fits_open(fits, file) == LM_FITS_OK);
    return lm_fits_find(fits, which, 3, found);
}

static void each_kind_of_number_is_read(void)
{
    lm_fits fits;
    lm_fits_image found;
    lm_read_type type;
    int32_t integers[6];
    uint16_t shorts[6];
    float floats[6];
    uint32_t dq[6];

    length = 0;
    image("SIMPLE  =                    T", "BITPIX  =                   16", "BZERO   =              32768.0", 2);
    CHECK(opened(&fits, NULL, &found) == LM_FITS_OK && lm_fits_n_planes(&found) == 2);
    CHECK(lm_fits_type(&fits, &found, &type) == LM_FITS_OK && type == LM_READ_UINT16);
    CHECK(lm_fits_read_plane(&fits, &found, 1, shorts) == LM_FITS_OK && shorts[0] == ((12 << 8 | 13) ^ 0x8000));
    CHECK(lm_fits_read_plane(&fits, &found, 2, shorts) == LM_FITS_NOT_FOUND);
    CHECK(lm_fits_read_flags(&fits, &found, 0, dq) == LM_FITS_UNSUPPORTED);

    length = 0;
    image("SIMPLE  =                    T", "BITPIX  =                   16", "", 2);
    CHECK(opened(&fits, NULL, &found) == LM_FITS_OK);
    CHECK(lm_fits_type(&fits, &found, &type) == LM_FITS_OK && type == LM_READ_INT32);
    CHECK(lm_fits_read_plane(&fits, &found, 0, integers) == LM_FITS_OK && integers[5] == (10 << 8 | 11));

    length = 0;
    image("SIMPLE  =                    T", "BITPIX  =                    8", "BLANK   =                    2", 1);
    CHECK(opened(&fits, NULL, &found) == LM_FITS_OK);
    CHECK(lm_fits_type(&fits, &found, &type) == LM_FITS_OK && type == LM_READ_FLOAT32);
    CHECK(lm_fits_read_plane(&fits, &found, 0, floats) == LM_FITS_OK && floats[1] == 1 && isnan(floats[2]));

    length = 0;
    image("SIMPLE  =                    T", "BITPIX  =                   32", "BZERO   =           2147483648", 4);
    CHECK(opened(&fits, NULL, &found) == LM_FITS_OK);
    CHECK(lm_fits_type(&fits, &found, &type) == LM_FITS_UNSUPPORTED && fits.message[0]);
    CHECK(lm_fits_read_flags(&fits, &found, 0, dq) == LM_FITS_OK && dq[0] == (0x00010203u ^ 0x80000000u));
}

static void extensions_are_found_by_name_and_number(void)
{
    lm_fits fits;
    lm_fits_image found;
    double value;
    length = 0;
    image("SIMPLE  =                    T", "BITPIX  =                    8", "TGROUP  =              1.25D1", 1);
    image("XTENSION= 'IMAGE   '", "BITPIX  =                  -32", "EXTNAME = 'SCI     '", 4);
    CHECK(opened(&fits, "SCI", &found) == LM_FITS_OK && found.number == 1 && found.bitpix == -32);
    CHECK(opened(&fits, "SCI,1", &found) == LM_FITS_OK && found.number == 1);
    CHECK(opened(&fits, "SCI,2", &found) == LM_FITS_NOT_FOUND);
    CHECK(opened(&fits, "1", &found) == LM_FITS_OK && found.number == 1);
    CHECK(opened(&fits, "7", &found) == LM_FITS_NOT_FOUND);
    CHECK(opened(&fits, NULL, &found) == LM_FITS_OK && found.number == 0);
    CHECK(lm_fits_number(&fits, &found, "TGROUP", &value) == LM_FITS_OK && value == 12.5);
    CHECK(lm_fits_number(&fits, &found, "TFRAME", &value) == LM_FITS_NOT_FOUND);
}

/* The file with one card of the image changed. */
static lm_fits_status with(const char *bitpix, const char *more)
{
    lm_fits fits;
    lm_fits_image found;
    length = 0;
    image("SIMPLE  =                    T", bitpix, more, 1);
    const lm_fits_status status = opened(&fits, NULL, &found);
    CHECK((status == LM_FITS_OK) == (fits.message[0] == 0));
    return status;
}

static void what_cannot_be_is_refused(void)
{
    const char *byte = "BITPIX  =                    8";
    CHECK(with(byte, "") == LM_FITS_OK);
    CHECK(with("BITPIX  =                    9", "") == LM_FITS_MALFORMED);
    CHECK(with("BITPIX  = 'eight'", "") == LM_FITS_MALFORMED);
    CHECK(with("COMMENT none", "") == LM_FITS_MALFORMED);
    CHECK(with(byte, "NAXIS   =                   -1") == LM_FITS_MALFORMED);
    CHECK(with(byte, "NAXIS   =                  999") == LM_FITS_UNSUPPORTED);
    CHECK(with(byte, "NAXIS   =                    4") == LM_FITS_MALFORMED); /* no NAXIS4 */
    CHECK(with(byte, "NAXIS2  = 99999999999999999999") == LM_FITS_MALFORMED);
    CHECK(with(byte, "NAXIS2  =  9223372036854775807") == LM_FITS_TRUNCATED);
    CHECK(with(byte, "NAXIS2  =                 2000") == LM_FITS_TRUNCATED);
    CHECK(with(byte, "PCOUNT  =  9223372036854775807") == LM_FITS_TRUNCATED);
    CHECK(with(byte, "GCOUNT  =  9223372036854775807") == LM_FITS_TRUNCATED);
    CHECK(with(byte, "BSCALE  =                  nan") == LM_FITS_MALFORMED);
    CHECK(with(byte, "NAXIS3  =                    0") == LM_FITS_MALFORMED); /* and what follows is no header */
}

static void a_file_that_ends_early_is_refused(void)
{
    lm_fits fits;
    lm_fits_image found;
    length = 0;
    image("SIMPLE  =                    T", "BITPIX  =                   32", "", 4);
    length = LM_FITS_BLOCK + 48; /* all data, nothing that fills the block */
    CHECK(opened(&fits, NULL, &found) == LM_FITS_OK);
    for (size_t cut = 1; cut < LM_FITS_BLOCK + 48; cut += 97) {
        length = cut;
        CHECK(opened(&fits, NULL, &found) == LM_FITS_TRUNCATED);
    }
}

int main(void)
{
    each_kind_of_number_is_read();
    extensions_are_found_by_name_and_number();
    what_cannot_be_is_refused();
    a_file_that_ends_early_is_refused();
    return 0;
}
