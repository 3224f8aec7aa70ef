"""The Metal shim's functions, and its objects as classes."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "objc/mlxc_metal.h" nogil:
    enum:
        MLXC_METAL_ERROR
    ctypedef struct mlxc_metal_info:
        char[256] name
        char[256] architecture
        uint64_t memory
        uint64_t recommended
        uint64_t max_buffer
        uint64_t threadgroup_memory
        uint64_t simd_width
        uint64_t max_threads
        uint64_t page
        int unified
    ctypedef struct mlxc_metal_constant:
        uint32_t index
        uint32_t type
        uint64_t bits

cdef enum:
    FULL = 64         # dispatches after which a command buffer is committed
    IN_FLIGHT = 16    # committed command buffers; beyond it the oldest is waited for

cdef struct Batch:           # a command buffer and the Pipelines that run in it (borrowed)
    void* commands
    int count
    void* kernels[FULL]

cdef class Pipeline:
    cdef void* handle
    cdef readonly str name
    cdef readonly size_t max_threads    # a threadgroup
    cdef readonly size_t simd_width

cdef class Device:
    """One device and its queue. Work is collected in a command buffer, which is committed when it
    is full, or when somebody waits."""
    cdef void* handle
    cdef void* queue
    cdef void* encoder           # of the batch being filled, or NULL: none is open
    cdef Batch filling
    cdef Batch* sent             # committed, oldest first
    cdef int nsent
    cdef char* error             # the first failure since the last wait,
    cdef Batch suspects          # and what ran in its command buffer
    cdef bint failed
    cdef readonly long dispatched    # dispatches so far
    cdef mlxc_metal_info facts
    cdef readonly dict info
    cdef readonly long owner     # process id

    # The encoder to write to, NULL with `error` set if there is none.
    cdef void* open(self) noexcept nogil
    # Note what was encoded; the Pipeline must live on.
    cdef void count_dispatch(self, void* pipeline) noexcept nogil
    cdef void close(self) noexcept nogil     # the encoder: the next one has nothing set
    cdef void commit(self) noexcept nogil
    cdef void finish(self) noexcept nogil
    cdef bint usable(self) noexcept nogil
    cdef void keep_error(self, const char* error) noexcept nogil
    cdef void wait_for_oldest(self) noexcept nogil
    cdef str take_error(self)

# The device in use, or None: asked once.
cdef Device device()
# Encoding, for executables
cdef void set_pipeline(void* encoder, Pipeline pipeline) noexcept nogil
cdef void set_buffer(void* encoder, void* buffer, size_t offset, int index) noexcept nogil
cdef void set_bytes(void* encoder, const void* bytes, size_t nbytes, int index) noexcept nogil
cdef void set_threadgroup_memory(void* encoder, size_t nbytes, int index) noexcept nogil
cdef void dispatch(void* encoder, const size_t* grid, const size_t* group,
                   bint groups) noexcept nogil
