/* threads.h - a thread for every task: the parallel callback of the tests. Include after mim.h. */
#ifndef THREADS_H
#define THREADS_H

#include <pthread.h>

typedef struct call {
    mim_task task;
    void *arg;
    uint32_t index;
} call;

static void *call_run(void *p)
{
    call *c = (call *)p;
    c->task(c->arg, c->index);
    return NULL;
}

static void threads(void *user, mim_task task, void *arg, uint32_t count)
{
    pthread_t thread[MIM_MAX_THREADS];
    call calls[MIM_MAX_THREADS];
    uint32_t i;
    (void)user;
    for (i = 0; i < count; i++) {
        calls[i].task = task;
        calls[i].arg = arg;
        calls[i].index = i;
        pthread_create(&thread[i], NULL, call_run, &calls[i]);
    }
    for (i = 0; i < count; i++)
        pthread_join(thread[i], NULL);
}

#endif
