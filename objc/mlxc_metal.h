/* The whole of Metal that mlxc sees: plain C over opaque handles.
 *
 * `mlxc_metal.m` implements it where there is Metal, `no_metal.c` elsewhere (every call answers
 * that there is none). Rules:
 *   - a handle is owned by whoever got it and given up by `mlxc_metal_release`; NULL is failure;
 *   - `error`, where it stands, is last and holds MLXC_METAL_ERROR bytes; it receives a sentence;
 *   - every function may be called from any thread; one encoder belongs to one thread at a time.
 */
#ifndef MLXC_METAL_H
#define MLXC_METAL_H

#include <stddef.h>
#include <stdint.h>

#define MLXC_METAL_VERSION 1  /* of this interface; a library of another version is refused */
#define MLXC_METAL_ERROR 4096 /* bytes of an error text */

typedef void *mlxc_metal_handle;

typedef struct {
    char name[256];
    char architecture[256];
    uint64_t memory;             /* bytes of physical memory */
    uint64_t recommended;        /* bytes that the device should be asked to hold at once */
    uint64_t max_buffer;         /* bytes of the largest buffer */
    uint64_t threadgroup_memory; /* bytes a threadgroup */
    uint64_t simd_width;         /* threads a simdgroup */
    uint64_t max_threads;        /* threads a threadgroup */
    uint64_t page;               /* bytes: what wrapped memory must be aligned to */
    int unified;                 /* whether processor and device share memory */
} mlxc_metal_info;

/* A function constant: `type` is a MTLDataType (bool 53, int 29, uint 33, float 3). */
typedef struct {
    uint32_t index;
    uint32_t type;
    uint64_t bits;
} mlxc_metal_constant;

/* Devices */
int mlxc_metal_version(void);
int mlxc_metal_device_count(void);
mlxc_metal_handle mlxc_metal_device(int index, char *error);
int mlxc_metal_device_info(mlxc_metal_handle device, mlxc_metal_info *info);
uint64_t mlxc_metal_allocated(mlxc_metal_handle device); /* bytes held by the device's buffers */

/* Buffers, in storage shared by processor and device */
mlxc_metal_handle mlxc_metal_buffer(mlxc_metal_handle device, size_t nbytes, char *error);
mlxc_metal_handle mlxc_metal_wrap(mlxc_metal_handle device, void *pages, size_t nbytes,
                                  char *error); /* both multiples of info.page; not owned */
void *mlxc_metal_contents(mlxc_metal_handle buffer);
size_t mlxc_metal_length(mlxc_metal_handle buffer);

/* Programs of the device. `fast_math` 0 keeps NaN, infinities and the order of operations. */
mlxc_metal_handle mlxc_metal_library(mlxc_metal_handle device, const char *source, int fast_math,
                                     char *error);
mlxc_metal_handle mlxc_metal_pipeline(mlxc_metal_handle device, mlxc_metal_handle library,
                                      const char *function, const mlxc_metal_constant *constants,
                                      int count, mlxc_metal_handle archive, char *error);
size_t mlxc_metal_max_threads(mlxc_metal_handle pipeline);
size_t mlxc_metal_simd_width(mlxc_metal_handle pipeline);

/* The cache of compiled pipelines in a file; one that does not open is begun anew. */
mlxc_metal_handle mlxc_metal_archive(mlxc_metal_handle device, const char *path, char *error);
int mlxc_metal_archive_save(mlxc_metal_handle archive, const char *path, char *error);

/* Work: queue -> command buffer -> encoder. Within an encoder dispatches run one after another
 * (each sees what the former ones wrote). */
mlxc_metal_handle mlxc_metal_queue(mlxc_metal_handle device, char *error);
mlxc_metal_handle mlxc_metal_begin(mlxc_metal_handle queue, char *error);
mlxc_metal_handle mlxc_metal_encoder(mlxc_metal_handle commands, char *error);
void mlxc_metal_set_pipeline(mlxc_metal_handle encoder, mlxc_metal_handle pipeline);
void mlxc_metal_set_buffer(mlxc_metal_handle encoder, mlxc_metal_handle buffer, size_t offset,
                           int index);
void mlxc_metal_set_bytes(mlxc_metal_handle encoder, const void *bytes, size_t nbytes, int index);
void mlxc_metal_set_threadgroup_memory(mlxc_metal_handle encoder, size_t nbytes, int index);
void mlxc_metal_dispatch_threads(mlxc_metal_handle encoder, const size_t grid[3],
                                 const size_t group[3]);
void mlxc_metal_dispatch_groups(mlxc_metal_handle encoder, const size_t groups[3],
                                const size_t group[3]);
void mlxc_metal_end(mlxc_metal_handle encoder);
/* `done`, if not NULL, is called once from a thread of the device when the work has ended. */
void mlxc_metal_commit(mlxc_metal_handle commands, void (*done)(void *), void *argument);
/* Waits for the end; 0, or 1 with the text of what failed or faulted. */
int mlxc_metal_wait(mlxc_metal_handle commands, char *error);
int mlxc_metal_finished(mlxc_metal_handle commands);
double mlxc_metal_gpu_seconds(mlxc_metal_handle commands); /* of ended work; 0 where unknown */

/* A recording of the device's work for Xcode */
int mlxc_metal_capture_start(mlxc_metal_handle device, const char *path, char *error);
void mlxc_metal_capture_stop(void);

void mlxc_metal_release(mlxc_metal_handle handle);

#endif
