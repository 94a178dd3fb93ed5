/* A careful reader of FITS images; see lightmill/fits.h. */
#define _POSIX_C_SOURCE 200809L /* fseeko */
#include "lightmill/fits.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER_BLOCKS = 4096 };

static lm_fits_status fail(lm_fits *fits, lm_fits_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static lm_fits_status fail(lm_fits *fits, lm_fits_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fits->message, sizeof fits->message, format, arguments);
    va_end(arguments);
    return status;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static lm_fits_status read_at(lm_fits *fits, uint64_t at, void *bytes, size_t count)
{
    if (at > fits->size || count > fits->size - at)
        return fail(fits, LM_FITS_TRUNCATED, "the file ends at byte %llu, before byte %llu",
                    (unsigned long long)fits->size, (unsigned long long)at + count);
    errno = 0;
    if (fseeko(fits->file, (off_t)at, SEEK_SET) || fread(bytes, 1, count, fits->file) != count)
        return fail(fits, LM_FITS_SYSTEM, "cannot read at byte %llu: %s", (unsigned long long)at,
                    errno ? strerror(errno) : "the file has become shorter");
    return LM_FITS_OK;
}

lm_fits_status lm_fits_open(lm_fits *fits, FILE *file)
{
    *fits = (lm_fits){.file = file};
    if (fseeko(file, 0, SEEK_END))
        return fail(fits, LM_FITS_SYSTEM, "not a file that can be read twice: %s", strerror(errno));
    const off_t end = ftello(file);
    if (end < 0)
        return fail(fits, LM_FITS_SYSTEM, "its length is not known: %s", strerror(errno));
    fits->size = (uint64_t)end;
    return LM_FITS_OK;
}

/* ---- cards ----------------------------------------------------------------------------------- */

static int is_keyword(const char *card, const char *keyword)
{
    const size_t length = strlen(keyword);
    if (length > 8 || memcmp(card, keyword, length))
        return 0;
    for (size_t k = length; k < 8; k++)
        if (card[k] != ' ')
            return 0;
    return 1;
}

static int has_value(const char *card) { return card[8] == '=' && card[9] == ' '; }

/* The value as text up to the comment, without blanks around it; a D of an exponent becomes an E. */
static void value_text(const char *card, char text[LM_FITS_CARD])
{
    size_t n = 0;
    for (size_t k = 10; k < LM_FITS_CARD && card[k] && card[k] != '/'; k++)
        if (card[k] != ' ' || n)
            text[n++] = card[k];
    while (n && text[n - 1] == ' ')
        n--;
    text[n] = 0;
    for (size_t k = 0; k < n; k++)
        if (text[k] == 'D' || text[k] == 'd')
            text[k] = 'E';
}

static int parse_number(const char *card, double *value)
{
    char text[LM_FITS_CARD], *end;
    if (!has_value(card))
        return 0;
    value_text(card, text);
    if (!text[0] || strspn(text, "+-.0123456789E") != strlen(text))
        return 0;
    *value = strtod(text, &end);
    return !*end && isfinite(*value);
}

static int parse_integer(const char *card, long long *value)
{
    char text[LM_FITS_CARD], *end;
    if (!has_value(card))
        return 0;
    value_text(card, text);
    if (!text[0] || strspn(text, "+-0123456789") != strlen(text))
        return 0;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return !*end && !errno;
}

/* What stands between quotes, without blanks at its end. */
static int parse_string(const char *card, char text[70])
{
    size_t n = 0, k = 10;
    if (!has_value(card))
        return 0;
    while (k < LM_FITS_CARD && card[k] == ' ')
        k++;
    if (k == LM_FITS_CARD || card[k] != '\'')
        return 0;
    for (k++; k < LM_FITS_CARD && n < 69; k++) {
        if (card[k] == '\'' && (k + 1 == LM_FITS_CARD || card[k + 1] != '\''))
            break;
        if (card[k] == '\'')
            k++; /* two are one */
        text[n++] = card[k];
    }
    while (n && text[n - 1] == ' ')
        n--;
    text[n] = 0;
    return k < LM_FITS_CARD;
}

lm_fits_status lm_fits_card(lm_fits *fits, const lm_fits_image *image, size_t card, char text[LM_FITS_CARD + 1])
{
    const uint64_t at = image->header_at + (uint64_t)card * LM_FITS_CARD;
    if (card > (size_t)MAX_HEADER_BLOCKS * 36 || at >= image->data_at)
        return fail(fits, LM_FITS_NOT_FOUND, "the header has no card %zu", card);
    text[LM_FITS_CARD] = 0;
    lm_fits_status status = read_at(fits, at, text, LM_FITS_CARD);
    if (!status && is_keyword(text, "END"))
        return fail(fits, LM_FITS_NOT_FOUND, "the header has no card %zu", card);
    return status;
}

lm_fits_status lm_fits_number(lm_fits *fits, const lm_fits_image *image, const char *keyword, double *value)
{
    char card[LM_FITS_CARD + 1];
    for (size_t k = 0;; k++) {
        if (lm_fits_card(fits, image, k, card))
            return fail(fits, LM_FITS_NOT_FOUND, "HDU %zu has no keyword %s", image->number, keyword);
        if (!is_keyword(card, keyword))
            continue;
        if (!parse_number(card, value))
            return fail(fits, LM_FITS_MALFORMED, "HDU %zu: %s is not a number: '%.40s'", image->number, keyword, card);
        return LM_FITS_OK;
    }
}

/* ---- headers --------------------------------------------------------------------------------- */

/* What is needed to know how large an HDU is. */
typedef struct {
    long long bitpix, n_axes, axes[LM_FITS_MAX_AXES], parameters, groups;
    unsigned known_axes;
    int knows_bitpix, knows_axes, has_groups, is_compressed;
} sizes;

static lm_fits_status bad_card(lm_fits *fits, const lm_fits_image *image, const char *card)
{
    char shown[41];
    for (size_t k = 0; k < 40; k++)
        shown[k] = card[k] >= ' ' && card[k] <= '~' ? card[k] : '?';
    shown[40] = 0;
    return fail(fits, LM_FITS_MALFORMED, "HDU %zu has a card that cannot be understood: '%s'", image->number, shown);
}

static lm_fits_status read_axis(lm_fits *fits, const lm_fits_image *image, sizes *s, const char *card)
{
    const char digit = card[5];
    if (digit < '1' || digit > '9' || card[6] != ' ' || card[7] != ' ')
        return LM_FITS_OK; /* NAXIS10 and beyond: there are no such images here */
    const int axis = digit - '1';
    if (!parse_integer(card, &s->axes[axis]) || s->axes[axis] < 0)
        return bad_card(fits, image, card);
    s->known_axes |= 1u << axis;
    return LM_FITS_OK;
}

/* Whether the card is an integer keyword of that name: -1 if it is, but is no integer. */
static int take_integer(const char *card, const char *keyword, long long *value)
{
    if (!is_keyword(card, keyword))
        return 0;
    return parse_integer(card, value) ? 1 : -1;
}

static int take_number(const char *card, const char *keyword, double *value)
{
    if (!is_keyword(card, keyword))
        return 0;
    return parse_number(card, value) ? 1 : -1;
}

static lm_fits_status take_card(lm_fits *fits, lm_fits_image *image, sizes *s, const char *card)
{
    long long version = 0, blank = 0;
    int found, is_bad = 0;
    if (!memcmp(card, "NAXIS", 5) && card[5] != ' ')
        return read_axis(fits, image, s, card);
    if ((found = take_integer(card, "BITPIX", &s->bitpix)))
        s->knows_bitpix = 1, is_bad = found < 0;
    else if ((found = take_integer(card, "NAXIS", &s->n_axes)))
        s->knows_axes = 1, is_bad = found < 0;
    else if ((found = take_integer(card, "PCOUNT", &s->parameters)))
        is_bad = found < 0 || s->parameters < 0;
    else if ((found = take_integer(card, "GCOUNT", &s->groups)))
        is_bad = found < 0 || s->groups < 0;
    else if ((found = take_number(card, "BSCALE", &image->scale)))
        is_bad = found < 0;
    else if ((found = take_number(card, "BZERO", &image->zero)))
        is_bad = found < 0;
    else if ((found = take_integer(card, "BLANK", &blank))) {
        is_bad = found < 0 || blank < INT32_MIN || blank > INT32_MAX;
        image->has_blank = 1;
        image->blank = (int32_t)blank;
    } else if ((found = take_integer(card, "EXTVER", &version)))
        image->version = found > 0 && version >= 0 && version < 1000000 ? (long)version : 0;
    else if (is_keyword(card, "EXTNAME"))
        is_bad = !parse_string(card, image->name);
    else if (is_keyword(card, "GROUPS"))
        s->has_groups = 1;
    else if (is_keyword(card, "ZIMAGE"))
        s->is_compressed = 1;
    return is_bad ? bad_card(fits, image, card) : LM_FITS_OK;
}

/* Length of the data in bytes, with no product that could wrap. */
static lm_fits_status data_size(lm_fits *fits, lm_fits_image *image, const sizes *s, uint64_t *size)
{
    static const int known[] = {8, 16, 32, 64, -32, -64};
    int is_known = 0;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        is_known |= s->bitpix == known[k];
    if (!s->knows_bitpix || !s->knows_axes || !is_known || s->n_axes < 0)
        return fail(fits, LM_FITS_MALFORMED, "HDU %zu lacks a valid BITPIX or NAXIS", image->number);
    if (s->n_axes > LM_FITS_MAX_AXES)
        return fail(fits, LM_FITS_UNSUPPORTED, "HDU %zu has %lld axes, more than 9", image->number, s->n_axes);
    if (s->has_groups && s->n_axes && !s->axes[0])
        return fail(fits, LM_FITS_UNSUPPORTED, "HDU %zu holds random groups", image->number);
    image->bitpix = (int)s->bitpix;
    image->n_axes = (size_t)s->n_axes;
    uint64_t elements = s->n_axes > 0;
    for (size_t k = 0; k < image->n_axes; k++) {
        if (!(s->known_axes & (1u << k)))
            return fail(fits, LM_FITS_MALFORMED, "HDU %zu lacks NAXIS%zu", image->number, k + 1);
        const uint64_t axis = (uint64_t)s->axes[k];
        if (axis && elements > fits->size / axis)
            return fail(fits, LM_FITS_TRUNCATED, "HDU %zu claims more data than the file has (%llu bytes)",
                        image->number, (unsigned long long)fits->size);
        image->axes[k] = (size_t)axis;
        elements *= axis;
    }
    const uint64_t bytes = (uint64_t)(abs(image->bitpix) / 8), groups = (uint64_t)s->groups;
    if ((uint64_t)s->parameters > fits->size || (groups && elements + (uint64_t)s->parameters > fits->size / groups / bytes))
        return fail(fits, LM_FITS_TRUNCATED, "HDU %zu claims more data than the file has (%llu bytes)", image->number,
                    (unsigned long long)fits->size);
    *size = bytes * groups * (elements + (uint64_t)s->parameters);
    return LM_FITS_OK;
}

/* Is this the first card of an HDU? The answer goes to `image->is_image`. */
static lm_fits_status take_first(lm_fits *fits, lm_fits_image *image, const char *card)
{
    char kind[70] = "";
    if (!image->number && is_keyword(card, "SIMPLE") && has_value(card)) {
        image->is_image = 1;
        return LM_FITS_OK;
    }
    if (image->number && is_keyword(card, "XTENSION") && parse_string(card, kind)) {
        image->is_image = !strcmp(kind, "IMAGE");
        return LM_FITS_OK;
    }
    return image->number ? bad_card(fits, image, card)
                         : fail(fits, LM_FITS_MALFORMED, "not a FITS file: it does not begin with SIMPLE");
}

static lm_fits_status read_header(lm_fits *fits, lm_fits_image *image, sizes *s)
{
    char block[LM_FITS_BLOCK];
    for (size_t number = 0; number < MAX_HEADER_BLOCKS; number++) {
        const uint64_t at = image->header_at + (uint64_t)number * LM_FITS_BLOCK;
        lm_fits_status status = read_at(fits, at, block, sizeof block);
        for (size_t k = 0; !status && k < LM_FITS_BLOCK / LM_FITS_CARD; k++) {
            const char *card = block + k * LM_FITS_CARD;
            if (is_keyword(card, "END")) {
                image->data_at = at + LM_FITS_BLOCK;
                return LM_FITS_OK;
            }
            status = number || k ? take_card(fits, image, s, card) : take_first(fits, image, card);
        }
        if (status)
            return status;
    }
    return fail(fits, LM_FITS_UNSUPPORTED, "HDU %zu has a header of more than %d blocks", image->number,
                MAX_HEADER_BLOCKS);
}

lm_fits_status lm_fits_next(lm_fits *fits, lm_fits_image *image)
{
    const int is_first = image->next_at == 0;
    const lm_fits_image before = *image;
    uint64_t size = 0;
    sizes s = {.groups = 1};
    *image = (lm_fits_image){.number = is_first ? 0 : before.number + 1, .version = 1, .scale = 1,
                             .header_at = before.next_at};
    if (!is_first && (image->header_at >= fits->size || fits->size - image->header_at < LM_FITS_BLOCK))
        return fail(fits, LM_FITS_NOT_FOUND, "the file has %zu HDUs", image->number);
    lm_fits_status status = read_header(fits, image, &s);
    if (!status)
        status = data_size(fits, image, &s, &size);
    if (status)
        return status;
    if (size > fits->size - image->data_at)
        return fail(fits, LM_FITS_TRUNCATED, "HDU %zu needs %llu bytes of data, and %llu are left", image->number,
                    (unsigned long long)size, (unsigned long long)(fits->size - image->data_at));
    image->is_image &= !s.is_compressed;
    image->next_at = image->data_at + (size + LM_FITS_BLOCK - 1) / LM_FITS_BLOCK * LM_FITS_BLOCK;
    return LM_FITS_OK;
}

/* ---- images ---------------------------------------------------------------------------------- */

static int is_wanted(const lm_fits_image *image, const char *which, size_t min_axes)
{
    char *end;
    if (!which)
        return image->is_image && image->n_axes >= min_axes && lm_fits_n_planes(image);
    const unsigned long number = strtoul(which, &end, 10);
    if (*which >= '0' && *which <= '9' && !*end)
        return number == image->number;
    const char *comma = strchr(which, ',');
    const size_t length = comma ? (size_t)(comma - which) : strlen(which);
    if (strlen(image->name) != length || memcmp(image->name, which, length))
        return 0;
    return !comma || strtol(comma + 1, NULL, 10) == image->version;
}

lm_fits_status lm_fits_find(lm_fits *fits, const char *which, size_t min_axes, lm_fits_image *image)
{
    *image = (lm_fits_image){0};
    for (;;) {
        const lm_fits_status status = lm_fits_next(fits, image);
        if (status == LM_FITS_NOT_FOUND && which)
            return fail(fits, status, "there is no extension '%.60s'", which);
        if (status == LM_FITS_NOT_FOUND)
            return fail(fits, status, "there is no image of %zu axes or more", min_axes);
        if (status)
            return status;
        if (!is_wanted(image, which, min_axes))
            continue;
        if (!image->is_image)
            return fail(fits, LM_FITS_UNSUPPORTED, "HDU %zu is not an uncompressed image", image->number);
        if (image->n_axes < min_axes || !lm_fits_n_planes(image))
            return fail(fits, LM_FITS_UNSUPPORTED, "HDU %zu has %zu axes with data, not %zu", image->number,
                        lm_fits_n_planes(image) ? image->n_axes : 0, min_axes);
        return LM_FITS_OK;
    }
}

size_t lm_fits_plane_pixels(const lm_fits_image *image)
{
    return image->n_axes < 2 ? 0 : image->axes[0] * image->axes[1];
}

size_t lm_fits_n_planes(const lm_fits_image *image)
{
    size_t n = lm_fits_plane_pixels(image) > 0;
    for (size_t k = 2; k < image->n_axes; k++)
        n *= image->axes[k];
    return n;
}

lm_fits_status lm_fits_type(lm_fits *fits, const lm_fits_image *image, lm_read_type *type)
{
    const int is_scaled = image->scale != 1 || image->zero != 0;
    if (image->bitpix == -32 && !is_scaled)
        *type = LM_READ_FLOAT32;
    else if (image->bitpix == 16 && image->scale == 1 && image->zero == 32768 && !image->has_blank)
        *type = LM_READ_UINT16;
    else if ((image->bitpix == 8 || image->bitpix == 16 || image->bitpix == 32) && !is_scaled && !image->has_blank)
        *type = LM_READ_INT32;
    else if (image->bitpix == 8 || image->bitpix == 16 || image->bitpix == -32)
        *type = LM_READ_FLOAT32;
    else
        return fail(fits, LM_FITS_UNSUPPORTED, "HDU %zu: BITPIX %d with BSCALE %g and BZERO %g is not read",
                    image->number, image->bitpix, image->scale, image->zero);
    return LM_FITS_OK;
}

static uint32_t word_at(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The integer at `from`, whose bytes may be those to which it will be written. */
static int32_t integer_at(const unsigned char *from, int bitpix)
{
    if (bitpix == 8)
        return *from;
    if (bitpix == 16)
        return (int16_t)(uint16_t)(from[0] << 8 | from[1]);
    return (int32_t)word_at(from);
}

static float scaled(const lm_fits_image *image, const unsigned char *from)
{
    if (image->bitpix == -32) {
        const uint32_t word = word_at(from);
        float value;
        memcpy(&value, &word, sizeof value);
        return (float)(image->zero + image->scale * (double)value);
    }
    const int32_t raw = integer_at(from, image->bitpix);
    return image->has_blank && raw == image->blank ? NAN : (float)(image->zero + image->scale * (double)raw);
}

/* Read a plane of narrower or equal elements to the end of `values`, from where they can be widened forwards:
 * element k is read before, or as, its place is written. */
static lm_fits_status read_narrow(lm_fits *fits, const lm_fits_image *image, size_t plane, void *values, size_t width,
                                  const unsigned char **from)
{
    const size_t pixels = lm_fits_plane_pixels(image), size = (size_t)abs(image->bitpix) / 8;
    if (plane >= lm_fits_n_planes(image))
        return fail(fits, LM_FITS_NOT_FOUND, "HDU %zu has %zu planes", image->number, lm_fits_n_planes(image));
    unsigned char *to = (unsigned char *)values + pixels * (width - size);
    *from = to;
    return read_at(fits, image->data_at + (uint64_t)plane * pixels * size, to, pixels * size);
}

lm_fits_status lm_fits_read_plane(lm_fits *fits, const lm_fits_image *image, size_t plane, void *values)
{
    lm_read_type type = LM_READ_INT32;
    const unsigned char *from = NULL;
    lm_fits_status status = lm_fits_type(fits, image, &type);
    if (!status)
        status = read_narrow(fits, image, plane, values, type == LM_READ_UINT16 ? 2 : 4, &from);
    if (status)
        return status;
    const size_t pixels = lm_fits_plane_pixels(image), size = (size_t)abs(image->bitpix) / 8;
    for (size_t k = 0; k < pixels; k++, from += size) {
        if (type == LM_READ_UINT16) {
            ((uint16_t *)values)[k] = (uint16_t)((from[0] << 8 | from[1]) ^ 0x8000);
        } else if (type == LM_READ_INT32) {
            ((int32_t *)values)[k] = integer_at(from, image->bitpix);
        } else {
            ((float *)values)[k] = scaled(image, from);
        }
    }
    return LM_FITS_OK;
}

lm_fits_status lm_fits_read_flags(lm_fits *fits, const lm_fits_image *image, size_t plane, uint32_t *flags)
{
    const unsigned char *from = NULL;
    const int is_unsigned = image->bitpix == 32 && image->zero == 2147483648.0;
    if ((image->bitpix != 8 && image->bitpix != 32) || image->scale != 1 || (image->zero != 0 && !is_unsigned))
        return fail(fits, LM_FITS_UNSUPPORTED, "HDU %zu: BITPIX %d with BZERO %g is no table of flags", image->number,
                    image->bitpix, image->zero);
    lm_fits_status status = read_narrow(fits, image, plane, flags, sizeof *flags, &from);
    const size_t pixels = lm_fits_plane_pixels(image), size = (size_t)image->bitpix / 8;
    for (size_t k = 0; !status && k < pixels; k++, from += size)
        flags[k] = (uint32_t)integer_at(from, image->bitpix) ^ (is_unsigned ? 0x80000000u : 0);
    return status;
}
