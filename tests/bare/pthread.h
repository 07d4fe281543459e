/* For machines without threads: each runs when it is made. */
#ifndef BARE_PTHREAD_H
#define BARE_PTHREAD_H

typedef int bare_thread;
#define pthread_t bare_thread

static inline int pthread_create(pthread_t *thread, const void *how, void *(*run)(void *), void *arg)
{
    (void)how;
    *thread = 0;
    run(arg);
    return 0;
}

static inline int pthread_join(pthread_t thread, void **result)
{
    (void)thread;
    (void)result;
    return 0;
}

#endif
