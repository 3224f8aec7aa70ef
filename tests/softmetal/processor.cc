// The device that is this processor: libraries of kernels, compiled and loaded.
//
// Rules: a set of function constants is a copy of the library, loaded while they are in force, so
// that whatever the shader computes from them at its start is right. Libraries are never unloaded.
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "worker.h"

namespace softmetal {

void *allocate(size_t nbytes, char *error);
void *wrap(void *pages, size_t nbytes, char *error);
void release(void *memory);
void *contents(void *memory);
int run_dispatches(const sm_dispatch *dispatches, size_t count, double *seconds, char *error);

struct Specialised {
    sm_constants constants;
    const Kernel *table;
};

struct Library {
    std::string path;
    std::vector<Specialised> copies;
};

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static const sm_constants *in_force;
static const sm_constants no_constants = {};

// The file that a library was loaded from, by where it lies: reports find lines in it.
static pthread_mutex_t noting = PTHREAD_MUTEX_INITIALIZER;
static std::map<const void *, std::string> loaded;

std::string path_of_library(const void *base) {
    pthread_mutex_lock(&noting);
    auto known = loaded.find(base);
    std::string path = known == loaded.end() ? "" : known->second;
    pthread_mutex_unlock(&noting);
    return path;
}

// The loader gives a file, or a name, once; a copy of its own it takes for another library.
static bool copy_file(const std::string &path, const std::string &copy) {
    int from = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    int to = open(copy.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct stat status;
    bool copied = from >= 0 && to >= 0 && fstat(from, &status) == 0;
    for (off_t at = 0; copied && at < status.st_size;)
        copied = sendfile(to, from, &at, (size_t)(status.st_size - at)) > 0;
    close(from);
    close(to);
    return copied;
}

static const Kernel *load(const std::string &path, const sm_constants &constants, char *error) {
    static int count;
    std::string copy = path + "." + std::to_string(getpid()) + "." + std::to_string(count++);
    bool copied = copy_file(path, copy);
    in_force = &constants;
    void *handle = copied ? dlopen(copy.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
    in_force = nullptr;
    const Kernel *table = handle ? (const Kernel *)dlsym(handle, "sm_kernels") : nullptr;
    Dl_info info;
    if (table && dladdr(table, &info)) {
        pthread_mutex_lock(&noting);
        loaded[info.dli_fbase] = path;
        pthread_mutex_unlock(&noting);
    }
    if (!table)
        snprintf(error, SM_ERROR, "%s: %s", path.c_str(),
                 copied ? dlerror() : "it cannot be copied");
    unlink(copy.c_str());
    return table;
}

static void *compile(const char *source, int, char *error) {
    char path[4096];
    const char *mode = checking() ? "check" : "plain";
    if (sm_compile(source, mode, "", path, sizeof path, error))
        return nullptr;
    Library *library = new Library{path, {}};
    pthread_mutex_lock(&loading);
    const Kernel *table = load(library->path, no_constants, error);
    pthread_mutex_unlock(&loading);
    if (!table) {
        delete library;
        return nullptr;
    }
    library->copies.push_back({no_constants, table});
    return library;
}

static const Kernel *table_for(Library &library, const sm_constants &wanted, char *error) {
    for (const Specialised &copy : library.copies)
        if (memcmp(&copy.constants, &wanted, sizeof wanted) == 0)
            return copy.table;
    Specialised fresh;
    memcpy(&fresh.constants, &wanted, sizeof wanted);
    fresh.table = load(library.path, wanted, error);
    if (fresh.table)
        library.copies.push_back(fresh);
    return fresh.table;
}

static const void *kernel(void *given, const char *name, const sm_constants *constants,
                          char *error) {
    pthread_mutex_lock(&loading);
    const Kernel *table =
        table_for(*(Library *)given, constants ? *constants : no_constants, error);
    pthread_mutex_unlock(&loading);
    for (const Kernel *each = table; each && each->name; each++)
        if (strcmp(each->name, name) == 0)
            return each;
    if (table)
        snprintf(error, SM_ERROR, "there is no function of that name");
    return nullptr;
}

static int max_threads(const void *kernel) {
    unsigned own = ((const Kernel *)kernel)->max_threads;
    return own ? (int)own : SM_THREADS;
}

} // namespace softmetal

using namespace softmetal;

extern "C" const unsigned long *sm_constant_bits() {
    return (in_force ? in_force : &no_constants)->bits;
}

extern "C" const unsigned char *sm_constant_types() {
    return (in_force ? in_force : &no_constants)->types;
}

extern "C" const sm_device *sm_processor() {
    static const sm_device device = {"Software Metal", allocate,    wrap,
                                     release,          contents,    compile,
                                     kernel,           max_threads, run_dispatches};
    return &device;
}
