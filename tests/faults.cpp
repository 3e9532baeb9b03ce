// Preloaded into a process: counts what it does to the files below a folder, and at event n ends it or fails from then on.
//
// Events are openings for writing, writes, truncations, fsync, rename, unlink, mkdir and rmdir, whoever calls them: Python,
// torch's C++, safetensors' Rust. A killed write gets half of its bytes out. Files in a folder `tensorboard` fail, but do
// not count: a thread writes them when it likes.

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <mutex>
#include <string>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {
enum Mode { COUNT = 0, KILL = -1 };  // else an errno
enum Kind { NONE, QUIET, LOUD };     // not below the folder; fails but is not counted; counted
std::string folder;
long count = 0, target = 0;
int mode = COUNT;
Kind kinds[65536];

Kind kind_of(const char* path) {
    if (folder.empty() || path == nullptr || std::strncmp(path, folder.c_str(), folder.size()) != 0) return NONE;
    return std::strstr(path, "/tensorboard") ? QUIET : LOUD;
}

Kind kind_of(int file) { return file >= 0 && file < 65536 ? kinds[file] : NONE; }

void die() { kill(getpid(), SIGKILL); for (;;) pause(); }

// Whether the event fails; `deletes`: a full disk can still do it.
bool fails(Kind kind, bool deletes = false, bool dies = true) {
    if (kind == NONE) return false;
    if (kind == LOUD) count++;
    if (mode == COUNT || count < target) return false;
    if (mode == KILL) {
        if (kind == LOUD && dies) die();
        return false;
    }
    if (deletes && mode == ENOSPC) return false;
    errno = mode;
    return true;
}

template <typename Call> Call real(const char* name) { return reinterpret_cast<Call>(dlsym(RTLD_NEXT, name)); }

int opened(int file, Kind kind) {
    if (file >= 0 && file < 65536) kinds[file] = kind;
    return file;
}

bool writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }
bool writes(const char* how) { return std::strpbrk(how, "wa+") != nullptr; }

ssize_t half_then_die(int file, const void* data, size_t bytes) {
    static auto call = real<ssize_t (*)(int, const void*, size_t)>("write");
    if (call(file, data, bytes / 2) < 0) return -1;
    die();
    return -1;
}

bool dies_now(Kind kind) { return mode == KILL && kind == LOUD && count + 1 >= target; }
}  // namespace

extern "C" {
void faults_arm(const char* below, int how, long n) { folder = below; mode = how; target = n; count = 0; }
long faults_count() { return count; }

#define OPEN(NAME)                                                                     \
    int NAME(const char* path, int flags, ...) {                                       \
        static auto call = real<int (*)(const char*, int, ...)>(#NAME);                \
        va_list more; va_start(more, flags); mode_t rights = va_arg(more, mode_t); va_end(more); \
        Kind kind = kind_of(path);                                                     \
        if (writes(flags) && fails(kind)) return -1;                                   \
        return opened(call(path, flags, rights), kind);                                \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(NAME)                                                                   \
    int NAME(int at, const char* path, int flags, ...) {                               \
        static auto call = real<int (*)(int, const char*, int, ...)>(#NAME);           \
        va_list more; va_start(more, flags); mode_t rights = va_arg(more, mode_t); va_end(more); \
        Kind kind = kind_of(path);                                                     \
        if (writes(flags) && fails(kind)) return -1;                                   \
        return opened(call(at, path, flags, rights), kind);                            \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(NAME)                                                                    \
    FILE* NAME(const char* path, const char* how) {                                    \
        static auto call = real<FILE* (*)(const char*, const char*)>(#NAME);           \
        Kind kind = kind_of(path);                                                     \
        if (writes(how) && fails(kind)) return nullptr;                                \
        FILE* file = call(path, how);                                                  \
        if (file) opened(fileno(file), kind);                                          \
        return file;                                                                   \
    }
FOPEN(fopen)
FOPEN(fopen64)

int close(int file) {
    static auto call = real<int (*)(int)>("close");
    opened(file, NONE);
    return call(file);
}

ssize_t write(int file, const void* data, size_t bytes) {
    static auto call = real<ssize_t (*)(int, const void*, size_t)>("write");
    if (dies_now(kind_of(file))) return half_then_die(file, data, bytes);
    return fails(kind_of(file)) ? -1 : call(file, data, bytes);
}

ssize_t writev(int file, const struct iovec* parts, int number) {
    static auto call = real<ssize_t (*)(int, const struct iovec*, int)>("writev");
    if (dies_now(kind_of(file))) return half_then_die(file, parts[0].iov_base, parts[0].iov_len);
    return fails(kind_of(file)) ? -1 : call(file, parts, number);
}

#define ON_FILE(TYPE, NAME, PARAMETERS, ARGUMENTS)                                     \
    TYPE NAME PARAMETERS {                                                             \
        static auto call = real<TYPE (*) PARAMETERS>(#NAME);                           \
        return fails(kind_of(file)) ? -1 : call ARGUMENTS;                             \
    }
ON_FILE(ssize_t, pwrite, (int file, const void* data, size_t bytes, off_t at), (file, data, bytes, at))
ON_FILE(ssize_t, pwrite64, (int file, const void* data, size_t bytes, off64_t at), (file, data, bytes, at))
ON_FILE(ssize_t, sendfile, (int file, int from, off_t* at, size_t bytes), (file, from, at, bytes))
ON_FILE(ssize_t, sendfile64, (int file, int from, off64_t* at, size_t bytes), (file, from, at, bytes))
ON_FILE(int, ftruncate, (int file, off_t bytes), (file, bytes))
ON_FILE(int, ftruncate64, (int file, off64_t bytes), (file, bytes))
ON_FILE(int, fsync, (int file), (file))
ON_FILE(int, fdatasync, (int file), (file))

#define ON_PATH(NAME, PARAMETERS, ARGUMENTS, DELETES)                                  \
    int NAME PARAMETERS {                                                              \
        static auto call = real<int (*) PARAMETERS>(#NAME);                            \
        return fails(kind_of(path), DELETES) ? -1 : call ARGUMENTS;                    \
    }
ON_PATH(rename, (const char* from, const char* path), (from, path), false)
ON_PATH(renameat, (int at, const char* from, int to, const char* path), (at, from, to, path), false)
ON_PATH(unlink, (const char* path), (path), true)
ON_PATH(unlinkat, (int at, const char* path, int flags), (at, path, flags), true)
ON_PATH(rmdir, (const char* path), (path), true)
ON_PATH(mkdir, (const char* path, mode_t rights), (path, rights), false)
ON_PATH(mkdirat, (int at, const char* path, mode_t rights), (at, path, rights), false)
}
