/* pool.h - threads that wait for work, for mim_session_desc.parallel and for encoding several images at once. */
#ifndef POOL_H
#define POOL_H

#include "../../mim.h"

typedef struct pool pool;

/* threads: 1..MIM_MAX_THREADS, the caller of pool_run being one of them. NULL if they cannot be had. */
pool *pool_create(uint32_t threads);
void  pool_destroy(pool *p);          /* p may be NULL */

/* mim_session_desc.parallel, with the pool as its user: runs task(arg, 0..count-1) and returns when all are done. */
void  pool_run(void *p, mim_task task, void *arg, uint32_t count);

#endif
