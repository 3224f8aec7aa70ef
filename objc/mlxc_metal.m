/* mlxc_metal.h on Metal.
 *
 * Rules: manual retain and release; whatever leaves a function leaves its autorelease pool
 * retained. The source compiles with Apple's clang (-fno-objc-arc -fblocks: setup.py), and with
 * clang and gobjc on Linux, where the tests run it on a Metal in software: no ARC there, no
 * literals of collections, no dot syntax, no fast enumeration, blocks only where the compiler has
 * them. What raises in Foundation, such as a path that is no UTF-8, is refused before it gets
 * there. Opaque handles are Objective-C objects, each comment says which.
 */
#if defined(__has_feature)
#if __has_feature(objc_arc)
#error "mlxc_metal.m retains and releases by itself: compile it without -fobjc-arc."
#endif
#endif

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include "mlxc_metal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BEGIN_POOL NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
#define END_POOL [pool drain];

/* MTLBinaryArchive does not promise to be safe to change from several threads. */
static pthread_mutex_t archive_lock = PTHREAD_MUTEX_INITIALIZER;

static void *fail(char *error, const char *what, NSError *reason) {
    const char *text = reason ? [[reason localizedDescription] UTF8String] : NULL;
    if (error)
        snprintf(error, MLXC_METAL_ERROR, "%s%s%s", what, text ? ": " : "", text ? text : "");
    return NULL;
}

/* Of a path that is UTF-8; else nil, with the error. */
static NSURL *url_of(const char *path, char *error) {
    NSString *text = [NSString stringWithUTF8String:path];
    if (text)
        return [NSURL fileURLWithPath:text];
    return fail(error, "[metal] the path is no UTF-8", nil);
}

/* Devices */

int mlxc_metal_version(void) { return MLXC_METAL_VERSION; }

int mlxc_metal_device_count(void) {
    BEGIN_POOL
    NSArray *devices = MTLCopyAllDevices();
    int count = (int)[devices count];
    [devices release];
    END_POOL
    return count;
}

/* A retained id<MTLDevice>. */
mlxc_metal_handle mlxc_metal_device(int index, char *error) {
    id<MTLDevice> device = nil;
    BEGIN_POOL
    NSArray *devices = MTLCopyAllDevices();
    if (index >= 0 && (NSUInteger)index < [devices count])
        device = [[devices objectAtIndex:(NSUInteger)index] retain];
    else
        fail(error, "[metal] there is no device of that number", nil);
    [devices release];
    END_POOL
    return device;
}

/* Devices tell their architecture since macOS 14: asked by name, so that older ones need not. */
static const char *architecture_of(id<MTLDevice> device) {
    SEL selector = @selector(architecture);
    id architecture = nil;
    NSString *name = nil;
    if ([device respondsToSelector:selector])
        architecture = [(id)device performSelector:selector];
    if (architecture)
        name = [architecture performSelector:@selector(name)];
    return name ? [name UTF8String] : "";
}

int mlxc_metal_device_info(mlxc_metal_handle handle, mlxc_metal_info *info) {
    id<MTLDevice> device = (id)handle;
    memset(info, 0, sizeof *info);
    BEGIN_POOL
    snprintf(info->name, sizeof info->name, "%s", [[device name] UTF8String]);
    snprintf(info->architecture, sizeof info->architecture, "%s", architecture_of(device));
    info->memory = [[NSProcessInfo processInfo] physicalMemory];
    info->recommended = [device recommendedMaxWorkingSetSize];
    info->max_buffer = [device maxBufferLength];
    info->threadgroup_memory = [device maxThreadgroupMemoryLength];
    info->simd_width = 32;
    info->max_threads = [device maxThreadsPerThreadgroup].width;
    info->page = NSPageSize();
    info->unified = [device hasUnifiedMemory] ? 1 : 0;
    END_POOL
    return 0;
}

uint64_t mlxc_metal_allocated(mlxc_metal_handle device) {
    return [(id<MTLDevice>)device currentAllocatedSize];
}

/* Buffers: a retained id<MTLBuffer> */

mlxc_metal_handle mlxc_metal_buffer(mlxc_metal_handle device, size_t nbytes, char *error) {
    id<MTLBuffer> buffer = nil;
    BEGIN_POOL
    if (nbytes && nbytes <= [(id<MTLDevice>)device maxBufferLength])
        buffer = [(id<MTLDevice>)device newBufferWithLength:nbytes
                                                    options:MTLResourceStorageModeShared];
    END_POOL
    if (!buffer)
        fail(error, "[metal] the device gives no buffer of that size", nil);
    return buffer;
}

mlxc_metal_handle mlxc_metal_wrap(mlxc_metal_handle device, void *pages, size_t nbytes,
                                  char *error) {
    id<MTLBuffer> buffer = nil;
    NSUInteger page = NSPageSize();
    if (!pages || !nbytes || (uintptr_t)pages % page || nbytes % page)
        return fail(error, "[metal] only whole pages can be wrapped as a buffer", nil);
    BEGIN_POOL
    buffer = [(id<MTLDevice>)device newBufferWithBytesNoCopy:pages
                                                      length:nbytes
                                                     options:MTLResourceStorageModeShared
                                                 deallocator:nil];
    END_POOL
    if (!buffer)
        fail(error, "[metal] the device cannot use these pages as a buffer", nil);
    return buffer;
}

void *mlxc_metal_contents(mlxc_metal_handle buffer) { return [(id<MTLBuffer>)buffer contents]; }

size_t mlxc_metal_length(mlxc_metal_handle buffer) { return [(id<MTLBuffer>)buffer length]; }

/* Programs: a retained id<MTLLibrary>, id<MTLComputePipelineState> */

mlxc_metal_handle mlxc_metal_library(mlxc_metal_handle device, const char *source, int fast_math,
                                     char *error) {
    id<MTLLibrary> library = nil;
    BEGIN_POOL
    NSError *reason = nil;
    MTLCompileOptions *options = [[[MTLCompileOptions alloc] init] autorelease];
    NSString *text = [NSString stringWithUTF8String:source];
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wdeprecated-declarations" /* mathMode is newer than macOS 14 */
#endif
    [options setFastMathEnabled:fast_math ? YES : NO];
#if defined(__clang__)
#pragma clang diagnostic pop
#endif
    /* text is nil if the source is not UTF-8 */
    if (text)
        library = [(id<MTLDevice>)device newLibraryWithSource:text options:options error:&reason];
    if (!library)
        fail(error, "[metal] the source does not compile", reason);
    END_POOL
    return library;
}

/* Retained; nil with the reason if there is no such function. */
static id<MTLFunction> new_function(id<MTLLibrary> library, const char *name,
                                    const mlxc_metal_constant *constants, int count, char *error) {
    id<MTLFunction> function = nil;
    NSError *reason = nil;
    NSString *text = [NSString stringWithUTF8String:name];
    if (!text)
        return fail(error, "[metal] the kernel's name is no UTF-8", nil);
    if (count > 0) {
        MTLFunctionConstantValues *values = [[MTLFunctionConstantValues alloc] init];
        int i;
        for (i = 0; i < count; i++)
            [values setConstantValue:&constants[i].bits
                                type:(MTLDataType)constants[i].type
                             atIndex:constants[i].index];
        function = [library newFunctionWithName:text constantValues:values error:&reason];
        [values release];
    } else {
        function = [library newFunctionWithName:text];
    }
    if (!function) {
        char what[512];
        snprintf(what, sizeof what, "[metal] the library has no kernel '%s'", name);
        fail(error, what, reason);
    }
    return function;
}

mlxc_metal_handle mlxc_metal_pipeline(mlxc_metal_handle device, mlxc_metal_handle library,
                                      const char *name, const mlxc_metal_constant *constants,
                                      int count, mlxc_metal_handle archive, char *error) {
    id<MTLComputePipelineState> pipeline = nil;
    BEGIN_POOL
    NSError *reason = nil;
    MTLComputePipelineDescriptor *what = nil;
    id<MTLFunction> function = new_function((id)library, name, constants, count, error);
    if (function) {
        what = [[[MTLComputePipelineDescriptor alloc] init] autorelease];
        [what setComputeFunction:function];
        if (archive)
            [what setBinaryArchives:[NSArray arrayWithObject:(id)archive]];
        pipeline = [(id<MTLDevice>)device newComputePipelineStateWithDescriptor:what
                                                                        options:0
                                                                     reflection:NULL
                                                                          error:&reason];
        if (!pipeline)
            fail(error, "[metal] the device does not accept the kernel", reason);
    }
    if (pipeline && archive) {
        /* A pipeline that the cache does not take is compiled again next time. */
        pthread_mutex_lock(&archive_lock);
        [(id<MTLBinaryArchive>)archive addComputePipelineFunctionsWithDescriptor:what error:NULL];
        pthread_mutex_unlock(&archive_lock);
    }
    [function release];
    END_POOL
    return pipeline;
}

size_t mlxc_metal_max_threads(mlxc_metal_handle pipeline) {
    return [(id<MTLComputePipelineState>)pipeline maxTotalThreadsPerThreadgroup];
}

size_t mlxc_metal_simd_width(mlxc_metal_handle pipeline) {
    return [(id<MTLComputePipelineState>)pipeline threadExecutionWidth];
}

/* The cache: a retained id<MTLBinaryArchive> */

mlxc_metal_handle mlxc_metal_archive(mlxc_metal_handle device, const char *path, char *error) {
    id<MTLBinaryArchive> archive = nil;
    BEGIN_POOL
    NSError *reason = nil;
    MTLBinaryArchiveDescriptor *what = [[[MTLBinaryArchiveDescriptor alloc] init] autorelease];
    if (path && access(path, R_OK) == 0) {
        [what setUrl:url_of(path, NULL)];
        archive = [(id<MTLDevice>)device newBinaryArchiveWithDescriptor:what error:&reason];
    }
    if (!archive) { /* no such file, or one of another system: begun anew */
        [what setUrl:nil];
        archive = [(id<MTLDevice>)device newBinaryArchiveWithDescriptor:what error:&reason];
    }
    if (!archive)
        fail(error, "[metal] the device makes no archive of pipelines", reason);
    END_POOL
    return archive;
}

int mlxc_metal_archive_save(mlxc_metal_handle archive, const char *path, char *error) {
    char temporary[4096];
    BOOL saved = NO;
    int length = snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid());
    if (length < 0 || (size_t)length >= sizeof temporary) {
        fail(error, "[metal] the path of the archive is too long", nil);
        return 1;
    }
    BEGIN_POOL
    NSError *reason = nil;
    NSURL *url = url_of(temporary, error);
    if (url) {
        pthread_mutex_lock(&archive_lock);
        saved = [(id<MTLBinaryArchive>)archive serializeToURL:url error:&reason];
        pthread_mutex_unlock(&archive_lock);
        if (!saved)
            fail(error, "[metal] the archive of pipelines cannot be written", reason);
    }
    END_POOL
    if (!saved)
        return 1;
    /* Moved into place at once: another process sees the old archive or the new one. */
    if (rename(temporary, path)) {
        fail(error, "[metal] the archive of pipelines cannot be moved to its place", nil);
        unlink(temporary);
        return 1;
    }
    return 0;
}

/* Work: retained id<MTLCommandQueue>, id<MTLCommandBuffer>, id<MTLComputeCommandEncoder> */

mlxc_metal_handle mlxc_metal_queue(mlxc_metal_handle device, char *error) {
    id<MTLCommandQueue> queue = nil;
    BEGIN_POOL
    queue = [(id<MTLDevice>)device newCommandQueue];
    END_POOL
    if (!queue)
        fail(error, "[metal] the device gives no command queue", nil);
    return queue;
}

mlxc_metal_handle mlxc_metal_begin(mlxc_metal_handle queue, char *error) {
    id<MTLCommandBuffer> commands = nil;
    BEGIN_POOL
    commands = [[(id<MTLCommandQueue>)queue commandBuffer] retain];
    END_POOL
    if (!commands)
        fail(error, "[metal] the queue gives no command buffer", nil);
    return commands;
}

mlxc_metal_handle mlxc_metal_encoder(mlxc_metal_handle commands, char *error) {
    id<MTLComputeCommandEncoder> encoder = nil;
    BEGIN_POOL
    encoder = [[(id<MTLCommandBuffer>)commands computeCommandEncoder] retain];
    END_POOL
    if (!encoder)
        fail(error, "[metal] the command buffer gives no encoder", nil);
    return encoder;
}

void mlxc_metal_set_pipeline(mlxc_metal_handle encoder, mlxc_metal_handle pipeline) {
    [(id<MTLComputeCommandEncoder>)encoder setComputePipelineState:(id)pipeline];
}

void mlxc_metal_set_buffer(mlxc_metal_handle encoder, mlxc_metal_handle buffer, size_t offset,
                           int index) {
    [(id<MTLComputeCommandEncoder>)encoder setBuffer:(id)buffer
                                              offset:offset
                                             atIndex:(NSUInteger)index];
}

void mlxc_metal_set_bytes(mlxc_metal_handle encoder, const void *bytes, size_t nbytes, int index) {
    [(id<MTLComputeCommandEncoder>)encoder setBytes:bytes length:nbytes atIndex:(NSUInteger)index];
}

void mlxc_metal_set_threadgroup_memory(mlxc_metal_handle encoder, size_t nbytes, int index) {
    [(id<MTLComputeCommandEncoder>)encoder setThreadgroupMemoryLength:nbytes
                                                              atIndex:(NSUInteger)index];
}

void mlxc_metal_dispatch_threads(mlxc_metal_handle encoder, const size_t grid[3],
                                 const size_t group[3]) {
    [(id<MTLComputeCommandEncoder>)encoder
              dispatchThreads:MTLSizeMake(grid[0], grid[1], grid[2])
        threadsPerThreadgroup:MTLSizeMake(group[0], group[1], group[2])];
}

void mlxc_metal_dispatch_groups(mlxc_metal_handle encoder, const size_t groups[3],
                                const size_t group[3]) {
    [(id<MTLComputeCommandEncoder>)encoder
         dispatchThreadgroups:MTLSizeMake(groups[0], groups[1], groups[2])
        threadsPerThreadgroup:MTLSizeMake(group[0], group[1], group[2])];
}

void mlxc_metal_end(mlxc_metal_handle encoder) {
    BEGIN_POOL
    [(id<MTLComputeCommandEncoder>)encoder endEncoding];
    END_POOL
}

#if !__BLOCKS__
typedef struct {
    id<MTLCommandBuffer> commands; /* retained */
    void (*done)(void *);
    void *argument;
    void *memory; /* to free */
} awaited;

/* A compiler without blocks cannot hand Metal a handler: a thread waits instead. */
static void *await(void *given) {
    awaited *wait = given;
    [wait->commands waitUntilCompleted];
    wait->done(wait->argument);
    [wait->commands release];
    free(wait->memory);
    return NULL;
}
#endif

static void when_completed(id<MTLCommandBuffer> commands, void (*done)(void *), void *argument) {
#if __BLOCKS__
    [commands addCompletedHandler:^(id<MTLCommandBuffer> ended) {
      (void)ended;
      done(argument);
    }];
#else
    pthread_t thread;
    awaited *wait = malloc(sizeof *wait);
    awaited here = {[commands retain], done, argument, wait};
    if (wait) {
        *wait = here;
        if (pthread_create(&thread, NULL, await, wait) == 0) {
            pthread_detach(thread);
            return;
        }
    }
    await(&here); /* no thread to be had: it is waited for now */
#endif
}

void mlxc_metal_commit(mlxc_metal_handle commands, void (*done)(void *), void *argument) {
    BEGIN_POOL
#if __BLOCKS__
    if (done) /* handlers are taken before the commit */
        when_completed((id)commands, done, argument);
#endif
    [(id<MTLCommandBuffer>)commands commit];
#if !__BLOCKS__
    if (done) /* and waiting is allowed after it */
        when_completed((id)commands, done, argument);
#endif
    END_POOL
}

int mlxc_metal_wait(mlxc_metal_handle handle, char *error) {
    id<MTLCommandBuffer> commands = (id)handle;
    int failed;
    BEGIN_POOL
    [commands waitUntilCompleted];
    failed = [commands status] == MTLCommandBufferStatusError;
    if (failed)
        fail(error, "[metal] the device could not finish the work", [commands error]);
    END_POOL
    return failed;
}

int mlxc_metal_finished(mlxc_metal_handle commands) {
    return [(id<MTLCommandBuffer>)commands status] >= MTLCommandBufferStatusCompleted;
}

double mlxc_metal_gpu_seconds(mlxc_metal_handle handle) {
    id<MTLCommandBuffer> commands = (id)handle;
    return [commands GPUEndTime] - [commands GPUStartTime];
}

/* Recording for Xcode */

int mlxc_metal_capture_start(mlxc_metal_handle device, const char *path, char *error) {
    BOOL started = NO;
    BEGIN_POOL
    NSError *reason = nil;
    MTLCaptureManager *manager = [MTLCaptureManager sharedCaptureManager];
    NSURL *url = url_of(path, error);
    if (url && [manager supportsDestination:MTLCaptureDestinationGPUTraceDocument]) {
        MTLCaptureDescriptor *what = [[[MTLCaptureDescriptor alloc] init] autorelease];
        [what setCaptureObject:(id)device];
        [what setDestination:MTLCaptureDestinationGPUTraceDocument];
        [what setOutputURL:url];
        started = [manager startCaptureWithDescriptor:what error:&reason];
        if (!started)
            fail(error, "[start_capture] Metal does not record", reason);
    } else if (url) {
        fail(error, "[start_capture] recording needs MTL_CAPTURE_ENABLED=1 in the environment",
             nil);
    }
    END_POOL
    return started ? 0 : 1;
}

void mlxc_metal_capture_stop(void) {
    BEGIN_POOL
    [[MTLCaptureManager sharedCaptureManager] stopCapture];
    END_POOL
}

void mlxc_metal_release(mlxc_metal_handle handle) {
    BEGIN_POOL
    [(id)handle release];
    END_POOL
}
