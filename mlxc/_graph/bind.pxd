"""Making nodes: the rows' facts as C arrays, dtype rules, shape rules."""

from mlxc._graph.node cimport Node

cdef enum:
    MAX_ROWS = 512

cdef enum:                 # row_kind
    ELEMENTWISE = 0
    REDUCTION = 1
    MOVEMENT = 2
    KERNEL = 3

cdef int[MAX_ROWS] row_kind
cdef int[MAX_ROWS] row_arity
# elementwise, reduction: what operands of a dtype become; 255 refused
cdef unsigned char[MAX_ROWS][16] operand_dtype
# elementwise, reduction: what comes out, by operand dtype
cdef unsigned char[MAX_ROWS][16] result_dtype

# Codes of the movement rows, which are compiled by name.
cdef int ASTYPE, BROADCAST, TRANSPOSE, RESHAPE, SLICE, AS_STRIDED, VIEW, PICK, SELECT, ATTACH

cdef int row_code(str name) except -1
cdef Node bind_unary(int op, Node x)
cdef Node bind_binary(int op, Node x, Node y)
cdef Node bind_elementwise(int op, list operands)
cdef Node bind_reduction(int op, Node x, tuple axes, bint keepdims)
cdef Node cast(Node x, int dtype)
cdef Node broadcast(Node x, int ndim, const Py_ssize_t* shape)
cdef Node broadcast_to_tuple(Node x, tuple shape)
cdef Node reshape(Node x, tuple shape)
cdef Node transpose(Node x, tuple axes)
cdef Node pick_again(Node bundle, int k)
cdef object bind_row(int op, tuple inputs, tuple params)   # a Node, or a tuple of Nodes
cdef int check_size(int op, int ndim, const Py_ssize_t* shape) except -1
cdef Node like(Node x, int dtype)
cdef bint same_shape(Node x, Node y) noexcept
