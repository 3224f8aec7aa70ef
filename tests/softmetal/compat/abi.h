// What compiled shaders and the software Metal's runtime know of each other.
//
// Rules: no includes, since shaders are compiled without a system; all names in `softmetal` or sm_.
#pragma once

namespace softmetal {

struct Size {
    unsigned x, y, z;
};

// What all threads of a threadgroup share.
struct Launch {
    void *buffers[31];
    unsigned long lengths[31];
    void *threadgroup[31];
    Size threads, group, groups; // of the grid, of a full threadgroup, and how many of those
};

// One thread.
struct Thread {
    Size in_grid, group, in_group, group_size;
    unsigned index, lane, simdgroup, simdgroups;
};

// A table of these, ended by one without a name, is what a shader's library exports.
struct Kernel {
    const char *name;
    void (*run)(const Launch &, const Thread &);
    unsigned max_threads; // a threadgroup; 0: the device's limit
};

// Where the lanes of a simdgroup meet: the last to come combines what all brought.
struct Slots {
    static constexpr unsigned size = 64; // bytes a lane
    unsigned active;                     // bit mask of lanes
    alignas(64) unsigned char in[32][size], out[32][size];
};

enum Scope : int { simdgroup_scope, threadgroup_scope };
enum Memory : int { no_memory = 0, device_memory = 1, threadgroup_memory = 2 };

} // namespace softmetal

extern "C" {
unsigned sm_lane_index(void);
void sm_barrier(int scope, int memory);
// Waits for the other lanes. Those at another operation are a fault of the kernel.
void sm_meet(int operation, const void *in, unsigned in_size, void *out, unsigned out_size,
             void (*combine)(softmetal::Slots &));
// The threadgroup's array of that number; the same for all its threads.
void *sm_threadgroup_array(unsigned number, unsigned long nbytes, unsigned long alignment,
                           const char *name);
[[noreturn]] void sm_fault(const char *text);
// The function constants of the library that is being loaded, and which are given.
const unsigned long *sm_constant_bits(void);
const unsigned char *sm_constant_types(void);
}
