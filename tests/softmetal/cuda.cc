// The device that is an NVIDIA GPU, through its driver's interface, found when it is asked for.
//
// Rules: buffers are plain device memory with a copy on the host that stands for Metal's shared
// storage: what dispatches bind travels there before they run and back after. A kernel with a set
// of function constants is a compilation of its own. A kernel that faults takes the context with
// it, and every call after says so.
#include <ctype.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <set>
#include <string>

#include "runtime.h"

namespace {

typedef int Result;
typedef unsigned long long Address;

struct Driver {
    Result (*Init)(unsigned);
    Result (*DeviceGet)(int *, int);
    Result (*DeviceGetName)(char *, int, int);
    Result (*DeviceGetAttribute)(int *, int, int);
    Result (*DevicePrimaryCtxRetain)(void **, int);
    Result (*CtxSetCurrent)(void *);
    Result (*CtxSynchronize)();
    Result (*MemAlloc)(Address *, size_t);
    Result (*MemFree)(Address);
    Result (*MemcpyHtoD)(Address, const void *, size_t);
    Result (*MemcpyDtoH)(void *, Address, size_t);
    Result (*MemsetD8)(Address, unsigned char, size_t);
    Result (*ModuleLoadData)(void **, const void *);
    Result (*ModuleGetFunction)(void **, void *, const char *);
    Result (*FuncGetAttribute)(int *, int, void *);
    Result (*FuncSetAttribute)(void *, int, int);
    Result (*LaunchKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                           unsigned, void *, void **, void **);
    Result (*EventCreate)(void **, unsigned);
    Result (*EventRecord)(void *, void *);
    Result (*EventSynchronize)(void *);
    Result (*EventElapsedTime)(float *, void *, void *);
    Result (*GetErrorString)(Result, const char **);
};

Driver cu;
void *context, *before, *after;
char device_name[160];
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// Numbers of the driver's interface.
enum {
    max_threads_attribute = 0,
    shared_attribute = 8,
    major_attribute = 75,
    minor_attribute = 76
};

struct Memory {
    Address address;
    char *host;
    size_t nbytes;
    bool wrapped;
};

struct Library {
    std::string source;
    std::map<std::string, void *> modules; // by the kernel's and the constants' macros
};

struct Kernel {
    void *function;
    std::string name;
    int max_threads;
};

// As shaders see it: sm_parameters of compat/kernel.h.
struct Parameters {
    Address buffers[SM_BUFFERS];
    unsigned threadgroup[SM_BUFFERS];
    unsigned threads[3];
};

int failed(Result result, const char *what, char *error) {
    const char *text = "unknown";
    if (!result)
        return 0;
    cu.GetErrorString(result, &text);
    snprintf(error, SM_ERROR, "%s: the driver says %d, %s", what, result, text ? text : "");
    return 1;
}

bool find(void *library, void *slot, const char *name) {
    void *symbol = dlsym(library, name);
    if (!symbol)
        fprintf(stderr, "softmetal: the NVIDIA driver has no %s\n", name);
    memcpy(slot, &symbol, sizeof symbol);
    return symbol != nullptr;
}

bool find_driver() {
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        fprintf(stderr, "softmetal: %s\n", dlerror());
        return false;
    }
    return find(library, &cu.Init, "cuInit") && find(library, &cu.DeviceGet, "cuDeviceGet") &&
           find(library, &cu.DeviceGetName, "cuDeviceGetName") &&
           find(library, &cu.DeviceGetAttribute, "cuDeviceGetAttribute") &&
           find(library, &cu.DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain") &&
           find(library, &cu.CtxSetCurrent, "cuCtxSetCurrent") &&
           find(library, &cu.CtxSynchronize, "cuCtxSynchronize") &&
           find(library, &cu.MemAlloc, "cuMemAlloc_v2") &&
           find(library, &cu.MemFree, "cuMemFree_v2") &&
           find(library, &cu.MemcpyHtoD, "cuMemcpyHtoD_v2") &&
           find(library, &cu.MemcpyDtoH, "cuMemcpyDtoH_v2") &&
           find(library, &cu.MemsetD8, "cuMemsetD8_v2") &&
           find(library, &cu.ModuleLoadData, "cuModuleLoadData") &&
           find(library, &cu.ModuleGetFunction, "cuModuleGetFunction") &&
           find(library, &cu.FuncGetAttribute, "cuFuncGetAttribute") &&
           find(library, &cu.FuncSetAttribute, "cuFuncSetAttribute") &&
           find(library, &cu.LaunchKernel, "cuLaunchKernel") &&
           find(library, &cu.EventCreate, "cuEventCreate") &&
           find(library, &cu.EventRecord, "cuEventRecord") &&
           find(library, &cu.EventSynchronize, "cuEventSynchronize") &&
           find(library, &cu.EventElapsedTime, "cuEventElapsedTime") &&
           find(library, &cu.GetErrorString, "cuGetErrorString");
}

bool start() {
    int device = 0, major = 0, minor = 0;
    char text[SM_ERROR], architecture[16];
    if (!find_driver())
        return false;
    if (failed(cu.Init(0), "cuInit", text) ||
        failed(cu.DeviceGet(&device, 0), "cuDeviceGet", text) ||
        failed(cu.DevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain", text) ||
        failed(cu.CtxSetCurrent(context), "cuCtxSetCurrent", text) ||
        failed(cu.EventCreate(&before, 0), "cuEventCreate", text) ||
        failed(cu.EventCreate(&after, 0), "cuEventCreate", text)) {
        fprintf(stderr, "softmetal: %s\n", text);
        return false;
    }
    strcpy(device_name, "Software Metal on ");
    cu.DeviceGetName(device_name + strlen(device_name), 128, device);
    cu.DeviceGetAttribute(&major, major_attribute, device);
    cu.DeviceGetAttribute(&minor, minor_attribute, device);
    snprintf(architecture, sizeof architecture, "sm_%d%d", major, minor);
    setenv("MLXC_CUDA_ARCHITECTURE", architecture, 0);
    return true;
}

void *new_memory(char *host, size_t nbytes, bool wrapped, char *error) {
    Memory *memory = new Memory{0, host, nbytes, wrapped};
    cu.CtxSetCurrent(context);
    // A multiple of 16: a vector at the end is whole, as on the host.
    if (failed(cu.MemAlloc(&memory->address, (nbytes + 15) & ~(size_t)15), "a buffer", error)) {
        delete memory;
        return nullptr;
    }
    return memory;
}

void *allocate(size_t nbytes, char *error) {
    char *host = (char *)aligned_alloc(64, (nbytes + 63) & ~(size_t)63);
    void *memory = host ? new_memory(host, nbytes, false, error) : nullptr;
    if (memory)
        memset(host, 0xff, nbytes);
    else
        free(host);
    return memory;
}

void *wrap(void *pages, size_t nbytes, char *error) {
    return new_memory((char *)pages, nbytes, true, error);
}

void release(void *given) {
    Memory *memory = (Memory *)given;
    cu.CtxSetCurrent(context);
    cu.MemFree(memory->address);
    if (!memory->wrapped)
        free(memory->host);
    delete memory;
}

void *contents(void *memory) { return ((Memory *)memory)->host; }

// Libraries

std::string macros_of(const sm_constants *constants) {
    std::string text;
    for (unsigned i = 0; constants && i < SM_CONSTANTS; i++)
        if (constants->types[i])
            text += " -DSM_VALUE_" + std::to_string(i) + "=" + std::to_string(constants->bits[i]) +
                    "ul";
    return text;
}

void *module_for(Library &library, const std::string &macros, char *error) {
    char path[4096];
    auto known = library.modules.find(macros);
    if (known != library.modules.end())
        return known->second;
    if (sm_compile(library.source.c_str(), "cuda", macros.c_str(), path, sizeof path, error))
        return nullptr;
    FILE *file = fopen(path, "rb");
    std::string binary;
    char block[65536];
    for (size_t n; file && (n = fread(block, 1, sizeof block, file)) > 0;)
        binary.append(block, n);
    if (file)
        fclose(file);
    void *module = nullptr;
    cu.CtxSetCurrent(context);
    if (failed(cu.ModuleLoadData(&module, binary.data()), "loading the kernels", error))
        return nullptr;
    return library.modules[macros] = module;
}

// Without kernels: whether the text is right.
void *compile(const char *source, int, char *error) {
    char path[4096];
    if (sm_compile(source, "cuda", "-DSM_ONLY", path, sizeof path, error))
        return nullptr;
    return new Library{source, {}};
}

const void *kernel(void *given, const char *name, const sm_constants *constants, char *error) {
    std::string symbol = "k_";
    for (const char *c = name; *c; c++)
        symbol += isalnum((unsigned char)*c) ? *c : '_';
    void *function = nullptr;
    int threads = 0;
    pthread_mutex_lock(&lock);
    std::string macros = "-DSM_ONLY -DSM_ONLY_" + symbol + macros_of(constants);
    void *module = module_for(*(Library *)given, macros, error);
    pthread_mutex_unlock(&lock);
    if (!module)
        return nullptr;
    cu.CtxSetCurrent(context);
    if (failed(cu.ModuleGetFunction(&function, module, symbol.c_str()), name, error))
        return nullptr;
    cu.FuncGetAttribute(&threads, max_threads_attribute, function);
    return new Kernel{function, name, threads};
}

int max_threads(const void *kernel) { return ((const Kernel *)kernel)->max_threads; }

// Running

// Arguments by value of all dispatches, in one piece of device memory.
struct Values {
    std::string data;
    std::map<const void *, size_t> places;
    Address address = 0;
};

int upload_values(const sm_dispatch *dispatches, size_t count, Values &values, char *error) {
    for (size_t k = 0; k < count; k++)
        for (unsigned i = 0; i < SM_BUFFERS; i++) {
            const sm_dispatch &d = dispatches[k];
            if (!d.buffers[i] || d.owners[i] || values.places.count(d.buffers[i]))
                continue;
            values.places[d.buffers[i]] = values.data.size();
            values.data.append((const char *)d.buffers[i], d.lengths[i]);
            values.data.resize((values.data.size() + 255) & ~(size_t)255);
        }
    if (values.data.empty())
        return 0;
    return failed(cu.MemAlloc(&values.address, values.data.size()), "arguments", error) ||
           failed(cu.MemcpyHtoD(values.address, values.data.data(), values.data.size()),
                  "arguments", error);
}

int launch(const sm_dispatch &d, const Values &values, char *error) {
    const Kernel &kernel = *(const Kernel *)d.kernel;
    Parameters p;
    unsigned dynamic = 0, groups[3];
    memset(&p, 0, sizeof p);
    for (unsigned i = 0; i < SM_BUFFERS; i++) {
        const Memory *memory = (const Memory *)d.owners[i];
        if (memory)
            p.buffers[i] = memory->address + (Address)((char *)d.buffers[i] - memory->host);
        else if (d.buffers[i])
            p.buffers[i] = values.address + values.places.at(d.buffers[i]);
        p.threadgroup[i] = dynamic;
        dynamic += (unsigned)d.threadgroup[i];
    }
    for (int i = 0; i < 3; i++) {
        p.threads[i] = (unsigned)d.grid[i];
        groups[i] = (unsigned)((d.grid[i] + d.group[i] - 1) / d.group[i]);
    }
    // Grids of a GPU are narrow along y and z.
    if (groups[1] > 65535 || groups[2] > 65535) {
        snprintf(error, SM_ERROR,
                 "kernel %s: %u by %u threadgroups along y and z: this device takes "
                 "65535",
                 kernel.name.c_str(), groups[1], groups[2]);
        return 1;
    }
    if (dynamic > 48 * 1024)
        cu.FuncSetAttribute(kernel.function, shared_attribute, (int)dynamic);
    void *arguments[] = {&p};
    std::string what = "kernel " + kernel.name;
    return failed(cu.LaunchKernel(kernel.function, groups[0], groups[1], groups[2],
                                  (unsigned)d.group[0], (unsigned)d.group[1], (unsigned)d.group[2],
                                  dynamic, nullptr, arguments, nullptr),
                  what.c_str(), error);
}

std::set<Memory *> bound(const sm_dispatch *dispatches, size_t count) {
    std::set<Memory *> all;
    for (size_t k = 0; k < count; k++)
        for (void *owner : dispatches[k].owners)
            if (owner)
                all.insert((Memory *)owner);
    return all;
}

int run_all(const sm_dispatch *dispatches, size_t count, double *seconds, char *error) {
    Values values;
    float milliseconds = 0;
    std::set<Memory *> memories = bound(dispatches, count);
    int bad = upload_values(dispatches, count, values, error);
    for (Memory *m : memories)
        bad = bad ||
              failed(cu.MemcpyHtoD(m->address, m->host, m->nbytes), "copying to the device", error);
    cu.EventRecord(before, nullptr);
    for (size_t k = 0; k < count && !bad; k++)
        bad = launch(dispatches[k], values, error);
    cu.EventRecord(after, nullptr);
    std::string what = "kernel " + ((const Kernel *)dispatches[count - 1].kernel)->name;
    bad = bad || failed(cu.EventSynchronize(after), what.c_str(), error);
    cu.EventElapsedTime(&milliseconds, before, after);
    *seconds = 1e-3 * milliseconds;
    for (Memory *m : memories)
        bad = bad ||
              failed(cu.MemcpyDtoH(m->host, m->address, m->nbytes), "copying to the host", error);
    if (values.address)
        cu.MemFree(values.address);
    return bad;
}

int run(const sm_dispatch *dispatches, size_t count, double *seconds, char *error) {
    pthread_mutex_lock(&lock);
    cu.CtxSetCurrent(context);
    int bad = run_all(dispatches, count, seconds, error);
    pthread_mutex_unlock(&lock);
    return bad;
}

} // namespace

extern "C" const sm_device *sm_cuda() {
    static const bool started = start();
    static const sm_device device = {device_name, allocate, wrap,        release, contents,
                                     compile,     kernel,   max_threads, run};
    return started ? &device : nullptr;
}
