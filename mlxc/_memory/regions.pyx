"""Memory that a device can see: page-aligned regions, and their handles.

Design: where processor and device share memory, a device still asks for whole pages, and making its
view of them costs more than a small array. So blocks below a size lie in slabs, many of a size
class in one region; larger ones are regions of their own; and a region keeps the device's handle
until its pages go back to the system, through all the lives of the blocks in it. Memory of somebody
else (a NumPy array's) is lent to the device by its whole pages.

Rules: regions are found by address in a sorted table. One spin lock guards it, and is held across
fork: a child has the memory, but never touches the device's handles. Without a device nothing here
is used.
"""

import os

from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove

cdef extern from "<pthread.h>" nogil:
    ctypedef void (*fork_handler)() noexcept nogil
    int pthread_atfork(fork_handler, fork_handler, fork_handler)

cdef extern from * nogil:
    """
    #include <sched.h>
    #include <stdint.h>
    #include <sys/mman.h>
    /* Pages at a multiple of `align`: maps too much and gives back both ends. */
    static void *mlxc_map_aligned(size_t size, size_t align) {
        char *raw = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
        if (raw == (char *)MAP_FAILED) return NULL;
        char *data = (char *)(((uintptr_t)raw + align - 1) & ~(uintptr_t)(align - 1));
        if (data != raw) munmap(raw, data - raw);
        if (raw + align != data) munmap(data + size, raw + align - data);
    #ifdef MADV_HUGEPAGE
        if (align >= ((size_t)2 << 20)) madvise(data, size, MADV_HUGEPAGE);
    #endif
        return data;
    }
    static int mlxc_regions_word = 0;
    static inline void mlxc_regions_lock(void) {
        while (__atomic_exchange_n(&mlxc_regions_word, 1, __ATOMIC_ACQUIRE)) sched_yield();
    }
    static inline void mlxc_regions_unlock(void) {
        __atomic_store_n(&mlxc_regions_word, 0, __ATOMIC_RELEASE);
    }
    """
    void* map_aligned "mlxc_map_aligned"(size_t size, size_t align)
    int munmap(void*, size_t)
    void lock "mlxc_regions_lock"()
    void unlock "mlxc_regions_unlock"()

cdef enum:
    PAGE = 16384         # bytes: Apple's; a multiple of everybody's
    HUGE_PAGE = 2 << 20
    HUGE_FROM = 4 << 20  # bytes from which a region may be of huge pages
    SLAB = 1 << 20       # bytes of a slab
    SLABBED = 65536      # bytes up to which blocks lie in slabs
    SLAB_CLASSES = 1025

cdef struct Region:
    char* base
    size_t size          # bytes
    void* handle         # the device's view, or NULL: not asked for yet
    size_t shift         # bytes from the view's first to base
    size_t block         # bytes of a slab's blocks; 0: no slab
    size_t live          # blocks of a slab that are out
    void** given_back    # blocks of a slab, each pointing to the next
    char* fresh          # what nobody has had yet of a slab
    Region* next         # slab of the same block size that has room

cdef Region** TABLE = NULL
cdef Py_ssize_t COUNT = 0, SPACE = 0
cdef Region* WITH_ROOM[SLAB_CLASSES]    # by block size / 64
cdef void* DEVICE = NULL
cdef wrap_fn WRAP = NULL
cdef release_fn RELEASE = NULL
cdef size_t SMALLEST = 0     # bytes from which a block is a region of its own
cdef bint FORKED = False


cdef void after_fork_in_child() noexcept nogil:
    global FORKED
    FORKED = True
    unlock()


cdef int use_device(void* device, wrap_fn wrap, release_fn release, size_t page) except -1:
    """Serve memory that the device sees. Asked once; there is no way back."""
    global DEVICE, WRAP, RELEASE, SMALLEST
    if page == 0 or page > PAGE or PAGE % page:
        raise RuntimeError(f"[memory] a device with pages of {page} bytes; at most {PAGE}")
    if pthread_atfork(lock, unlock, after_fork_in_child):
        raise MemoryError("[memory] pthread_atfork failed")
    # Off: every block has pages of its own, so that what is written beside it is noticed.
    SMALLEST = 1 if os.environ.get("MLXC_METAL_SLABS", "1") == "0" else SLABBED + 1
    WRAP = wrap
    RELEASE = release
    DEVICE = device
    return 0


cdef bint regions_wanted() noexcept nogil:
    return DEVICE != NULL


cdef Py_ssize_t place(const char* address) noexcept nogil:
    """How many regions begin at or before an address."""
    cdef Py_ssize_t low = 0, high = COUNT, middle
    while low < high:
        middle = (low + high) // 2
        if TABLE[middle].base <= address:
            low = middle + 1
        else:
            high = middle
    return low


cdef Region* find(const char* address) noexcept nogil:
    cdef Py_ssize_t k = place(address)
    if k == 0 or address >= TABLE[k - 1].base + TABLE[k - 1].size:
        return NULL
    return TABLE[k - 1]


cdef bint enter(Region* region) noexcept nogil:
    global TABLE, SPACE, COUNT
    cdef Py_ssize_t k
    cdef void* larger
    if COUNT == SPACE:
        larger = realloc(TABLE, (2 * SPACE + 64) * sizeof(Region*))
        if larger == NULL:
            return False
        TABLE = <Region**>larger
        SPACE = 2 * SPACE + 64
    k = place(region.base)
    memmove(TABLE + k + 1, TABLE + k, (COUNT - k) * sizeof(Region*))
    TABLE[k] = region
    COUNT += 1
    return True


cdef void leave(Region* region) noexcept nogil:
    """Take a region out of the table and give its handle up."""
    global COUNT
    cdef Py_ssize_t k = place(region.base) - 1
    COUNT -= 1
    memmove(TABLE + k, TABLE + k + 1, (COUNT - k) * sizeof(Region*))
    if region.handle != NULL and not FORKED:
        RELEASE(region.handle)
    free(region)


cdef Region* new_region(size_t size) noexcept nogil:
    """Fresh pages; called with the lock held."""
    cdef Region* region = <Region*>calloc(1, sizeof(Region))
    if region == NULL:
        return NULL
    region.size = (size + PAGE - 1) // PAGE * PAGE
    region.base = <char*>map_aligned(region.size, HUGE_PAGE if size >= HUGE_FROM else PAGE)
    if region.base != NULL and enter(region):
        return region
    if region.base != NULL:
        munmap(region.base, region.size)
    free(region)
    return NULL


cdef void* region_alloc(size_t size) noexcept nogil:
    cdef Region* region
    cdef void* data = NULL
    cdef size_t klass = size // 64
    lock()
    if size >= SMALLEST:
        region = new_region(size)
        data = region.base if region != NULL else NULL
        unlock()
        return data
    region = WITH_ROOM[klass]
    if region == NULL:
        region = new_region(SLAB)
        if region != NULL:
            region.block = size
            region.fresh = region.base
            WITH_ROOM[klass] = region
    if region != NULL:
        if region.given_back != NULL:
            data = region.given_back
            region.given_back = <void**>region.given_back[0]
        else:
            data = region.fresh
            region.fresh += size
        region.live += 1
        if region.given_back == NULL and region.fresh + size > region.base + region.size:
            WITH_ROOM[klass] = region.next
            region.next = NULL
    unlock()
    return data


cdef bint region_free(void* data) noexcept nogil:
    cdef Region* region
    lock()
    region = find(<char*>data)
    if region == NULL:
        unlock()
        return False
    if region.block == 0:
        drop(region)
    else:
        give_back_block(region, <void**>data)
    unlock()
    return True


cdef void give_back_block(Region* region, void** data) noexcept nogil:
    cdef Region** link
    cdef size_t klass = region.block // 64
    cdef bint full = region.given_back == NULL \
        and region.fresh + region.block > region.base + region.size
    data[0] = region.given_back
    region.given_back = data
    region.live -= 1
    if full:
        region.next = WITH_ROOM[klass]
        WITH_ROOM[klass] = region
    if region.live == 0:
        link = &WITH_ROOM[klass]
        while link[0] != region:
            link = &link[0].next
        link[0] = region.next
        drop(region)


cdef void drop(Region* region) noexcept nogil:
    cdef char* base = region.base
    cdef size_t size = region.size
    leave(region)
    munmap(base, size)


cdef int region_of(const char* address, void** handle, size_t* offset, char* error) noexcept nogil:
    cdef Region* region
    cdef int failed = 0
    lock()
    region = find(address)
    if region == NULL:
        failed = 1
    else:
        if region.handle == NULL:
            region.handle = WRAP(DEVICE, region.base, region.size, error)
        handle[0] = region.handle
        offset[0] = address - region.base + region.shift
        failed = 2 if region.handle == NULL else 0
    unlock()
    return failed


cdef bint in_region(const char* address) noexcept nogil:
    cdef bint found
    lock()
    found = find(address) != NULL
    unlock()
    return found


cdef int region_lend(char* data, size_t nbytes) noexcept nogil:
    cdef char[ERROR_BYTES] error
    cdef uintptr_t first = <uintptr_t>data // PAGE * PAGE
    cdef uintptr_t last = (<uintptr_t>data + nbytes + PAGE - 1) // PAGE * PAGE
    cdef Region* region
    cdef Py_ssize_t k
    lock()
    region = find(data)
    if region != NULL:      # lent already, with somebody else's array over the same memory
        k = 0 if data + nbytes <= region.base + region.size else 1
        unlock()
        return <int>k
    k = place(data)
    region = NULL
    if nbytes and (k == COUNT or TABLE[k].base >= data + nbytes):
        region = <Region*>calloc(1, sizeof(Region))
    if region != NULL:
        region.base = data
        region.size = nbytes
        region.shift = <uintptr_t>data - first
        region.handle = WRAP(DEVICE, <void*>first, last - first, error)
        if region.handle == NULL or not enter(region):
            if region.handle != NULL:
                RELEASE(region.handle)
            free(region)
            region = NULL
    unlock()
    return 0 if region != NULL else 1


cdef void region_forget(char* data, size_t nbytes) noexcept nogil:
    cdef Region* region
    lock()
    region = find(data)
    if region != NULL and region.base == data and region.size == nbytes:
        leave(region)
    unlock()


def regions():
    """How many regions there are, how many of them are slabs, and how many the device has a view
    of: what tests watch."""
    cdef Py_ssize_t k
    slabs = viewed = 0
    lock()
    for k in range(COUNT):
        slabs += TABLE[k].block != 0
        viewed += TABLE[k].handle != NULL
    unlock()
    return COUNT, slabs, viewed
