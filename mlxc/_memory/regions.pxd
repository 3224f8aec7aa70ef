"""Memory that a device can see: page-aligned regions, and their handles."""

# A device's view of pages, NULL with a sentence in `error` on failure; and giving it up.
ctypedef void* (*wrap_fn)(void* device, void* pages, size_t nbytes, char* error) noexcept nogil
ctypedef void (*release_fn)(void* handle) noexcept nogil

cdef enum:
    ERROR_BYTES = 4096

# From now on `region_alloc` serves all memory. page: bytes, a power of two up to 16384.
cdef int use_device(void* device, wrap_fn wrap, release_fn release, size_t page) except -1
cdef bint regions_wanted() noexcept nogil
# size: bytes of a size class. NULL if there is no memory.
cdef void* region_alloc(size_t size) noexcept nogil
# False: the memory is no region's.
cdef bint region_free(void* data) noexcept nogil
# Handle and offset (bytes) of an address in a region: 0; 1 outside of all; 2 the device refused.
cdef int region_of(const char* address, void** handle, size_t* offset, char* error) noexcept nogil
cdef bint in_region(const char* address) noexcept nogil
# Let the device see memory of somebody else; 0, or 1 where it cannot.
cdef int region_lend(char* data, size_t nbytes) noexcept nogil
cdef void region_forget(char* data, size_t nbytes) noexcept nogil
