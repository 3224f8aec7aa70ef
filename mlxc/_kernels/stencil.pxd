"""What the kernels of convolutions and pooling are handed: where windows stand, and what to do.

Spatial axes are always three; missing ones stand in front with size 1. An output position y reads
the input at (y * stride + tap * dilation - padding) / gap where that is a whole number. With gaps
(a dilated input) output positions fall into classes that each see a part of the taps only, so that
no zero is ever multiplied: an `Axis` describes one class.

Convolutions are sums of small products, read where the numbers stand: a tile is m rows by some
vectors of columns, and adds a[i * ra + k * ca] * b[k * rb + j] over k and over runs (pairs of
places). In the forward direction rows are pixels of a line, k the taps and channels that follow
each other, columns the result's channels. For the gradient of the weights k are the pixels of a
line, rows and columns channels. In `lanes` (every channel on its own) a is a vector as well.
"""

cdef struct Axis:
    Py_ssize_t size                 # of the input
    Py_ssize_t out                  # of the whole output
    Py_ssize_t first, step, count   # output positions of the class: first + i * step
    Py_ssize_t move                 # how far the input's position moves from i to i + 1
    Py_ssize_t taps                 # that reach the class
    Py_ssize_t tap, tap_step        # tap t is number tap + t * tap_step of the kernel's axis
    Py_ssize_t at, at_step          # it reads the input at at + t * at_step + i * move

cdef struct Run:
    const char* a
    const char* b

cdef struct Tile:
    const Run* runs
    Py_ssize_t count                # of runs
    Py_ssize_t length               # k from 0 to length in each
    Py_ssize_t ra, ca, rb           # steps in elements
    Py_ssize_t row                  # from row to row of the result, elements
    bint add                        # to what the result holds
    Py_ssize_t first, last          # sliding: inputs that lie inside, from the first row's on

# One tile of m rows and so many vectors; a_at, b_at: elements added to the places of all runs.
ctypedef void (*tile_fn)(
    const Tile* tile, int m, int vectors, Py_ssize_t a_at, Py_ssize_t b_at, char* c
) noexcept nogil

cdef struct Conv:
    # The problem. Arrays are row-major, channels last, except the weights.
    Py_ssize_t images
    Axis[3] axis
    const char* x
    char* y                         # the result, or its gradient
    char* w                         # weights, or where their gradient goes
    Py_ssize_t w_out                # bytes from one result channel to the next in w
    Py_ssize_t[3] w_tap             # ... from tap to tap
    Py_ssize_t w_in                 # ... from input channel to input channel
    int form                        # how all are stored: OWN, HALF or BRAIN
    Py_ssize_t itemsize             # bytes, stored
    Py_ssize_t x_pixel, y_pixel     # channels in memory
    bint pairs                      # channels of x, and all that counts them, are pairs of bfloat16
    int x_form                      # how x is stored: as form is, or OWN, if `pairs`
    Py_ssize_t x_bytes              # from pixel to pixel of x
    Py_ssize_t channels, results    # of the group in hand (of all, if `lanes`)
    Py_ssize_t group_in, group_out  # `lanes`: channels of a group
    bint lanes

    # The kernels' measures.
    tile_fn tile
    tile_fn slide                   # of lines whose rows stand as far apart as taps, in `lanes`
    int longest                     # most taps of lines that slide, 2 at least
    int rows, vectors, width        # most rows and vectors of a tile; elements of a vector

    # The plan.
    Py_ssize_t pitch                # from pixel to pixel of a copied line, elements
    Py_ssize_t wide                 # results, padded to whole vectors
    bint joined                     # whether taps of a line follow each other as channels do
    bint copied                     # whether lines must be copied
    Py_ssize_t bands, high          # blocks of output lines, and lines in each
    Py_ssize_t blocks, broad        # blocks of output columns, and columns in each
    Py_ssize_t splits               # parts that the result's channels are split into
    Py_ssize_t units
    Py_ssize_t line_bytes, run_bytes, worker_bytes  # copied lines, runs, all of a worker
    char* packed                    # weights in panels; for their gradient: partial sums
    char* scratch                   # worker_bytes for each worker

    # For the gradient of the weights.
    bint swapped                    # whether rows are the result's channels
    Py_ssize_t parts                # partial sums
    Py_ssize_t part_size            # elements of one
    Py_ssize_t segments             # blocks of pixels, all images
    bint y_copied
    Py_ssize_t y_pitch              # as read: elements from pixel to pixel

# Sliding windows over an image: channels last, everything row-major.
cdef struct Pool:
    const char* x                   # the input; not read by the mean's gradient
    const char* carried             # tangent (as x) or cotangent (as the result)
    char* out
    Py_ssize_t images, channels
    Py_ssize_t[3] size, result      # of the input and of the result
    Py_ssize_t[3] kernel, stride, padding
    int form                        # how floating numbers are stored
    Py_ssize_t itemsize             # bytes, stored
    bint mean
    bint tiled                      # whether every input pixel lies in exactly one window
    Py_ssize_t chunk, chunks        # channels of a unit of a gradient
    char* scratch                   # of a gradient in a narrow format: worker_bytes for each worker
    Py_ssize_t worker_bytes
