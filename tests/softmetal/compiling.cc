// From a shader's source to a file: mslc.py does it once, the cache keeps what it made.
//
// Rules: the name of a kept file is a hash of the source, the way it is compiled and this library's
// key, in which build.py puts all else that matters: translator, headers, compilers and flags.
// Several processes may do the same work at once; the file appears whole or not at all. mslc.py
// takes away what was not used for longest when there is too much.
#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "runtime.h"

extern char **environ;

namespace {

// FNV-1a, twice with different starts: 128 bits.
std::string hash_of(const std::string &text) {
    uint64_t a = 14695981039346656037ull, b = 0x9e3779b97f4a7c15ull;
    for (unsigned char c : text) {
        a = (a ^ c) * 1099511628211ull;
        b = (b ^ c) * 1099511628211ull;
        b ^= b >> 29;
    }
    char hex[40];
    snprintf(hex, sizeof hex, "%016lx%016lx", (unsigned long)a, (unsigned long)b);
    return hex;
}

std::string read_file(const std::string &path, size_t limit) {
    std::string text(limit, 0);
    FILE *file = fopen(path.c_str(), "r");
    text.resize(file ? fread(&text[0], 1, limit, file) : 0);
    if (file)
        fclose(file);
    return text;
}

bool write_file(const std::string &path, const std::string &text) {
    FILE *file = fopen(path.c_str(), "w");
    bool written = file && fwrite(text.data(), 1, text.size(), file) == text.size();
    return file && fclose(file) == 0 && written;
}

std::string cache_folder() {
    const char *given = getenv("MLXC_SOFTMETAL_CACHE");
    std::string folder = given && *given ? given : std::string(sm_folder()) + "/../shaders";
    mkdir(folder.c_str(), 0777);
    return folder;
}

// The interpreter that built this library, or another that is named or found.
std::string interpreter() {
    const char *given = getenv("MLXC_SOFTMETAL_PYTHON");
    if (given && *given)
        return given;
    std::string noted = read_file(std::string(sm_folder()) + "/python.txt", 4096);
    return !noted.empty() && access(noted.c_str(), X_OK) == 0 ? noted : "python3";
}

int run(const char *const *arguments) {
    pid_t child;
    int status;
    if (posix_spawnp(&child, arguments[0], nullptr, nullptr, (char *const *)arguments, environ))
        return -1;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace

extern "C" const char *sm_folder() {
    static const std::string folder = [] {
        Dl_info info;
        if (!dladdr((void *)sm_folder, &info))
            return std::string(".");
        std::string path = info.dli_fname;
        size_t slash = path.rfind('/');
        return slash == std::string::npos ? std::string(".") : path.substr(0, slash);
    }();
    return folder.c_str();
}

extern "C" int sm_compile(const char *source, const char *mode, const char *defines, char *path,
                          size_t size, char *error) {
    std::string folder = sm_folder(), key = read_file(folder + "/key.txt", 4096);
    std::string what = key + '\0' + mode + '\0' + defines + '\0';
    if (strcmp(mode, "cuda") == 0)
        for (const char *name : {"MLXC_CUDA_ARCHITECTURE", "MLXC_NVRTC"})
            what += std::string(getenv(name) ? getenv(name) : "") + '\0';
    what += source;
    std::string base = cache_folder() + "/" + hash_of(what);
    std::string out = base + (strcmp(mode, "cuda") ? ".so" : ".cubin");
    snprintf(path, size, "%s", out.c_str());
    if (access(out.c_str(), R_OK) == 0) {
        utimes(out.c_str(), nullptr); // used just now
        return 0;
    }
    static int calls; // threads of one process may compile the same source
    int call = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    std::string scratch = base + "." + std::to_string(getpid()) + "." + std::to_string(call);
    std::string input = scratch + ".metal", log = scratch + ".log";
    std::string tool = folder + "/mslc.py", python = interpreter();
    if (!write_file(input, source)) {
        snprintf(error, SM_ERROR, "%s cannot be written", input.c_str());
        return 1;
    }
    const char *arguments[] = {python.c_str(), "-IS",       tool.c_str(), mode,   input.c_str(),
                               out.c_str(),    log.c_str(), defines,      nullptr};
    int status = run(arguments);
    std::string text = read_file(log, SM_ERROR - 200);
    if (status)
        snprintf(error, SM_ERROR, "%s%s", text.empty() ? "the compiler did not run: " : "",
                 text.empty() ? python.c_str() : text.c_str());
    unlink(input.c_str());
    unlink(log.c_str());
    return status != 0;
}
