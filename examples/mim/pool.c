/* pool.c - a pool of threads that takes rounds of tasks. The rounds of one encode follow each other within microseconds, less
 * than it takes to wake a thread: whoever waits looks on for that long, and only then sleeps. Of every round a thread takes the
 * task with its own number first, whose rows are in its cache from the round before, and then what others have left. */
#include "pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define LOOK_FOR 50000                /* nanoseconds */

typedef struct helper {
    pool *pool;
    pthread_t thread;
    uint32_t number;
} helper;

struct pool {
    pthread_mutex_t lock;             /* for going to sleep */
    pthread_cond_t wake, done;
    helper helpers[MIM_MAX_THREADS];  /* from 1 on: the caller is 0 */
    uint32_t threads;
    mim_task task;                    /* of the round in progress: whoever has a task of it keeps it in progress */
    void *arg;
    uint64_t left;                    /* tasks that nobody has taken, a bit each */
    uint32_t unfinished;              /* tasks of the round */
    uint32_t sleepers;
    int caller_sleeps, stop;
};

/* Before it sleeps a thread first says so and then looks once more; who has work first puts it out and then looks who sleeps.
 * That needs one order that all agree on. */
#define GET(from) __atomic_load_n(&(from), __ATOMIC_SEQ_CST)
#define PUT(to, value) __atomic_store_n(&(to), value, __ATOMIC_SEQ_CST)
#define ADD(to, value) __atomic_add_fetch(&(to), value, __ATOMIC_SEQ_CST)
#define SUBTRACT(from, value) __atomic_sub_fetch(&(from), value, __ATOMIC_SEQ_CST)

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

/* Takes and runs what is left of the round. */
static void drain(pool *p, uint32_t number)
{
    uint64_t left;
    while ((left = GET(p->left)) != 0) {
        uint32_t index = left >> number & 1 ? number : (uint32_t)__builtin_ctzll(left);
        uint64_t bit = UINT64_C(1) << index;
        if (!(__atomic_fetch_and(&p->left, ~bit, __ATOMIC_SEQ_CST) & bit)) continue;
        p->task(p->arg, index);
        if (SUBTRACT(p->unfinished, 1) == 0 && GET(p->caller_sleeps)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

static void *serve(void *user)
{
    const helper *h = user;
    pool *p = h->pool;
    while (!GET(p->stop)) {
        for (int64_t end = now() + LOOK_FOR; !GET(p->left) && now() < end; ) look_away();
        if (!GET(p->left)) {
            pthread_mutex_lock(&p->lock);
            ADD(p->sleepers, 1);
            while (!GET(p->stop) && !GET(p->left)) pthread_cond_wait(&p->wake, &p->lock);
            SUBTRACT(p->sleepers, 1);
            pthread_mutex_unlock(&p->lock);
        }
        drain(p, h->number);
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
    for (p->threads = 1; p->threads < threads; p->threads++) {
        helper *h = &p->helpers[p->threads];
        h->pool = p;
        h->number = p->threads;
        if (pthread_create(&h->thread, NULL, serve, h)) {
            pool_destroy(p);
            return NULL;
        }
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
    for (uint32_t i = 1; i < p->threads; i++) pthread_join(p->helpers[i].thread, NULL);
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
    PUT(p->unfinished, count);
    PUT(p->left, ~UINT64_C(0) >> (64 - count));
    if (count > 1 && GET(p->sleepers)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
    drain(p, 0);
    for (int64_t end = now() + LOOK_FOR; GET(p->unfinished) && now() < end; ) look_away();
    if (!GET(p->unfinished)) return;
    pthread_mutex_lock(&p->lock);
    PUT(p->caller_sleeps, 1);
    while (GET(p->unfinished)) pthread_cond_wait(&p->done, &p->lock);
    PUT(p->caller_sleeps, 0);
    pthread_mutex_unlock(&p->lock);
}
