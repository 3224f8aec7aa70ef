// Check mode: every access of a kernel is looked at before it happens.
//
// Shaders are compiled as for a thread sanitizer, whose callbacks stand here. Each byte of a buffer
// and of threadgroup memory has a cell that remembers who wrote it and who read it last, between
// which barriers. Rules: two accesses of different threads, one a write and not both atomic, must
// have a barrier of the right kind between them, or be in different dispatches; nothing orders
// threadgroups. What is found depends on the kernel alone, not on the order in which threads run.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "worker.h"

namespace softmetal {

std::string path_of_library(const void *base); // processor.cc

enum : uint8_t {
    was_written = 1,
    was_read = 2,
    write_atomic = 4,
    reads_atomic = 8,      // all of them
    many_threads = 16,     // read by several, between the same barriers of a simdgroup
    many_simdgroups = 32,  // read by several, between the same barriers of a threadgroup
    many_threadgroups = 64 // read by several
};

// Who did something last, and after how many barriers.
struct Visit {
    uint32_t group, epoch, simd_epoch;
    uint16_t thread;
};

struct Cell {
    uint32_t stamp; // of the dispatch, or threadgroup, that this cell speaks of
    uint8_t flags;
    Visit write, read;
};

struct Region {
    char *start, *end; // what may be touched
    Cell *cells;
    unsigned buffer;
    bool read_only;
};

static std::map<void *, std::pair<Cell *, size_t>> shadows; // by Block; kept while it is bound
static std::vector<Region> regions;
static Cell *arena_cells;
static uint32_t dispatches, groups;

static Cell *new_cells(size_t nbytes) {
    void *cells = mmap(nullptr, nbytes * sizeof(Cell), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return cells == MAP_FAILED ? nullptr : (Cell *)cells;
}

void shadow_begin_dispatch(const sm_dispatch &d) {
    dispatches++;
    regions.clear();
    for (auto &each : shadows)
        if (std::find(d.owners, d.owners + SM_BUFFERS, each.first) == d.owners + SM_BUFFERS) {
            munmap(each.second.first, each.second.second * sizeof(Cell));
            each.second.first = nullptr;
        }
    for (auto it = shadows.begin(); it != shadows.end();)
        it = it->second.first ? std::next(it) : shadows.erase(it);
    for (unsigned i = 0; i < SM_BUFFERS; i++) {
        char *start = (char *)d.buffers[i];
        if (!start)
            continue;
        if (!d.owners[i]) {
            regions.push_back({start, start + d.lengths[i], nullptr, i, true});
            continue;
        }
        Span span = span_of(d.owners[i]);
        size_t nbytes = (size_t)(span.end - span.start);
        auto &shadow = shadows[d.owners[i]];
        if (shadow.first && shadow.second != nbytes) { // another buffer, at the same address
            munmap(shadow.first, shadow.second * sizeof(Cell));
            shadow.first = nullptr;
        }
        if (!shadow.first)
            shadow = {new_cells(nbytes), nbytes};
        regions.push_back({span.start, span.end, shadow.first, i, false});
    }
}

void shadow_begin_group(Worker &) {
    if (!arena_cells)
        arena_cells = new_cells(arena_size);
    groups++;
}

// Reports

static std::string place_of(const void *pc) {
    Dl_info info;
    if (!dladdr(pc, &info))
        return "";
    std::string path = path_of_library(info.dli_fbase);
    char command[4400], line[512] = "";
    snprintf(command, sizeof command, "addr2line -e '%s' 0x%zx 2>/dev/null", path.c_str(),
             (size_t)((const char *)pc - (const char *)info.dli_fbase) - 1);
    FILE *pipe = path.empty() ? nullptr : popen(command, "r");
    if (pipe) {
        if (!fgets(line, sizeof line, pipe))
            line[0] = 0;
        pclose(pipe);
    }
    std::string text = line;
    text = text.substr(0, text.find_first_of(" \n"));
    size_t slash = text.rfind('/');
    text = slash == std::string::npos ? text : text.substr(slash + 1);
    return text.empty() || text[0] == '?' ? "" : text + ": ";
}

static std::string name_of(const char *address) {
    char text[200];
    const Worker &w = *worker;
    if (address < w.arena || address >= w.arena + arena_size)
        return describe_address(address, text, sizeof text);
    const Array *nearest = nullptr;
    auto consider = [&](const Array &array) {
        if (array.start <= address && (!nearest || array.start > nearest->start))
            nearest = &array;
    };
    for (const Array &array : w.arrays)
        if (array.name)
            consider(array);
    for (unsigned i = 0; i < SM_BUFFERS; i++)
        if (w.dispatch->threadgroup[i])
            consider(w.dynamic[i]);
    if (!nearest)
        return "threadgroup memory before its first array";
    long at = address - nearest->start, size = (long)nearest->nbytes;
    snprintf(text, sizeof text, "threadgroup array %s%s, byte %ld of %ld", nearest->name,
             at >= size ? " past its end" : "", at, size);
    return text;
}

struct Access {
    const char *address;
    size_t size;
    bool write, atomic;
    const void *pc;
};

[[noreturn]] static void report_outside(const Access &a, const char *address) {
    fault("%s%s %s", place_of(a.pc).c_str(), a.write ? "writes" : "reads",
          name_of(address).c_str());
}

[[noreturn]] static void report_race(const Access &a, const char *address, const Visit &other,
                                     const char *what) {
    const Worker &w = *worker;
    std::string place = place_of(a.pc), name = name_of(address);
    if (other.group == w.group)
        fault("%sdata race on %s: it %s what thread %u of its threadgroup %s, with no barrier that "
              "orders them",
              place.c_str(), name.c_str(), a.write ? "writes" : "reads", other.thread, what);
    fault("%sdata race on %s: it %s what threadgroup %u %s", place.c_str(), name.c_str(),
          a.write ? "writes" : "reads", other.group, what);
}

// The rules

struct Now {
    Visit me;
    uint32_t simdgroup;
};

static bool ordered(const Visit &other, const Now &now) {
    if (other.group != now.me.group)
        return false;
    return other.thread == now.me.thread || other.epoch != now.me.epoch ||
           (other.thread / 32u == now.simdgroup && other.simd_epoch != now.me.simd_epoch);
}

static bool reads_ordered(const Cell &cell, const Now &now) {
    if ((cell.flags & many_threadgroups) || cell.read.group != now.me.group)
        return false;
    if (cell.read.epoch != now.me.epoch)
        return true;
    if ((cell.flags & many_simdgroups) || cell.read.thread / 32u != now.simdgroup)
        return !(cell.flags & many_simdgroups) && cell.read.thread == now.me.thread;
    return cell.read.simd_epoch != now.me.simd_epoch ||
           (!(cell.flags & many_threads) && cell.read.thread == now.me.thread);
}

static void note_read(Cell &cell, const Now &now, bool atomic) {
    uint8_t flags = cell.flags;
    if (!(flags & was_read)) {
        flags |= was_read | (atomic ? reads_atomic : 0);
    } else {
        const Visit &last = cell.read;
        if (!atomic)
            flags &= (uint8_t)~reads_atomic;
        if (last.group != now.me.group)
            flags |= many_threadgroups;
        else if (last.epoch != now.me.epoch)
            flags &= (uint8_t)~(many_threads | many_simdgroups);
        else if (last.thread / 32u != now.simdgroup)
            flags |= many_simdgroups;
        else if (last.simd_epoch != now.me.simd_epoch)
            flags &= (uint8_t)~many_threads;
        else if (last.thread != now.me.thread)
            flags |= many_threads;
    }
    cell.flags = flags;
    cell.read = now.me;
}

static void visit(Cell &cell, uint32_t stamp, const Now &now, const Access &a, const char *byte) {
    if (cell.stamp != stamp) {
        cell.stamp = stamp;
        cell.flags = 0;
    }
    if ((cell.flags & was_written) && !(a.atomic && (cell.flags & write_atomic)) &&
        !ordered(cell.write, now))
        report_race(a, byte, cell.write, "wrote");
    if (!a.write) {
        note_read(cell, now, a.atomic);
        return;
    }
    if ((cell.flags & was_read) && !(a.atomic && (cell.flags & reads_atomic)) &&
        !reads_ordered(cell, now))
        report_race(a, byte, cell.read, "read");
    cell.write = now.me;
    cell.flags =
        (uint8_t)((cell.flags & ~write_atomic) | was_written | (a.atomic ? write_atomic : 0));
}

static bool in_an_array(const Worker &w, const char *start, const char *end) {
    auto holds = [&](const Array &array) {
        return start >= array.start && end <= array.start + array.nbytes;
    };
    for (const Array &array : w.arrays)
        if (array.name && holds(array))
            return true;
    for (unsigned i = 0; i < SM_BUFFERS; i++)
        if (w.dispatch->threadgroup[i] && holds(w.dynamic[i]))
            return true;
    return false;
}

static void look(const Access &a) {
    if (!worker || !worker->current || a.size == 0)
        return; // while a library is loaded
    Worker &w = *worker;
    const char *start = a.address, *end = start + a.size;
    const char *stack = w.current->stack;
    if ((start >= stack && start < stack + stack_size) ||
        (start >= (char *)&w && start < (char *)(&w + 1)))
        return; // the thread's own, or the runtime's
    uint16_t thread = (uint16_t)w.current->thread;
    const Simdgroup &simd = w.simd[thread / 32];
    Now now = {{w.group, w.epoch.device, simd.epoch.device, thread}, thread / 32u};
    if (start >= w.arena && start < w.arena + arena_size) {
        if (!in_an_array(w, start, end))
            report_outside(a, start);
        now.me.epoch = w.epoch.threadgroup;
        now.me.simd_epoch = simd.epoch.threadgroup;
        for (const char *byte = start; byte < end; byte++)
            visit(arena_cells[byte - w.arena], groups, now, a, byte);
        return;
    }
    for (const Region &region : regions) {
        if (start < region.start || start >= region.end)
            continue;
        if (end > region.end)
            report_outside(a, region.end);
        if (region.read_only && a.write)
            fault("%swrites a constant argument, %u", place_of(a.pc).c_str(), region.buffer);
        if (region.cells)
            for (const char *byte = start; byte < end; byte++)
                visit(region.cells[byte - region.start], dispatches, now, a, byte);
        return;
    }
    Dl_info info;
    if (!a.write && dladdr(start, &info))
        return; // a table of the shader's
    report_outside(a, start);
}

} // namespace softmetal

// The callbacks

using softmetal::fault;
using softmetal::look;
using softmetal::worker;

#define HERE __builtin_return_address(0)

static void aligned(void *p, size_t size, bool write, void *pc) {
    if (worker && (uintptr_t)p % size)
        fault("%s%s %zu bytes at an address that is not a multiple of that",
              softmetal::place_of(pc).c_str(), write ? "writes" : "reads", size);
    look({(const char *)p, size, write, false, pc});
}

#define ACCESS(n)                                                                                  \
    void __tsan_read##n(void *p) { aligned(p, n, false, HERE); }                                   \
    void __tsan_write##n(void *p) { aligned(p, n, true, HERE); }                                   \
    void __tsan_volatile_read##n(void *p) { aligned(p, n, false, HERE); }                          \
    void __tsan_volatile_write##n(void *p) { aligned(p, n, true, HERE); }                          \
    void __tsan_unaligned_read##n(void *p) { look({(char *)p, n, false, false, HERE}); }           \
    void __tsan_unaligned_write##n(void *p) { look({(char *)p, n, true, false, HERE}); }

#define ATOMIC(bits, T)                                                                            \
    T __tsan_atomic##bits##_load(const volatile T *p, int) {                                       \
        look({(const char *)p, sizeof(T), false, true, HERE});                                     \
        return *p;                                                                                 \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile T *p, T value, int) {                                \
        look({(const char *)p, sizeof(T), true, true, HERE});                                      \
        *p = value;                                                                                \
    }                                                                                              \
    T __tsan_atomic##bits##_compare_exchange_val(volatile T *p, T expected, T desired, int, int) { \
        look({(const char *)p, sizeof(T), true, true, HERE});                                      \
        T seen = *p;                                                                               \
        if (seen == expected)                                                                      \
            *p = desired;                                                                          \
        return seen;                                                                               \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile T *p, T *expected, T desired, int,  \
                                                      int) {                                       \
        look({(const char *)p, sizeof(T), true, true, HERE});                                      \
        T seen = *p, wanted = *expected;                                                           \
        *p = seen == wanted ? desired : seen;                                                      \
        *expected = seen;                                                                          \
        return seen == wanted;                                                                     \
    }

extern "C" {
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
void __tsan_read_range(void *p, size_t n) { look({(char *)p, n, false, false, HERE}); }
void __tsan_write_range(void *p, size_t n) { look({(char *)p, n, true, false, HERE}); }
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void *__tsan_memcpy(void *to, const void *from, size_t n) {
    look({(const char *)from, n, false, false, HERE});
    look({(const char *)to, n, true, false, HERE});
    return memcpy(to, from, n);
}
void *__tsan_memmove(void *to, const void *from, size_t n) {
    look({(const char *)from, n, false, false, HERE});
    look({(const char *)to, n, true, false, HERE});
    return memmove(to, from, n);
}
void *__tsan_memset(void *to, int value, size_t n) {
    look({(const char *)to, n, true, false, HERE});
    return memset(to, value, n);
}
}
