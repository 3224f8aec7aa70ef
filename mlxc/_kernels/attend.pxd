"""What the attention kernels are handed: one call, cut into units of query rows that share their
keys."""

from mlxc._kernels.types cimport f32

cdef enum:
    UNMASKED = 0   # what `mask` holds
    BOOLEAN = 1
    ADDITIVE = 2   # float32

cdef enum:
    UNIT = 64      # query rows of a unit
    KEYS = 64      # keys of a tile

cdef struct Attend:
    const char* q        # (batch, heads, queries, size)
    const char* k        # (batch, kv_heads, keys, size)
    const char* v        # (batch, kv_heads, keys, width)
    const char* mask     # (batch, heads, queries, keys)
    const char* sinks    # (batch, heads), float32
    char* out            # (batch, heads, queries, width), dense
    Py_ssize_t[4] q_strides      # bytes
    Py_ssize_t[4] k_strides
    Py_ssize_t[4] v_strides
    Py_ssize_t[4] mask_strides
    Py_ssize_t[2] sink_strides
    Py_ssize_t kv_heads, group, queries, keys, size, width  # group: query heads a head of keys
    Py_ssize_t units     # a head of keys
    int form             # of q, k, v and out: F32, F16 or BF16
    int itemsize
    int masking
    bint causal          # query t sees keys up to t + keys - queries
    f32 scale
    char* scratch
    Py_ssize_t scratch_bytes     # a worker
