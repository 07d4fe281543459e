/* pool.c - a pool of threads that takes rounds of tasks. The rounds of one encode follow each other within microseconds, less
 * than it takes to wake a thread: whoever waits looks on for that long, and only then sleeps. */
#include "pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define LOOK_FOR 50000                /* nanoseconds */

struct pool {
    pthread_mutex_t lock;             /* for going to sleep */
    pthread_cond_t wake, done;
    pthread_t threads[MIM_MAX_THREADS];
    uint32_t thread_count;            /* without the caller */
    mim_task task;                    /* of the round in progress: whoever has a task of it keeps it in progress */
    void *arg;
    uint64_t left;                    /* round, tasks in it, tasks taken: 32, 16 and 16 bits */
    uint32_t finished;                /* tasks of the round */
    uint32_t sleepers;
    int caller_sleeps, stop;
};

/* Before it sleeps a thread first says so and then looks once more; who has work first puts it out and then looks who sleeps.
 * That needs one order that all agree on. */
#define GET(from) __atomic_load_n(&(from), __ATOMIC_SEQ_CST)
#define PUT(to, value) __atomic_store_n(&(to), value, __ATOMIC_SEQ_CST)
#define ADD(to, value) __atomic_add_fetch(&(to), value, __ATOMIC_SEQ_CST)

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void look_away(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int any_left(uint64_t left) { return (left & 0xffff) < (left >> 16 & 0xffff); }

/* Takes and runs what is left of the round. */
static void drain(pool *p)
{
    uint64_t left = GET(p->left);
    while (any_left(left)) {
        if (!__atomic_compare_exchange_n(&p->left, &left, left + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) continue;
        p->task(p->arg, (uint32_t)(left & 0xffff));
        if (ADD(p->finished, 1) == (left >> 16 & 0xffff) && GET(p->caller_sleeps)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
        left = GET(p->left);
    }
}

static void *serve(void *user)
{
    pool *p = user;
    while (!GET(p->stop)) {
        for (int64_t end = now() + LOOK_FOR; !any_left(GET(p->left)) && now() < end; ) look_away();
        if (!any_left(GET(p->left))) {
            pthread_mutex_lock(&p->lock);
            ADD(p->sleepers, 1);
            while (!GET(p->stop) && !any_left(GET(p->left))) pthread_cond_wait(&p->wake, &p->lock);
            __atomic_sub_fetch(&p->sleepers, 1, __ATOMIC_SEQ_CST);
            pthread_mutex_unlock(&p->lock);
        }
        drain(p);
    }
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
    PUT(p->stop, 1);
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
    p->task = task;
    p->arg = arg;
    PUT(p->finished, 0);
    PUT(p->left, ((GET(p->left) >> 32) + 1) << 32 | (uint64_t)count << 16);
    if (count > 1 && GET(p->sleepers)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
    drain(p);
    for (int64_t end = now() + LOOK_FOR; GET(p->finished) < count && now() < end; ) look_away();
    if (GET(p->finished) == count) return;
    pthread_mutex_lock(&p->lock);
    PUT(p->caller_sleeps, 1);
    while (GET(p->finished) < count) pthread_cond_wait(&p->done, &p->lock);
    PUT(p->caller_sleeps, 0);
    pthread_mutex_unlock(&p->lock);
}
