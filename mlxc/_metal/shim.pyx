"""The Metal shim's functions, and its objects as classes.

Design: the functions are those linked into this module (objc/mlxc_metal.m on macOS, objc/no_metal.c
elsewhere), or those of the library that MLXC_METAL_LIBRARY names, which is how tests swap the
device. There is one queue, and one command buffer being filled: evaluation runs one at a time.

Rules: handles are given up where they were got. A child of fork never touches the device. Errors
are kept until somebody waits, and are then raised as RuntimeError.
"""

import os

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove
from posix.unistd cimport getpid

from mlxc._memory.regions cimport use_device

cdef extern from "mlxc/_metal/library.h" nogil:
    int load_library "mlxc_load_library"(const char* path, char* error)
    int api_device_count "mlxc_api.device_count"()
    void* api_device "mlxc_api.device"(int index, char* error)
    int api_device_info "mlxc_api.device_info"(void* device, mlxc_metal_info* info)
    uint64_t api_allocated "mlxc_api.allocated"(void* device)
    void* api_wrap "mlxc_api.wrap"(void* device, void* pages, size_t nbytes, char* error)
    void* api_library "mlxc_api.library"(void* device, const char* source, int fast, char* error)
    void* api_pipeline "mlxc_api.pipeline"(
        void* device, void* library, const char* function, const mlxc_metal_constant* constants,
        int count, void* archive, char* error)
    size_t api_max_threads "mlxc_api.max_threads"(void* pipeline)
    size_t api_simd_width "mlxc_api.simd_width"(void* pipeline)
    void* api_archive "mlxc_api.archive"(void* device, const char* path, char* error)
    int api_archive_save "mlxc_api.archive_save"(void* archive, const char* path, char* error)
    void* api_queue "mlxc_api.queue"(void* device, char* error)
    void* api_begin "mlxc_api.begin"(void* queue, char* error)
    void* api_encoder "mlxc_api.encoder"(void* commands, char* error)
    void api_set_pipeline "mlxc_api.set_pipeline"(void* encoder, void* pipeline)
    void api_set_buffer "mlxc_api.set_buffer"(void* encoder, void* buffer, size_t offset, int index)
    void api_set_bytes "mlxc_api.set_bytes"(void* encoder, const void* bytes, size_t n, int index)
    void api_set_threadgroup_memory "mlxc_api.set_threadgroup_memory"(
        void* encoder, size_t nbytes, int index)
    void api_dispatch_threads "mlxc_api.dispatch_threads"(
        void* encoder, const size_t* grid, const size_t* group)
    void api_dispatch_groups "mlxc_api.dispatch_groups"(
        void* encoder, const size_t* grid, const size_t* group)
    void api_end "mlxc_api.end"(void* encoder)
    void api_commit "mlxc_api.commit"(void* commands, void (*done)(void*), void* argument)
    int api_wait "mlxc_api.wait"(void* commands, char* error)
    int api_capture_start "mlxc_api.capture_start"(void* device, const char* path, char* error)
    void api_capture_stop "mlxc_api.capture_stop"()
    void api_release "mlxc_api.release"(void* handle)

# Function constants: Python type -> MTLDataType
BOOL, INT, FLOAT = 53, 29, 3


cdef void* wrap_pages(void* handle, void* pages, size_t nbytes, char* error) noexcept nogil:
    return api_wrap(handle, pages, nbytes, error)


cdef void release_handle(void* handle) noexcept nogil:
    api_release(handle)


cdef str text_of(const char* text):
    return (<bytes>text).decode("utf-8", "replace")


cdef str reason_of(const char* error):
    """An error without the operation in brackets: whoever raises it knows better."""
    text = text_of(error)
    return text.partition("] ")[2] if text.startswith("[") else text


cdef class Library:
    """Functions of the device, compiled from source."""

    cdef void* handle

    def __dealloc__(self):
        if self.handle != NULL:
            api_release(self.handle)


cdef class Archive:
    """Compiled pipelines in a file."""

    cdef void* handle

    def __dealloc__(self):
        if self.handle != NULL:
            api_release(self.handle)

    def save(self, path):
        """Write the file; OSError where that fails."""
        cdef char[MLXC_METAL_ERROR] error
        if api_archive_save(self.handle, os.fsencode(path), error):
            raise OSError(f"[metal] {reason_of(error)}")


cdef class Pipeline:
    """One function of a library with its constants, ready to run."""

    def __dealloc__(self):
        if self.handle != NULL:
            api_release(self.handle)


cdef class Device:
    """One device and its queue. Work is collected in a command buffer, which is committed when it
    is full, or when somebody waits."""

    def __init__(self, int index):
        cdef char[MLXC_METAL_ERROR] error
        self.error = <char*>calloc(1, MLXC_METAL_ERROR)
        self.sent = <Batch*>calloc(IN_FLIGHT + 1, sizeof(Batch))
        if self.error == NULL or self.sent == NULL:
            raise MemoryError()
        self.handle = api_device(index, error)
        if self.handle == NULL:
            raise RuntimeError(f"[metal] device {index} does not open: {reason_of(error)}")
        self.queue = api_queue(self.handle, error)
        if self.queue == NULL:
            raise RuntimeError(f"[metal] no queue for device {index}: {reason_of(error)}")
        api_device_info(self.handle, &self.facts)
        self.owner = getpid()
        self.info = {
            "device_name": text_of(self.facts.name),
            "architecture": text_of(self.facts.architecture),
            "memory_size": self.facts.memory,
            "max_recommended_working_set_size": self.facts.recommended,
            "max_buffer_length": self.facts.max_buffer,
            "threadgroup_memory": self.facts.threadgroup_memory,
            "max_threads": self.facts.max_threads,
            "page": self.facts.page,
            "resource_limit": 499000,
        }

    def __dealloc__(self):
        free(self.error)
        free(self.sent)

    def library(self, str name, str source, bint fast_math=False):
        """Compile source, which errors call by a name; RuntimeError with the compiler's text."""
        cdef char[MLXC_METAL_ERROR] error
        cdef bytes text = source.encode()
        cdef const char* bare = text
        cdef Library library = Library.__new__(Library)
        self.check()
        with nogil:
            library.handle = api_library(self.handle, bare, fast_math, error)
        if library.handle == NULL:
            raise RuntimeError(f"[metal] {name}: {reason_of(error)}")
        return library

    def pipeline(self, Library library not None, str function, dict constants, Archive archive):
        """A function of a library; ``constants`` by index, as bool, int or float."""
        cdef char[MLXC_METAL_ERROR] error
        cdef mlxc_metal_constant[64] values
        cdef bytes name = function.encode()
        cdef const char* bare = name
        cdef int count = 0
        cdef void* kept = archive.handle if archive is not None else NULL
        cdef Pipeline pipeline = Pipeline.__new__(Pipeline)
        cdef float number
        self.check()
        if len(constants) > 64:
            raise ValueError(f"[metal] {function} has {len(constants)} constants; at most 64")
        for index, value in sorted(constants.items()):
            values[count].index = index
            values[count].bits = 0
            if isinstance(value, bool):
                values[count].type = BOOL
                values[count].bits = value
            elif isinstance(value, int):
                values[count].type = INT
                values[count].bits = <uint64_t>value & 0xffffffff if value >= 0 \
                    else <uint64_t>(value + (1 << 32))
            else:
                values[count].type = FLOAT
                number = value
                memcpy(&values[count].bits, &number, sizeof(float))
            count += 1
        with nogil:
            pipeline.handle = api_pipeline(self.handle, library.handle, bare, values, count, kept,
                                           error)
        if pipeline.handle == NULL:
            raise RuntimeError(f"[metal] no kernel {function}: {reason_of(error)}")
        pipeline.name = function
        pipeline.max_threads = api_max_threads(pipeline.handle)
        pipeline.simd_width = api_simd_width(pipeline.handle)
        return pipeline

    def archive(self, path):
        """The archive in a file, begun anew if the file does not open; None where there is none."""
        cdef char[MLXC_METAL_ERROR] error
        cdef Archive archive = Archive.__new__(Archive)
        self.check()
        archive.handle = api_archive(self.handle, os.fsencode(path), error)
        return archive if archive.handle != NULL else None

    def allocated(self):
        """The bytes that the device's views of memory hold."""
        return api_allocated(self.handle)

    def start_capture(self, path):
        """Record the device's work; RuntimeError where it cannot be."""
        cdef char[MLXC_METAL_ERROR] error
        self.check()
        if api_capture_start(self.handle, os.fsencode(path), error):
            raise RuntimeError(f"[metal.start_capture] {path!r}: {reason_of(error)}")

    def stop_capture(self):
        """End the recording."""
        self.check()
        api_capture_stop()

    def check(self):
        """RuntimeError in a child of fork, where the device must not be used."""
        if not self.usable():
            raise RuntimeError(
                "[metal] the GPU cannot be used in a process made by fork; use the processor there "
                "(mx.set_default_device(mx.cpu)), or start processes with spawn"
            )

    cdef bint usable(self) noexcept nogil:
        return self.owner == getpid()

    cdef void keep_error(self, const char* error) noexcept nogil:
        if not self.failed:
            memcpy(self.error, error, MLXC_METAL_ERROR)
        self.failed = True

    cdef void* open(self) noexcept nogil:
        cdef char[MLXC_METAL_ERROR] error
        if self.encoder != NULL:
            return self.encoder
        if self.filling.commands == NULL:
            self.filling.count = 0
            self.filling.commands = api_begin(self.queue, error)
            if self.filling.commands == NULL:
                self.keep_error(error)
                return NULL
        self.encoder = api_encoder(self.filling.commands, error)
        if self.encoder == NULL:
            self.keep_error(error)
        return self.encoder

    cdef void close(self) noexcept nogil:
        if self.encoder != NULL:
            api_end(self.encoder)
            api_release(self.encoder)
            self.encoder = NULL

    cdef void count_dispatch(self, void* pipeline) noexcept nogil:
        self.filling.kernels[self.filling.count] = pipeline
        self.filling.count += 1
        self.dispatched += 1
        if self.filling.count >= FULL:
            self.commit()

    cdef void commit(self) noexcept nogil:
        """Send what was collected."""
        if self.filling.commands == NULL:
            return
        self.close()
        api_commit(self.filling.commands, NULL, NULL)
        self.sent[self.nsent] = self.filling
        self.filling.commands = NULL
        self.nsent += 1
        if self.nsent > IN_FLIGHT:
            self.wait_for_oldest()

    cdef void wait_for_oldest(self) noexcept nogil:
        cdef char[MLXC_METAL_ERROR] error
        if api_wait(self.sent[0].commands, error):
            if not self.failed:
                self.suspects = self.sent[0]
            self.keep_error(error)
        api_release(self.sent[0].commands)
        self.nsent -= 1
        memmove(self.sent, self.sent + 1, self.nsent * sizeof(Batch))

    cdef void finish(self) noexcept nogil:
        """Send what was collected and wait for everything; `failed` says whether all went well."""
        self.commit()
        while self.nsent:
            self.wait_for_oldest()

    cdef str take_error(self):
        """What failed first since the last time, with the kernels that it may have been."""
        cdef int k
        cdef str text = reason_of(self.error) or "the memory of an array is not the GPU's"
        names = {(<Pipeline>self.suspects.kernels[k]).name: None
                 for k in range(self.suspects.count)}
        self.failed = False
        self.suspects.count = 0
        return f"[metal] {text}" + (f" (while running {', '.join(names)})" if names else "")


cdef void set_pipeline(void* encoder, Pipeline pipeline) noexcept nogil:
    api_set_pipeline(encoder, pipeline.handle)


cdef void set_buffer(void* encoder, void* buffer, size_t offset, int index) noexcept nogil:
    api_set_buffer(encoder, buffer, offset, index)


cdef void set_bytes(void* encoder, const void* bytes, size_t nbytes, int index) noexcept nogil:
    api_set_bytes(encoder, bytes, nbytes, index)


cdef void set_threadgroup_memory(void* encoder, size_t nbytes, int index) noexcept nogil:
    api_set_threadgroup_memory(encoder, nbytes, index)


cdef void dispatch(void* encoder, const size_t* grid, const size_t* group,
                   bint groups) noexcept nogil:
    if groups:
        api_dispatch_groups(encoder, grid, group)
    else:
        api_dispatch_threads(encoder, grid, group)


cdef Device DEVICE = None


def _find_device():
    """Load the library and open the first device, if there is one."""
    global DEVICE
    cdef char[MLXC_METAL_ERROR] error
    path = os.environ.get("MLXC_METAL_LIBRARY", "")
    if path and load_library(os.fsencode(path), error):
        raise ImportError(f"[metal] MLXC_METAL_LIBRARY={path} does not load: {reason_of(error)}")
    if api_device_count() > 0:
        DEVICE = Device(0)
        use_device(DEVICE.handle, wrap_pages, release_handle, DEVICE.facts.page)


cdef Device device():
    return DEVICE


def get_device():
    """The device, or None where there is no Metal."""
    return DEVICE


_find_device()
