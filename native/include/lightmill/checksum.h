/* native/include/lightmill/checksum.h: whether bytes came as they were sent. */
#ifndef LIGHTMILL_CHECKSUM_H
#define LIGHTMILL_CHECKSUM_H
#include "core.h"

/* CRC-32 of ISO 3309, as zlib's crc32(): of `count` bytes that follow those whose sum is `*crc` (0 for none).
 * Where the processor multiplies without carries, many bytes a cycle; elsewhere byte by byte. */
LM_API lm_status lm_crc32(const void *bytes, size_t count, uint32_t *crc);

/* Whether this processor is one of the fast ones. */
LM_API int lm_crc32_is_fast(void);

#endif
