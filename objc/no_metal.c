/* mlxc_metal.h where there is no Metal: no device, and every call says so.
 *
 * Rules: the same symbols as mlxc_metal.m; nothing here can be handed a handle, since none is
 * given.
 */
#include "mlxc_metal.h"

#include <stdio.h>
#include <string.h>

static void *none(char *error) {
    if (error)
        snprintf(error, MLXC_METAL_ERROR, "[metal] there is no Metal here");
    return NULL;
}

static int refused(char *error) {
    none(error);
    return 1;
}

int mlxc_metal_version(void) { return MLXC_METAL_VERSION; }

int mlxc_metal_device_count(void) { return 0; }

mlxc_metal_handle mlxc_metal_device(int index, char *error) {
    (void)index;
    return none(error);
}

int mlxc_metal_device_info(mlxc_metal_handle device, mlxc_metal_info *info) {
    (void)device;
    memset(info, 0, sizeof *info);
    return 1;
}

uint64_t mlxc_metal_allocated(mlxc_metal_handle device) {
    (void)device;
    return 0;
}

mlxc_metal_handle mlxc_metal_buffer(mlxc_metal_handle device, size_t nbytes, char *error) {
    (void)device, (void)nbytes;
    return none(error);
}

mlxc_metal_handle mlxc_metal_wrap(mlxc_metal_handle device, void *pages, size_t nbytes,
                                  char *error) {
    (void)device, (void)pages, (void)nbytes;
    return none(error);
}

void *mlxc_metal_contents(mlxc_metal_handle buffer) {
    (void)buffer;
    return NULL;
}

size_t mlxc_metal_length(mlxc_metal_handle buffer) {
    (void)buffer;
    return 0;
}

mlxc_metal_handle mlxc_metal_library(mlxc_metal_handle device, const char *source, int fast_math,
                                     char *error) {
    (void)device, (void)source, (void)fast_math;
    return none(error);
}

mlxc_metal_handle mlxc_metal_pipeline(mlxc_metal_handle device, mlxc_metal_handle library,
                                      const char *function, const mlxc_metal_constant *constants,
                                      int count, mlxc_metal_handle archive, char *error) {
    (void)device, (void)library, (void)function, (void)constants, (void)count, (void)archive;
    return none(error);
}

size_t mlxc_metal_max_threads(mlxc_metal_handle pipeline) {
    (void)pipeline;
    return 0;
}

size_t mlxc_metal_simd_width(mlxc_metal_handle pipeline) {
    (void)pipeline;
    return 0;
}

mlxc_metal_handle mlxc_metal_archive(mlxc_metal_handle device, const char *path, char *error) {
    (void)device, (void)path;
    return none(error);
}

int mlxc_metal_archive_save(mlxc_metal_handle archive, const char *path, char *error) {
    (void)archive, (void)path;
    return refused(error);
}

mlxc_metal_handle mlxc_metal_queue(mlxc_metal_handle device, char *error) {
    (void)device;
    return none(error);
}

mlxc_metal_handle mlxc_metal_begin(mlxc_metal_handle queue, char *error) {
    (void)queue;
    return none(error);
}

mlxc_metal_handle mlxc_metal_encoder(mlxc_metal_handle commands, char *error) {
    (void)commands;
    return none(error);
}

void mlxc_metal_set_pipeline(mlxc_metal_handle encoder, mlxc_metal_handle pipeline) {
    (void)encoder, (void)pipeline;
}

void mlxc_metal_set_buffer(mlxc_metal_handle encoder, mlxc_metal_handle buffer, size_t offset,
                           int index) {
    (void)encoder, (void)buffer, (void)offset, (void)index;
}

void mlxc_metal_set_bytes(mlxc_metal_handle encoder, const void *bytes, size_t nbytes, int index) {
    (void)encoder, (void)bytes, (void)nbytes, (void)index;
}

void mlxc_metal_set_threadgroup_memory(mlxc_metal_handle encoder, size_t nbytes, int index) {
    (void)encoder, (void)nbytes, (void)index;
}

void mlxc_metal_dispatch_threads(mlxc_metal_handle encoder, const size_t grid[3],
                                 const size_t group[3]) {
    (void)encoder, (void)grid, (void)group;
}

void mlxc_metal_dispatch_groups(mlxc_metal_handle encoder, const size_t groups[3],
                                const size_t group[3]) {
    (void)encoder, (void)groups, (void)group;
}

void mlxc_metal_end(mlxc_metal_handle encoder) { (void)encoder; }

void mlxc_metal_commit(mlxc_metal_handle commands, void (*done)(void *), void *argument) {
    (void)commands, (void)done, (void)argument;
}

int mlxc_metal_wait(mlxc_metal_handle commands, char *error) {
    (void)commands;
    return refused(error);
}

int mlxc_metal_finished(mlxc_metal_handle commands) {
    (void)commands;
    return 1;
}

double mlxc_metal_gpu_seconds(mlxc_metal_handle commands) {
    (void)commands;
    return 0;
}

int mlxc_metal_capture_start(mlxc_metal_handle device, const char *path, char *error) {
    (void)device, (void)path;
    return refused(error);
}

void mlxc_metal_capture_stop(void) {}

void mlxc_metal_release(mlxc_metal_handle handle) { (void)handle; }
