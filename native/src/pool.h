/* A few threads that wait for work: begun once, so that nothing is allocated while reads come in. */
#ifndef LM_POOL_H
#define LM_POOL_H
#include <stddef.h>

#include "lightmill/core.h"

typedef struct lm_pool lm_pool;

/* Called with numbers 0 ... n_parts - 1, each once, by whichever of the n_threads is free. */
typedef void (*lm_work)(void *context, size_t part, size_t thread);

lm_status lm_pool_open(lm_pool **pool, size_t n_threads);
void lm_pool_run(lm_pool *pool, lm_work work, void *context, size_t n_parts); /* returns when all is done */
void lm_pool_close(lm_pool *pool);

#endif
