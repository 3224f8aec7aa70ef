// Pooling: maxima and means of sliding windows, channels last, and what derivatives ask for.
//
// Rules: images are (n, depth, height, width, channels), one and two spatial axes have leading
// sizes of 1; a thread computes one number, and neighbours are channels. Gradients are gathered: a
// thread for each pixel asks the windows that see it. Floats are computed in float32.
#include "common.h"

constant uint DTYPE [[function_constant(0)]];

// As `mlxc/_backends/metal/pool.py` packs it; three numbers: depth, height, width.
struct Pool {
    uint size[3], result[3], kernel_size[3], stride[3], padding[3];
    uint channels;
    float volume; // of a window, with what lies in the padding
};

// Places from `first` to `end` along every axis, and one of them: pixels of a window, or windows of
// a pixel, of one channel of one image.
struct Box {
    uint first[3], end[3], at[3];
    uint channel;
    ulong image;

    void start() {
        for (int axis = 0; axis < 3; axis++)
            at[axis] = first[axis];
        if (first[1] == end[1] || first[2] == end[2])
            at[0] = end[0]; // nothing
    }

    bool more() const { return at[0] < end[0]; }

    void next() {
        if (++at[2] < end[2])
            return;
        at[2] = first[2];
        if (++at[1] < end[1])
            return;
        at[1] = first[1];
        ++at[0];
    }

    // The number of the place in an array of images of `size`.
    ulong place(constant const uint *size, uint channels) const {
        ulong pixel = ((image * size[0] + at[0]) * size[1] + at[1]) * size[2] + at[2];
        return pixel * channels + channel;
    }
};

// The pixels that the window of a result sees.
inline Box find_pixels(constant Pool &p, uint number) {
    Box box;
    box.channel = number % p.channels;
    uint rest = number / p.channels;
#pragma unroll
    for (int axis = 2; axis >= 0; axis--) {
        uint start = rest % p.result[axis] * p.stride[axis], shift = p.padding[axis];
        uint end = min(start + p.kernel_size[axis], p.size[axis] + shift);
        box.first[axis] = start > shift ? start - shift : 0;
        box.end[axis] = max(end > shift ? end - shift : 0, box.first[axis]);
        rest /= p.result[axis];
    }
    box.image = rest;
    return box;
}

// The windows that see the pixel of a number.
inline Box find_windows(constant Pool &p, uint number) {
    Box box;
    box.channel = number % p.channels;
    uint rest = number / p.channels;
#pragma unroll
    for (int axis = 2; axis >= 0; axis--) {
        uint place = rest % p.size[axis] + p.padding[axis], step = p.stride[axis];
        uint behind = place + 1 > p.kernel_size[axis] ? place + 1 - p.kernel_size[axis] : 0;
        box.end[axis] = min(place / step + 1, p.result[axis]);
        box.first[axis] = min((behind + step - 1) / step, box.end[axis]);
        rest /= p.size[axis];
    }
    box.image = rest;
    return box;
}

inline float load(device const uchar *memory, ulong place) {
    return Element<float>::load(memory, place, DTYPE);
}

inline void store(device uchar *memory, ulong place, float value) {
    Element<float>::store(memory, place, DTYPE, value);
}

// NaN wins, and whoever is NaN attains it.
template <typename A> inline A higher(A best, A value) {
    return value > best || value != value ? value : best;
}

inline bool attains(float value, float best) { return value == best || value != value; }

inline float find_best(constant Pool &p, device const uchar *x, Box box) {
    float best = -INFINITY;
    for (box.start(); box.more(); box.next())
        best = higher<float>(best, load(x, box.place(p.size, p.channels)));
    return best;
}

// Padding attains a maximum of minus infinity too.
inline float find_padding(constant Pool &p, thread const Box &box, float best) {
    float inside = 1.0f;
    for (int axis = 0; axis < 3; axis++)
        inside *= float(box.end[axis] - box.first[axis]);
    return best == -INFINITY ? p.volume - inside : 0.0f;
}

template <typename A> struct Least;
template <> struct Least<int> {
    static int value() { return int(0x80000000u); }
};
template <> struct Least<uint> {
    static uint value() { return 0u; }
};
template <> struct Least<long> {
    static long value() { return long(0x8000000000000000ul); }
};
template <> struct Least<ulong> {
    static ulong value() { return 0ul; }
};
template <> struct Least<float> {
    static float value() { return -INFINITY; }
};

// Of the dtype: narrow integers compute in int.
template <typename A> inline A least() {
    switch (DTYPE) {
    case DTYPE_INT8:
        return A(-128);
    case DTYPE_INT16:
        return A(-32768);
    case DTYPE_BOOL:
    case DTYPE_UINT8:
    case DTYPE_UINT16:
        return A(0);
    default:
        return Least<A>::value();
    }
}

// A thread a number of the result, here and in the next two.
template <typename A>
[[kernel]] void pool_max(device const uchar *x [[buffer(0)]], device uchar *out [[buffer(1)]],
                         constant Pool &p [[buffer(2)]], uint number [[thread_position_in_grid]]) {
    Box box = find_pixels(p, number);
    A best = least<A>();
    for (box.start(); box.more(); box.next())
        best = higher<A>(best, Element<A>::load(x, box.place(p.size, p.channels), DTYPE));
    Element<A>::store(out, number, DTYPE, best);
}

[[kernel]] void pool_mean(device const uchar *x [[buffer(0)]], device uchar *out [[buffer(1)]],
                          constant Pool &p [[buffer(2)]], uint number [[thread_position_in_grid]]) {
    Box box = find_pixels(p, number);
    float sum = 0.0f;
    for (box.start(); box.more(); box.next())
        sum += load(x, box.place(p.size, p.channels));
    store(out, number, sum / p.volume);
}

// The mean tangent of the values that attain the maximum.
[[kernel]] void pool_tangent(device const uchar *x [[buffer(0)]],
                             device const uchar *tangent [[buffer(1)]],
                             device uchar *out [[buffer(2)]], constant Pool &p [[buffer(3)]],
                             uint number [[thread_position_in_grid]]) {
    Box box = find_pixels(p, number);
    float best = find_best(p, x, box), sum = 0.0f, count = find_padding(p, box, best);
    for (box.start(); box.more(); box.next()) {
        ulong place = box.place(p.size, p.channels);
        if (!attains(load(x, place), best))
            continue;
        sum += load(tangent, place);
        count += 1.0f;
    }
    store(out, number, sum / count);
}

// Each window's maximum, and the share of its cotangent that a value that attains it is given.
[[kernel]] void pool_shares(device const uchar *x [[buffer(0)]],
                            device const uchar *ct [[buffer(1)]],
                            device float2 *shares [[buffer(2)]], constant Pool &p [[buffer(3)]],
                            uint number [[thread_position_in_grid]]) {
    Box box = find_pixels(p, number);
    float best = find_best(p, x, box), count = find_padding(p, box, best);
    for (box.start(); box.more(); box.next())
        count += attains(load(x, box.place(p.size, p.channels)), best) ? 1.0f : 0.0f;
    shares[number] = float2(best, load(ct, number) / count);
}

// A thread a number of the image, here and in the next.
[[kernel]] void pool_award(device const uchar *x [[buffer(0)]],
                           device const float2 *shares [[buffer(1)]],
                           device uchar *out [[buffer(2)]], constant Pool &p [[buffer(3)]],
                           uint number [[thread_position_in_grid]]) {
    Box box = find_windows(p, number);
    float value = load(x, number), sum = 0.0f;
    for (box.start(); box.more(); box.next()) {
        float2 share = shares[box.place(p.result, p.channels)];
        sum += attains(value, share.x) ? share.y : 0.0f;
    }
    store(out, number, sum);
}

[[kernel]] void pool_spread(device const uchar *ct [[buffer(0)]], device uchar *out [[buffer(1)]],
                            constant Pool &p [[buffer(2)]],
                            uint number [[thread_position_in_grid]]) {
    Box box = find_windows(p, number);
    float sum = 0.0f;
    for (box.start(); box.more(); box.next())
        sum += load(ct, box.place(p.result, p.channels)) / p.volume;
    store(out, number, sum);
}

#define POOL_KERNEL(name, A)                                                                       \
    template [[host_name("pool_max_" name)]] [[kernel]] decltype(pool_max<A>) pool_max<A>;

POOL_KERNEL("i32", int)
POOL_KERNEL("u32", uint)
POOL_KERNEL("i64", long)
POOL_KERNEL("u64", ulong)
POOL_KERNEL("f32", float)
