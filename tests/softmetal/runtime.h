/* What stands between Metal's objects (softmetal.m) and what runs kernels (runtime.cc, cuda.cc).
 *
 * Rules: plain C; functions that can fail answer NULL or 1 and leave a sentence in `error`, which
 * holds SM_ERROR bytes.
 */
#ifndef SOFTMETAL_RUNTIME_H
#define SOFTMETAL_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SM_ERROR = 4096,
    SM_BUFFERS = 31,               /* a kernel */
    SM_BYTES = 4096,               /* an argument by value */
    SM_THREADS = 1024,             /* a threadgroup */
    SM_THREADGROUP_MEMORY = 32768, /* bytes a threadgroup */
    SM_CONSTANTS = 256
};

/* The function constants of a kernel; `types` are MTLDataTypes, 0 where none is given. */
typedef struct {
    uint64_t bits[SM_CONSTANTS];
    unsigned char types[SM_CONSTANTS];
} sm_constants;

/* One kernel over a grid. A buffer that is not bound has no pointer. */
typedef struct {
    const void *kernel;
    void *buffers[SM_BUFFERS];    /* where the binding begins */
    uint64_t lengths[SM_BUFFERS]; /* from there to the end */
    void *owners[SM_BUFFERS];     /* what sm_device.allocate gave; NULL for bytes */
    uint64_t threadgroup[SM_BUFFERS];
    uint64_t grid[3], group[3]; /* threads */
} sm_dispatch;

typedef struct {
    const char *name;
    void *(*allocate)(size_t nbytes, char *error); /* filled with 0xff */
    void *(*wrap)(void *pages, size_t nbytes, char *error);
    void (*release)(void *memory);
    void *(*contents)(void *memory);
    /* A library: translated, compiled, kept in the cache. */
    void *(*compile)(const char *source, int fast_math, char *error);
    /* A kernel of it, or NULL; `constants` may be NULL. Lives as long as the process. */
    const void *(*kernel)(void *library, const char *name, const sm_constants *constants,
                          char *error);
    int (*max_threads)(const void *kernel);
    /* Runs dispatches in order; stops at the first that fails. */
    int (*run)(const sm_dispatch *dispatches, size_t count, double *seconds, char *error);
} sm_device;

const sm_device *sm_processor(void);
const sm_device *sm_cuda(void); /* NULL without a device of NVIDIA's */

/* The file that mslc.py makes of a source: a shared library, or a cubin; 1 with its messages. */
int sm_compile(const char *source, const char *mode, const char *defines, char *path, size_t size,
               char *error);
const char *sm_folder(void); /* where this library stands, and its tools beside it */

#ifdef __cplusplus
}
#endif

#endif
