/* pool.c - a pool of threads with one mutex and two conditions.
 *
 * An encode is a hundred short rounds, and to sleep and be woken takes longer than what lies between two of them. So who waits
 * looks for a while first, with the lock free and giving the processor to whoever else wants it, and sleeps only then. */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define LOOKS 1024                    /* some tenths of a millisecond on an idle machine */

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    pthread_t threads[MIM_MAX_THREADS];
    uint32_t thread_count;            /* without the caller */
    mim_task task;                    /* the round in progress */
    void *arg;
    uint32_t count, next;             /* tasks in all; first not yet taken */
    uint32_t running;                 /* taken and not yet finished; this and what follows are also read without the lock */
    uint32_t rounds;
    int stop;
};

static uint32_t look(const uint32_t *value) { return __atomic_load_n(value, __ATOMIC_RELAXED); }
static void set(uint32_t *value, uint32_t to) { __atomic_store_n(value, to, __ATOMIC_RELAXED); }

/* Takes and runs what is left of the round. Called and returns with the lock held. */
static void drain(pool *p)
{
    while (p->next < p->count) {
        uint32_t index = p->next++;
        mim_task task = p->task;
        void *arg = p->arg;
        set(&p->running, p->running + 1);
        pthread_mutex_unlock(&p->lock);
        task(arg, index);
        pthread_mutex_lock(&p->lock);
        set(&p->running, p->running - 1);
        if (!p->running && p->next == p->count) pthread_cond_signal(&p->done);
    }
}

static void *serve(void *user)
{
    pool *p = user;
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        const uint32_t seen = p->rounds;
        drain(p);
        pthread_mutex_unlock(&p->lock);
        for (int i = 0; i < LOOKS && look(&p->rounds) == seen; i++) sched_yield();
        pthread_mutex_lock(&p->lock);
        while (!p->stop && p->rounds == seen) pthread_cond_wait(&p->wake, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

pool *pool_create(uint32_t threads)
{
    pool *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    while (p->thread_count + 1 < threads) {
        if (pthread_create(&p->threads[p->thread_count], NULL, serve, p)) {
            pool_destroy(p);
            return NULL;
        }
        p->thread_count++;
    }
    return p;
}

void pool_destroy(pool *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stop = 1;
    set(&p->rounds, p->rounds + 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->thread_count; i++) pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void pool_run(void *user, mim_task task, void *arg, uint32_t count)
{
    pool *p = user;
    pthread_mutex_lock(&p->lock);
    p->task = task;
    p->arg = arg;
    p->next = 0;
    p->count = count;
    set(&p->rounds, p->rounds + 1);
    if (count > 1) pthread_cond_broadcast(&p->wake);
    drain(p);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < LOOKS && look(&p->running); i++) sched_yield();
    pthread_mutex_lock(&p->lock);
    while (p->running) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
