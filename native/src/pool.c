#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct {
    lm_pool *pool;
    size_t number;
    pthread_t thread;
} helper;

struct lm_pool {
    pthread_mutex_t lock;
    pthread_cond_t begin, done;
    size_t round, n_busy, n_helpers;
    int is_closing;
    lm_work work;
    void *context;
    size_t n_parts;
    atomic_size_t next;
    helper helpers[];
};

static void take_parts(lm_pool *pool, size_t thread)
{
    for (;;) {
        const size_t part = atomic_fetch_add(&pool->next, 1);
        if (part >= pool->n_parts)
            return;
        pool->work(pool->context, part, thread);
    }
}

static void *help(void *argument)
{
    helper *self = argument;
    lm_pool *pool = self->pool;
    size_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->round == seen && !pool->is_closing)
            pthread_cond_wait(&pool->begin, &pool->lock);
        if (pool->is_closing)
            break;
        seen = pool->round;
        pthread_mutex_unlock(&pool->lock);
        take_parts(pool, self->number);
        pthread_mutex_lock(&pool->lock);
        if (--pool->n_busy == 0)
            pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

lm_status lm_pool_open(lm_pool **pool, size_t n_threads)
{
    const size_t n_helpers = n_threads - 1;
    lm_pool *p = calloc(1, sizeof *p + n_helpers * sizeof *p->helpers);
    *pool = NULL;
    if (!p)
        return LM_NO_MEMORY;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->begin, NULL);
    pthread_cond_init(&p->done, NULL);
    for (size_t k = 0; k < n_helpers; k++) {
        helper *h = &p->helpers[k];
        *h = (helper){.pool = p, .number = k + 1};
        if (pthread_create(&h->thread, NULL, help, h)) {
            lm_pool_close(p);
            return LM_NO_MEMORY;
        }
        p->n_helpers++;
    }
    *pool = p;
    return LM_OK;
}

void lm_pool_run(lm_pool *pool, lm_work work, void *context, size_t n_parts)
{
    pool->work = work;
    pool->context = context;
    pool->n_parts = n_parts;
    atomic_store(&pool->next, 0);
    const int is_shared = pool->n_helpers > 0 && n_parts > 1;
    if (is_shared) {
        pthread_mutex_lock(&pool->lock);
        pool->round++;
        pool->n_busy = pool->n_helpers;
        pthread_cond_broadcast(&pool->begin);
        pthread_mutex_unlock(&pool->lock);
    }
    take_parts(pool, 0);
    if (is_shared) {
        pthread_mutex_lock(&pool->lock);
        while (pool->n_busy)
            pthread_cond_wait(&pool->done, &pool->lock);
        pthread_mutex_unlock(&pool->lock);
    }
}

void lm_pool_close(lm_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->is_closing = 1;
    pthread_cond_broadcast(&pool->begin);
    pthread_mutex_unlock(&pool->lock);
    for (size_t k = 0; k < pool->n_helpers; k++)
        pthread_join(pool->helpers[k].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->begin);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
