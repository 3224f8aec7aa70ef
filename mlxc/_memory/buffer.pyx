"""Buffers: the bytes behind arrays, from a bounded cache of freed blocks.

Design: a fresh large block costs more than the arithmetic on it (page faults), so freed blocks are
kept on free lists, one a size class, four classes a power of two. The lists are threaded through
the freed blocks themselves. When the cache is over its limit, blocks of the class that was unused
for longest go first. Where a device shares the memory, blocks come from regions that it can see.

Rules: one spin lock guards the lists and the counts; nothing is allocated or given back to the
system while it is held, and it is held across fork, so that a child finds the lists whole. Sizes
are 64-bit bytes throughout. Built with the address sanitiser, bytes of a block beyond those asked
for and freed blocks are poisoned: the cache would hide their misuse.
"""

import operator
import os

cimport cython
from libc.stdint cimport uint64_t
from libc.stdlib cimport free

from mlxc._memory.regions cimport region_alloc, region_forget, region_free, regions_wanted

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void**, size_t, size_t)

cdef extern from "<pthread.h>" nogil:
    ctypedef void (*fork_handler)() noexcept nogil
    int pthread_atfork(fork_handler, fork_handler, fork_handler)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <sys/mman.h>
    #ifdef __SANITIZE_ADDRESS__
    #include <sanitizer/asan_interface.h>
    #else
    #define ASAN_POISON_MEMORY_REGION(data, size)
    #define ASAN_UNPOISON_MEMORY_REGION(data, size)
    #endif
    /* For the address sanitiser: of a block in use, `used` bytes may be touched. */
    static inline char *mlxc_open(void *data, size_t used, size_t size) {
        if (!data) return NULL;
        ASAN_UNPOISON_MEMORY_REGION(data, used);
        ASAN_POISON_MEMORY_REGION((char *)data + used, size - used);
        return data;
    }
    #define MLXC_HUGE ((size_t)2 << 20)
    /* 2 MiB alignment, so that huge pages can be used: maps too much and gives back both ends. */
    static void *mlxc_map(size_t size) {
        int how = MAP_PRIVATE | MAP_ANON;
        char *raw = mmap(NULL, size + MLXC_HUGE, PROT_READ | PROT_WRITE, how, -1, 0);
        if (raw == (char *)MAP_FAILED) return NULL;
        char *data = (char *)(((uintptr_t)raw + MLXC_HUGE - 1) & ~(uintptr_t)(MLXC_HUGE - 1));
        if (data != raw) munmap(raw, data - raw);
        if (raw + MLXC_HUGE != data) munmap(data + size, raw + MLXC_HUGE - data);
    #ifdef MADV_HUGEPAGE
        madvise(data, size, MADV_HUGEPAGE);
    #endif
        return data;
    }
    static inline int mlxc_highest_bit(uint64_t n) { return 63 - __builtin_clzll(n); }
    static inline int mlxc_try_lock(int *lock) {
        return !__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE);
    }
    static inline int mlxc_is_locked(int *lock) { return __atomic_load_n(lock, __ATOMIC_RELAXED); }
    static inline void mlxc_unlock(int *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }
    """
    char* open_block "mlxc_open"(void*, size_t, size_t)
    void* map_pages "mlxc_map"(size_t)
    int munmap(void*, size_t)
    int highest_bit "mlxc_highest_bit"(uint64_t)
    bint try_lock "mlxc_try_lock"(int*)
    bint is_locked "mlxc_is_locked"(int*)
    void unlock_word "mlxc_unlock"(int*)

cdef struct Block:  # the first bytes of a freed block
    Block* next
    Py_ssize_t size  # bytes

cdef enum:
    CLASSES = 168
    PAGED = 4 << 20  # bytes from which blocks are mapped by themselves

cdef Py_ssize_t LARGEST = <Py_ssize_t>1 << 48  # bytes: no machine has more address space
cdef int word = 0  # the lock
cdef Block* freed[CLASSES]
cdef uint64_t[CLASSES] used_at  # value of `ticks` when the class was last used
cdef uint64_t ticks = 0
cdef Py_ssize_t active = 0, peak = 0, cached = 0  # bytes
cdef Py_ssize_t cache_limit = 0, memory_limit = 0, wired_limit = 0  # bytes
cdef bint limit_given = False  # whether the user set the memory limit


cdef inline void lock() noexcept nogil:
    while not try_lock(&word):
        while is_locked(&word):
            sched_yield()


cdef void lock_for_fork() noexcept nogil:
    lock()


cdef void unlock() noexcept nogil:
    unlock_word(&word)


cdef inline int class_of(Py_ssize_t nbytes, Py_ssize_t* size) noexcept nogil:
    """The size class of a request of 1..LARGEST bytes, and the bytes of its blocks: a multiple of
    64."""
    cdef int bit
    cdef Py_ssize_t quarter
    if nbytes <= 256:
        quarter = (nbytes - 1) >> 6
        size[0] = (quarter + 1) << 6
        return <int>quarter
    bit = highest_bit(<uint64_t>(nbytes - 1))
    quarter = (nbytes - 1) >> (bit - 2)
    size[0] = (quarter + 1) << (bit - 2)
    return (bit - 8) * 4 + <int>quarter


cdef Py_ssize_t block_size(Py_ssize_t nbytes) noexcept nogil:
    cdef Py_ssize_t size
    class_of(max(nbytes, 1), &size)
    return size


cdef inline void count_active(Py_ssize_t size) noexcept nogil:
    global active, peak
    active += size
    if active > peak:
        peak = active


cdef inline char* take(Py_ssize_t nbytes, Py_ssize_t* size) noexcept nogil:
    """A block of at least nbytes from the cache or the system; NULL if there is none."""
    global cached, ticks
    cdef int klass
    cdef Block* block
    if nbytes <= 0:
        if nbytes < 0:
            return NULL
        nbytes = 1
    if nbytes > LARGEST:
        return NULL
    klass = class_of(nbytes, size)
    lock()
    block = freed[klass]
    if block == NULL:
        return open_block(take_from_system(size[0]), nbytes, size[0])
    freed[klass] = block.next
    ticks += 1
    used_at[klass] = ticks
    cached -= size[0]
    count_active(size[0])
    unlock_word(&word)
    return open_block(block, nbytes, size[0])


cdef char* take_from_system(Py_ssize_t size) noexcept nogil:
    """Called with the lock held, returns without it."""
    global active
    cdef Block* evicted
    cdef void* data
    if size > memory_limit or (limit_given and active + size > memory_limit):
        unlock_word(&word)
        return NULL
    evicted = evict(max(memory_limit - active - size, 0))
    count_active(size)
    unlock_word(&word)
    free_chain(evicted)
    data = allocate(size)
    if data == NULL:
        lock()
        evicted = evict(0)
        unlock_word(&word)
        free_chain(evicted)
        data = allocate(size)
    if data == NULL:
        lock()
        active -= size
        unlock_word(&word)
    return <char*>data


cdef inline void put_back(char* data, Py_ssize_t nbytes) noexcept nogil:
    """Give a block of the class of nbytes to the cache."""
    global active, cached, ticks
    cdef Block* block = <Block*>data
    cdef Py_ssize_t size
    cdef int klass = class_of(max(nbytes, 1), &size)
    open_block(data, sizeof(Block), size)
    block.size = size
    lock()
    active -= size
    if size > cache_limit:
        unlock_word(&word)
        release(block)
        return
    block.next = freed[klass]
    freed[klass] = block
    ticks += 1
    used_at[klass] = ticks
    cached += size
    if cached <= cache_limit:
        unlock_word(&word)
        return
    block = evict(cache_limit)
    unlock_word(&word)
    free_chain(block)


cdef Block* evict(Py_ssize_t goal) noexcept nogil:
    """Take blocks out of the cache, stale classes first, until it holds at most goal bytes.

    Called with the lock held."""
    global cached
    cdef Block* chain = NULL
    cdef Block* block
    cdef int klass, stale
    while cached > goal:
        stale = -1
        for klass in range(CLASSES):
            if freed[klass] != NULL and (stale < 0 or used_at[klass] < used_at[stale]):
                stale = klass
        while cached > goal and freed[stale] != NULL:
            block = freed[stale]
            freed[stale] = block.next
            cached -= block.size
            block.next = chain
            chain = block
    return chain


cdef void free_chain(Block* chain) noexcept nogil:
    cdef Block* block
    while chain != NULL:
        block = chain
        chain = chain.next
        release(block)


cdef void* allocate(Py_ssize_t size) noexcept nogil:
    cdef void* data = NULL
    if regions_wanted():
        return region_alloc(size)
    if size >= PAGED:
        return map_pages(size)
    if posix_memalign(&data, 64, size):
        return NULL
    return data


cdef void release(Block* block) noexcept nogil:
    open_block(block, block.size, block.size)
    if regions_wanted() and region_free(block):
        return
    if block.size >= PAGED:
        munmap(block, block.size)
    else:
        free(block)


# No cycle collection: an owner that holds the array over its own memory is not worth 30 % of every
# allocation.
@cython.freelist(512)
@cython.no_gc
cdef class Buffer:
    """Bytes of an array. Made by compiled code only; one made from Python is empty."""

    def __dealloc__(self):
        if self.data != NULL and self.owner is None:
            put_back(self.data, self.nbytes)
        elif self.data != NULL and regions_wanted():
            region_forget(self.data, self.nbytes)


cdef Buffer new_buffer(Py_ssize_t nbytes):
    cdef Buffer buffer = Buffer.__new__(Buffer)
    buffer.data = take(nbytes, &buffer.nbytes)
    if buffer.data == NULL:
        raise_no_memory(nbytes)
    return buffer


cdef int raise_no_memory(Py_ssize_t nbytes) except -1:
    if nbytes < 0:
        raise MemoryError("[memory] the size in bytes does not fit 64 bits.")
    raise MemoryError(
        f"[memory] no room for {nbytes} bytes: {active} are in use, the limit is {memory_limit}; "
        "free arrays, or raise the limit with set_memory_limit."
    )


cdef Buffer wrap_buffer(char* data, Py_ssize_t nbytes, object owner, bint readonly):
    cdef Buffer buffer = Buffer.__new__(Buffer)
    if owner is None:
        raise ValueError("[memory] foreign memory needs an owner")
    buffer.owner = owner
    buffer.data = data
    buffer.nbytes = nbytes
    buffer.readonly = readonly
    return buffer


cdef char* scratch_alloc(Py_ssize_t nbytes) noexcept nogil:
    cdef Py_ssize_t size
    return take(nbytes, &size)


cdef void scratch_free(char* data, Py_ssize_t nbytes) noexcept nogil:
    if data != NULL:
        put_back(data, nbytes)


def get_active_memory():
    """The bytes that arrays and running kernels hold now, the cache and foreign memory not counted.

    Returns:
        int: bytes.

    >>> get_active_memory() >= 0
    True
    """
    return active


def get_peak_memory():
    """The most bytes that were ever active, or since `reset_peak_memory`.

    Returns:
        int: bytes.

    >>> get_peak_memory() >= 0
    True
    """
    return peak


def reset_peak_memory():
    """Forget the peak of active memory: it counts from zero again.

    >>> reset_peak_memory()
    >>> get_peak_memory()
    0
    """
    global peak
    lock()
    peak = 0
    unlock_word(&word)


def get_cache_memory():
    """The bytes of freed blocks that are kept for reuse.

    Returns:
        int: bytes.

    >>> clear_cache()
    >>> get_cache_memory()
    0
    """
    return cached


def clear_cache():
    """Give all freed blocks back to the system.

    >>> clear_cache()
    """
    trim(0)


def set_cache_limit(limit):
    """Limit the bytes of freed blocks that are kept; what is above goes back to the system at once.

    Args:
        limit (int): bytes; 0 keeps nothing. At first a quarter of the memory, at most 8 GiB.

    Returns:
        int: the limit before.

    Raises:
        TypeError: if ``limit`` is not an integer.
        ValueError: if it is negative or beyond 64 bits.

    >>> before = set_cache_limit(0)
    >>> set_cache_limit(before)
    0
    """
    global cache_limit
    cdef Py_ssize_t before = cache_limit
    cache_limit = checked_limit(limit, "set_cache_limit")
    trim(cache_limit)
    return before


def set_memory_limit(limit):
    """Limit the bytes of active memory; an allocation above it raises MemoryError.

    Until this is called only a single block above the limit is refused, and what the system
    refuses.

    Args:
        limit (int): bytes. At first 1.5 times the memory of the machine (or of its control group).

    Returns:
        int: the limit before.

    Raises:
        TypeError: if ``limit`` is not an integer.
        ValueError: if it is negative or beyond 64 bits.

    >>> before = set_memory_limit(1 << 30)
    >>> set_memory_limit(before)
    1073741824
    """
    global memory_limit, limit_given
    cdef Py_ssize_t before = memory_limit
    memory_limit = checked_limit(limit, "set_memory_limit")
    limit_given = True
    trim(max(memory_limit - active, 0))
    return before


def get_memory_limit():
    """The limit of active memory in bytes; see `set_memory_limit`.

    Returns:
        int: bytes.

    >>> get_memory_limit() > 0
    True
    """
    return memory_limit


def set_wired_limit(limit):
    """Set how many bytes stay resident for a Metal device; elsewhere the number is only kept.

    Args:
        limit (int): bytes. At first 0.

    Returns:
        int: the limit before.

    Raises:
        TypeError: if ``limit`` is not an integer.
        ValueError: if it is negative or beyond 64 bits.

    >>> set_wired_limit(0)
    0
    """
    global wired_limit
    cdef Py_ssize_t before = wired_limit
    wired_limit = checked_limit(limit, "set_wired_limit")
    return before


cdef void trim(Py_ssize_t goal) noexcept:
    cdef Block* chain
    lock()
    chain = evict(goal)
    unlock_word(&word)
    with nogil:
        free_chain(chain)


cdef Py_ssize_t checked_limit(object limit, str name) except -1:
    number = operator.index(limit)
    if not 0 <= number < 1 << 63:
        raise ValueError(f"[{name}] limit is {number}; give a number of bytes from 0 to 2**63 - 1.")
    return number


def _memory_of_machine():
    """Bytes of memory, or of the control group (container) if that has fewer."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                memory = min(memory, int(file.read()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return memory


memory_limit = _memory_of_machine() * 3 // 2
cache_limit = min(_memory_of_machine() // 4, 8 << 30)
if pthread_atfork(lock_for_fork, unlock, unlock):
    raise MemoryError("[memory] pthread_atfork failed")
