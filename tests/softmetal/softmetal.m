/* Metal's classes in software: objects, command buffers and queues; kernels run elsewhere.
 *
 * Rules: Apple's limits are errors of the command buffer, never ignored; a command buffer runs on
 * the device's thread, in order of commits; what goes wrong ends as its error text.
 * MLXC_SOFTMETAL_DEVICE=cuda runs on NVIDIA's device.
 */
#import <Metal/Metal.h>

#include "runtime.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if __BLOCKS__
#include <Block.h>
#endif

static const sm_device *the_device(void) {
    static const sm_device *device;
    if (!device) {
        const char *wanted = getenv("MLXC_SOFTMETAL_DEVICE");
        device = wanted && strcmp(wanted, "cuda") == 0 ? sm_cuda() : sm_processor();
    }
    return device;
}

static uint64_t allocated; /* bytes of living buffers */
static FILE *recording;    /* of a capture, or NULL */

@interface SoftBuffer : NSObject <MTLBuffer> {
  @public
    void *memory;
    NSUInteger length;
}
@end

@implementation SoftBuffer
- (void *)contents {
    return the_device()->contents(memory);
}
- (NSUInteger)length {
    return length;
}
- (void)dealloc {
    the_device()->release(memory);
    __atomic_sub_fetch(&allocated, length, __ATOMIC_RELAXED);
    [super dealloc];
}
@end

@implementation MTLCompileOptions
- (void)setFastMathEnabled:(BOOL)enabled {
    fastMath = enabled;
}
- (BOOL)fastMathEnabled {
    return fastMath;
}
@end

@implementation MTLFunctionConstantValues
- (void)setConstantValue:(const void *)value type:(MTLDataType)type atIndex:(NSUInteger)index {
    size_t size = type == MTLDataTypeBool || type == MTLDataTypeChar || type == MTLDataTypeUChar ? 1
                  : type == MTLDataTypeHalf || type == MTLDataTypeShort || type == MTLDataTypeUShort
                      ? 2
                      : 4;
    if (index >= SM_CONSTANTS) {
        beyond = YES;
        return;
    }
    bits[index] = 0;
    memcpy(&bits[index], value, size);
    types[index] = (unsigned char)type;
}
@end

@interface SoftLibrary : NSObject <MTLLibrary> {
  @public
    void *library; /* of the device; lives as long as the process */
}
@end

@interface SoftFunction : NSObject <MTLFunction> {
  @public
    NSString *name;
    const void *kernel;
}
@end

@implementation SoftFunction
- (NSString *)name {
    return name;
}
- (void)dealloc {
    [name release];
    [super dealloc];
}
@end

@implementation SoftLibrary
- (id<MTLFunction>)newFunctionWithName:(NSString *)name {
    return [self newFunctionWithName:name constantValues:nil error:NULL];
}
- (id<MTLFunction>)newFunctionWithName:(NSString *)name
                        constantValues:(MTLFunctionConstantValues *)values
                                 error:(NSError **)error {
    char text[SM_ERROR] = "";
    SoftFunction *function;
    sm_constants constants;
    const void *kernel;
    if (values && values->beyond) {
        if (error)
            *error = [NSError errorWithText:"function constants have numbers below 256 here"];
        return nil;
    }
    if (values) {
        memcpy(constants.bits, values->bits, sizeof constants.bits);
        memcpy(constants.types, values->types, sizeof constants.types);
    }
    kernel = the_device()->kernel(library, [name UTF8String], values ? &constants : NULL, text);
    if (!kernel) {
        if (error)
            *error = [NSError errorWithText:text];
        return nil;
    }
    function = [SoftFunction new];
    function->name = [name retain];
    function->kernel = kernel;
    return function;
}
@end

@interface SoftPipeline : NSObject <MTLComputePipelineState> {
  @public
    SoftFunction *function;
}
@end

@implementation SoftPipeline
- (NSUInteger)maxTotalThreadsPerThreadgroup {
    return (NSUInteger)the_device()->max_threads(function->kernel);
}
- (NSUInteger)threadExecutionWidth {
    return 32;
}
- (void)dealloc {
    [function release];
    [super dealloc];
}
@end

@implementation MTLComputePipelineDescriptor
- (void)setComputeFunction:(id<MTLFunction>)given {
    [(id)given retain];
    [function release];
    function = given;
}
- (void)setBinaryArchives:(NSArray *)given {
    [given retain];
    [archives release];
    archives = given;
}
- (void)dealloc {
    [function release];
    [archives release];
    [super dealloc];
}
@end

@implementation MTLBinaryArchiveDescriptor
- (void)setUrl:(NSURL *)given {
    [given retain];
    [url release];
    url = given;
}
- (void)dealloc {
    [url release];
    [super dealloc];
}
@end

/* The archive of a device without machine code: names of kernels, under a head that it knows. */
#define ARCHIVE_HEAD "softmetal archive 1\n"

@interface SoftArchive : NSObject <MTLBinaryArchive> {
  @public
    char *names; /* one a line */
}
@end

@implementation SoftArchive
- (BOOL)addComputePipelineFunctionsWithDescriptor:(MTLComputePipelineDescriptor *)descriptor
                                            error:(NSError **)error {
    const char *name = [[(SoftFunction *)descriptor->function name] UTF8String];
    char line[600];
    (void)error;
    snprintf(line, sizeof line, "%s\n", name);
    if (!strstr(names, line)) {
        names = realloc(names, strlen(names) + strlen(line) + 1);
        strcat(names, line);
    }
    return YES;
}
- (BOOL)serializeToURL:(NSURL *)url error:(NSError **)error {
    FILE *file = fopen([[url path] UTF8String], "w");
    int failed = !file || fputs(ARCHIVE_HEAD, file) < 0 || fputs(names, file) < 0;
    if (file && fclose(file))
        failed = 1;
    if (failed && error)
        *error = [NSError errorWithText:"the file cannot be written"];
    return failed ? NO : YES;
}
- (void)dealloc {
    free(names);
    [super dealloc];
}
@end

@class SoftCommands;

@interface SoftQueue : NSObject <MTLCommandQueue>
@end

/* The device's one thread and the commands that it has yet to run, in order of commits. It begins
 * with the first commit, and anew in the child of a fork, where what was under way is lost. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    SoftCommands *first, *last;
    BOOL begun;
} service = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, nil, nil, NO};

@interface SoftCommands : NSObject <MTLCommandBuffer> {
  @public
    SoftQueue *queue;
    SoftCommands *next; /* in the queue */
    MTLCommandBufferStatus status;
    sm_dispatch *dispatches;
    size_t count, capacity;
    id *kept; /* what the dispatches use: buffers */
    size_t kept_count, kept_capacity;
    void **bytes; /* copies of arguments by value */
    size_t bytes_count, bytes_capacity;
    char error[SM_ERROR];
    double start, end;
    BOOL encoding;
#if __BLOCKS__
    void (^handlers[8])(id<MTLCommandBuffer>);
    int handler_count;
#endif
}
- (void)run;
- (void)refuse:(const char *)format, ...;
- (void)keep:(id)object;
@end

@interface SoftEncoder : NSObject <MTLComputeCommandEncoder> {
  @public
    SoftCommands *commands;
    SoftPipeline *pipeline;
    sm_dispatch state;
    BOOL ended;
}
@end

@implementation SoftEncoder
- (void)setComputePipelineState:(id<MTLComputePipelineState>)given {
    [(id)given retain];
    [pipeline release];
    pipeline = (SoftPipeline *)given;
    [commands keep:pipeline];
}
- (BOOL)accepts:(NSUInteger)index {
    if (ended)
        [commands refuse:"the encoder was used after its end"];
    else if (index >= SM_BUFFERS)
        [commands refuse:"argument %lu: a kernel has at most %d", index, SM_BUFFERS];
    return !ended && index < SM_BUFFERS;
}
- (void)setBuffer:(id<MTLBuffer>)given offset:(NSUInteger)offset atIndex:(NSUInteger)index {
    SoftBuffer *buffer = (SoftBuffer *)given;
    if (![self accepts:index])
        return;
    if (buffer && offset > buffer->length)
        [commands refuse:"argument %lu: offset %lu into a buffer of %lu bytes", index, offset,
                         buffer->length];
    state.owners[index] = buffer ? buffer->memory : NULL;
    state.buffers[index] = buffer ? (char *)[buffer contents] + offset : NULL;
    state.lengths[index] = buffer ? buffer->length - offset : 0;
    [commands keep:buffer];
}
- (void)setBytes:(const void *)given length:(NSUInteger)length atIndex:(NSUInteger)index {
    void *copy;
    if (![self accepts:index])
        return;
    if (length == 0 || length > SM_BYTES) {
        [commands refuse:"argument %lu: %lu bytes by value; 1 to %d are allowed", index, length,
                         SM_BYTES];
        return;
    }
    copy = aligned_alloc(64, (length + 63) & ~63ul);
    memset(copy, 0xff, (length + 63) & ~63ul);
    memcpy(copy, given, length);
    if (commands->bytes_count == commands->bytes_capacity) {
        commands->bytes_capacity = 2 * commands->bytes_capacity + 16;
        commands->bytes = realloc(commands->bytes, commands->bytes_capacity * sizeof(void *));
    }
    commands->bytes[commands->bytes_count++] = copy;
    state.owners[index] = NULL;
    state.buffers[index] = copy;
    state.lengths[index] = length;
}
- (void)setThreadgroupMemoryLength:(NSUInteger)length atIndex:(NSUInteger)index {
    if (![self accepts:index])
        return;
    if (length % 16)
        [commands
            refuse:"threadgroup memory %lu: %lu bytes; it must be a multiple of 16", index, length];
    state.threadgroup[index] = length;
}
- (void)add:(MTLSize)grid group:(MTLSize)group {
    NSUInteger threads = group.width * group.height * group.depth, memory = 0;
    int i;
    if (ended || !pipeline) {
        [commands refuse:ended ? "a dispatch after the end of the encoder"
                               : "a dispatch without a pipeline"];
        return;
    }
    for (i = 0; i < SM_BUFFERS; i++)
        memory += state.threadgroup[i];
    if (memory > SM_THREADGROUP_MEMORY)
        [commands
            refuse:"%lu bytes of threadgroup memory; at most %d", memory, SM_THREADGROUP_MEMORY];
    if (!threads || threads > [pipeline maxTotalThreadsPerThreadgroup])
        [commands refuse:"kernel %s: %lu threads a threadgroup; 1 to %lu are allowed",
                         [[pipeline->function name] UTF8String], threads,
                         [pipeline maxTotalThreadsPerThreadgroup]];
    if (!grid.width || !grid.height || !grid.depth)
        [commands refuse:"kernel %s: an empty grid", [[pipeline->function name] UTF8String]];
    if (commands->error[0])
        return;
    state.kernel = pipeline->function->kernel;
    state.grid[0] = grid.width, state.grid[1] = grid.height, state.grid[2] = grid.depth;
    state.group[0] = group.width, state.group[1] = group.height, state.group[2] = group.depth;
    if (commands->count == commands->capacity) {
        commands->capacity = 2 * commands->capacity + 16;
        commands->dispatches =
            realloc(commands->dispatches, commands->capacity * sizeof(sm_dispatch));
    }
    commands->dispatches[commands->count++] = state;
    if (recording)
        fprintf(recording, "%s grid %lu %lu %lu group %lu %lu %lu\n",
                [[pipeline->function name] UTF8String], grid.width, grid.height, grid.depth,
                group.width, group.height, group.depth);
}
- (void)dispatchThreads:(MTLSize)grid threadsPerThreadgroup:(MTLSize)group {
    [self add:grid group:group];
}
- (void)dispatchThreadgroups:(MTLSize)groups threadsPerThreadgroup:(MTLSize)group {
    [self add:MTLSizeMake(groups.width * group.width, groups.height * group.height,
                          groups.depth * group.depth)
        group:group];
}
- (void)endEncoding {
    ended = YES;
    commands->encoding = NO;
}
- (void)dealloc {
    if (!ended)
        [commands refuse:"an encoder was given up before its end"];
    [pipeline release];
    [commands release];
    [super dealloc];
}
@end

static void enqueue(SoftCommands *commands);

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

@implementation SoftCommands
- (void)keep:(id)object {
    if (!object)
        return;
    if (kept_count == kept_capacity) {
        kept_capacity = 2 * kept_capacity + 16;
        kept = realloc(kept, kept_capacity * sizeof(id));
    }
    kept[kept_count++] = [object retain];
}
- (void)refuse:(const char *)format, ... {
    va_list arguments;
    if (error[0])
        return; /* the first complaint stands */
    va_start(arguments, format);
    vsnprintf(error, sizeof error, format, arguments);
    va_end(arguments);
}
- (id<MTLComputeCommandEncoder>)computeCommandEncoder {
    SoftEncoder *encoder;
    if (encoding || status != MTLCommandBufferStatusNotEnqueued) {
        [self refuse:"a second encoder while one is open, or after the commit"];
        return nil;
    }
    encoder = [[SoftEncoder new] autorelease];
    encoder->commands = [self retain];
    encoding = YES;
    return encoder;
}
- (void)commit {
    if (status != MTLCommandBufferStatusNotEnqueued) {
        [self refuse:"a second commit"];
        return;
    }
    if (encoding)
        [self refuse:"a commit before the end of the encoder"];
    enqueue(self);
}
- (void)run {
    start = now();
    end = start;
    if (!error[0] && count) {
        double seconds = 0;
        the_device()->run(dispatches, count, &seconds, error);
        end = start + seconds;
    }
    pthread_mutex_lock(&service.lock);
    status = error[0] ? MTLCommandBufferStatusError : MTLCommandBufferStatusCompleted;
    pthread_cond_broadcast(&service.changed);
    pthread_mutex_unlock(&service.lock);
#if __BLOCKS__
    {
        int i;
        for (i = 0; i < handler_count; i++)
            handlers[i](self);
    }
#endif
}
- (void)waitUntilCompleted {
    pthread_mutex_lock(&service.lock);
    while (status >= MTLCommandBufferStatusCommitted && status < MTLCommandBufferStatusCompleted)
        pthread_cond_wait(&service.changed, &service.lock);
    if (status < MTLCommandBufferStatusCommitted) {
        [self refuse:"a wait for what was never committed"];
        status = MTLCommandBufferStatusError;
    }
    pthread_mutex_unlock(&service.lock);
}
- (MTLCommandBufferStatus)status {
    MTLCommandBufferStatus seen;
    pthread_mutex_lock(&service.lock);
    seen = status;
    pthread_mutex_unlock(&service.lock);
    return seen;
}
- (NSError *)error {
    return error[0] ? [NSError errorWithText:error] : nil;
}
- (double)GPUStartTime {
    return start;
}
- (double)GPUEndTime {
    return end;
}
#if __BLOCKS__
- (void)addCompletedHandler:(void (^)(id<MTLCommandBuffer>))block {
    if (handler_count < 8)
        handlers[handler_count++] = Block_copy(block);
}
#endif
- (void)dealloc {
    size_t i;
#if __BLOCKS__
    for (i = 0; i < (size_t)handler_count; i++)
        Block_release(handlers[i]);
#endif
    for (i = 0; i < kept_count; i++)
        [kept[i] release];
    for (i = 0; i < bytes_count; i++)
        free(bytes[i]);
    free(kept);
    free(bytes);
    free(dispatches);
    [queue release];
    [super dealloc];
}
@end

static void *serve(void *unused) {
    (void)unused;
    for (;;) {
        NSAutoreleasePool *pool;
        SoftCommands *commands;
        pthread_mutex_lock(&service.lock);
        while (!service.first)
            pthread_cond_wait(&service.changed, &service.lock);
        commands = service.first;
        service.first = commands->next;
        pthread_mutex_unlock(&service.lock);
        pool = [[NSAutoreleasePool alloc] init];
        [commands run];
        [commands release];
        [pool drain];
    }
    return NULL;
}

static void begin_anew(void) {
    pthread_mutex_init(&service.lock, NULL);
    pthread_cond_init(&service.changed, NULL);
    service.first = service.last = nil;
    service.begun = NO;
}

static void enqueue(SoftCommands *commands) {
    static BOOL registered;
    pthread_t thread;
    [commands retain];
    pthread_mutex_lock(&service.lock);
    if (!registered)
        pthread_atfork(NULL, NULL, begin_anew);
    registered = YES;
    commands->status = MTLCommandBufferStatusCommitted;
    commands->next = nil;
    if (service.first)
        service.last->next = commands;
    else
        service.first = commands;
    service.last = commands;
    if (!service.begun && pthread_create(&thread, NULL, serve, NULL) == 0) {
        pthread_detach(thread);
        service.begun = YES;
    }
    pthread_cond_broadcast(&service.changed);
    pthread_mutex_unlock(&service.lock);
}

@implementation SoftQueue
- (id<MTLCommandBuffer>)commandBuffer {
    SoftCommands *commands = [[SoftCommands new] autorelease];
    commands->queue = [self retain];
    return commands;
}
@end

@interface SoftDevice : NSObject <MTLDevice>
@end

@implementation SoftDevice
- (NSString *)name {
    return [NSString stringWithUTF8String:the_device()->name];
}
- (MTLSize)maxThreadsPerThreadgroup {
    return MTLSizeMake(SM_THREADS, SM_THREADS, SM_THREADS);
}
- (NSUInteger)maxThreadgroupMemoryLength {
    return SM_THREADGROUP_MEMORY;
}
- (NSUInteger)maxBufferLength {
    return [self recommendedMaxWorkingSetSize] / 2;
}
- (uint64_t)recommendedMaxWorkingSetSize {
    return [[NSProcessInfo processInfo] physicalMemory] / 4 * 3;
}
- (NSUInteger)currentAllocatedSize {
    return __atomic_load_n(&allocated, __ATOMIC_RELAXED);
}
- (BOOL)hasUnifiedMemory {
    return YES;
}
- (id<MTLCommandQueue>)newCommandQueue {
    return [SoftQueue new];
}
- (id<MTLBuffer>)bufferOf:(void *)memory length:(NSUInteger)length {
    SoftBuffer *buffer;
    if (!memory)
        return nil;
    buffer = [SoftBuffer new];
    buffer->memory = memory;
    buffer->length = length;
    __atomic_add_fetch(&allocated, length, __ATOMIC_RELAXED);
    return buffer;
}
- (id<MTLBuffer>)newBufferWithLength:(NSUInteger)length options:(MTLResourceOptions)options {
    char text[SM_ERROR];
    (void)options;
    if (!length || length > [self maxBufferLength])
        return nil;
    return [self bufferOf:the_device()->allocate(length, text) length:length];
}
#if __BLOCKS__
- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void *)pointer
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(void (^)(void *, NSUInteger))deallocator {
#else
- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void *)pointer
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(id)deallocator {
#endif
    char text[SM_ERROR];
    (void)options, (void)deallocator;
    if ((uintptr_t)pointer % NSPageSize() || length % NSPageSize())
        return nil;
    return [self bufferOf:the_device()->wrap(pointer, length, text) length:length];
}
- (id<MTLLibrary>)newLibraryWithSource:(NSString *)source
                               options:(MTLCompileOptions *)options
                                 error:(NSError **)error {
    char text[SM_ERROR] = "";
    SoftLibrary *library;
    int fast = options && [options fastMathEnabled];
    void *compiled = the_device()->compile([source UTF8String], fast, text);
    if (!compiled) {
        if (error)
            *error = [NSError errorWithText:text];
        return nil;
    }
    library = [SoftLibrary new];
    library->library = compiled;
    return library;
}
- (id<MTLComputePipelineState>)newComputePipelineStateWithDescriptor:
                                   (MTLComputePipelineDescriptor *)descriptor
                                                             options:(MTLPipelineOption)options
                                                          reflection:(id *)reflection
                                                               error:(NSError **)error {
    SoftPipeline *pipeline;
    (void)options, (void)reflection;
    if (!descriptor->function) {
        if (error)
            *error = [NSError errorWithText:"a pipeline without a function"];
        return nil;
    }
    pipeline = [SoftPipeline new];
    pipeline->function = [(SoftFunction *)descriptor->function retain];
    return pipeline;
}
- (id<MTLBinaryArchive>)newBinaryArchiveWithDescriptor:(MTLBinaryArchiveDescriptor *)descriptor
                                                 error:(NSError **)error {
    char *names = strdup("");
    if (descriptor->url) {
        char head[sizeof ARCHIVE_HEAD] = "";
        FILE *file = fopen([[descriptor->url path] UTF8String], "r");
        size_t size = file ? fread(head, 1, sizeof head - 1, file) : 0;
        if (size != sizeof head - 1 || strcmp(head, ARCHIVE_HEAD)) {
            if (file)
                fclose(file);
            free(names);
            if (error)
                *error = [NSError errorWithText:"this is no archive of pipelines"];
            return nil;
        }
        names = realloc(names, 1 << 20);
        size = fread(names, 1, (1 << 20) - 1, file);
        names[size] = 0;
        fclose(file);
    }
    SoftArchive *archive = [SoftArchive new];
    archive->names = names;
    return archive;
}
@end

NSArray *MTLCopyAllDevices(void) {
    static SoftDevice *device;
    NSArray *devices = nil;
    NSAutoreleasePool *pool = [[NSAutoreleasePool alloc] init];
    if (the_device()) {
        if (!device)
            device = [SoftDevice new];
        devices = [[NSArray arrayWithObject:device] retain];
    }
    [pool drain];
    return devices;
}

@implementation MTLCaptureDescriptor
- (void)setCaptureObject:(id)object {
    (void)object; /* there is one device */
}
- (void)setDestination:(MTLCaptureDestination)destination {
    where = destination;
}
- (void)setOutputURL:(NSURL *)given {
    [given retain];
    [url release];
    url = given;
}
- (void)dealloc {
    [url release];
    [super dealloc];
}
@end

/* A capture is a text file: a line a dispatch. */
@implementation MTLCaptureManager
+ (MTLCaptureManager *)sharedCaptureManager {
    static MTLCaptureManager *manager;
    if (!manager)
        manager = [MTLCaptureManager new];
    return manager;
}
- (BOOL)supportsDestination:(MTLCaptureDestination)destination {
    const char *enabled = getenv("MTL_CAPTURE_ENABLED"); /* as Apple's */
    return destination == MTLCaptureDestinationGPUTraceDocument && enabled &&
           strcmp(enabled, "1") == 0;
}
- (BOOL)startCaptureWithDescriptor:(MTLCaptureDescriptor *)descriptor error:(NSError **)error {
    const char *path = [[descriptor->url path] UTF8String];
    const char *why = recording                      ? "a capture is under way"
                      : !path || !access(path, F_OK) ? "the file is there already"
                                                     : NULL;
    if (!why && !(recording = fopen(path, "w")))
        why = "the file cannot be written";
    if (why && error)
        *error = [NSError errorWithText:why];
    return why ? NO : YES;
}
- (void)stopCapture {
    if (recording)
        fclose(recording);
    recording = NULL;
}
- (BOOL)isCapturing {
    return recording ? YES : NO;
}
@end
