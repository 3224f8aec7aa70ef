/* The functions of objc/mlxc_metal.h as a table: those linked into this module, or those of a
 * library named at run time.
 */
#ifndef MLXC_METAL_LIBRARY_H
#define MLXC_METAL_LIBRARY_H

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "objc/mlxc_metal.h"

/* Every function of the interface: a name missing here does not compile where it is used. */
#define MLXC_METAL_EACH(DO)                                                                        \
    DO(version)                                                                                    \
    DO(device_count)                                                                               \
    DO(device)                                                                                     \
    DO(device_info)                                                                                \
    DO(allocated)                                                                                  \
    DO(buffer)                                                                                     \
    DO(wrap)                                                                                       \
    DO(contents)                                                                                   \
    DO(length)                                                                                     \
    DO(library)                                                                                    \
    DO(pipeline)                                                                                   \
    DO(max_threads)                                                                                \
    DO(simd_width)                                                                                 \
    DO(archive)                                                                                    \
    DO(archive_save)                                                                               \
    DO(queue)                                                                                      \
    DO(begin)                                                                                      \
    DO(encoder)                                                                                    \
    DO(set_pipeline)                                                                               \
    DO(set_buffer)                                                                                 \
    DO(set_bytes)                                                                                  \
    DO(set_threadgroup_memory)                                                                     \
    DO(dispatch_threads)                                                                           \
    DO(dispatch_groups)                                                                            \
    DO(end)                                                                                        \
    DO(commit)                                                                                     \
    DO(wait)                                                                                       \
    DO(finished)                                                                                   \
    DO(gpu_seconds)                                                                                \
    DO(capture_start)                                                                              \
    DO(capture_stop)                                                                               \
    DO(release)

typedef struct {
#define MLXC_METAL_FIELD(name) __typeof__(&mlxc_metal_##name) name;
    MLXC_METAL_EACH(MLXC_METAL_FIELD)
#undef MLXC_METAL_FIELD
} mlxc_metal_table;

#define MLXC_METAL_LINKED(name) mlxc_metal_##name,
static mlxc_metal_table mlxc_api = {MLXC_METAL_EACH(MLXC_METAL_LINKED)};
#undef MLXC_METAL_LINKED

/* Take the functions of the library at `path`; 0, or 1 with a sentence in `error`. */
static int mlxc_load_library(const char *path, char *error) {
    mlxc_metal_table table;
    const char *missing = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        snprintf(error, MLXC_METAL_ERROR, "%s", dlerror());
        return 1;
    }
#define MLXC_METAL_FIND(name)                                                                      \
    *(void **)&table.name = dlsym(library, "mlxc_metal_" #name);                                   \
    if (table.name == NULL) missing = "mlxc_metal_" #name;
    MLXC_METAL_EACH(MLXC_METAL_FIND)
#undef MLXC_METAL_FIND
    if (missing != NULL) {
        snprintf(error, MLXC_METAL_ERROR, "it has no function %s", missing);
        return 1;
    }
    if (table.version() != MLXC_METAL_VERSION) {
        snprintf(error, MLXC_METAL_ERROR, "it has version %d of the interface, not %d",
                 table.version(), MLXC_METAL_VERSION);
        return 1;
    }
    mlxc_api = table;
    return 0;
}

#endif
