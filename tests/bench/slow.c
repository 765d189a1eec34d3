/* A slow disk: every read of a file below SLOW_DIRECTORY begins SLOW_READ_US microseconds late. For LD_PRELOAD.

Files are known by the names under which they are opened, so only what this process opens by the directory's own path is
slow. Everything else goes straight through. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define FILES 65536

static unsigned char is_slow[FILES];
static const char *directory;
static size_t length;
static struct timespec delay;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static ssize_t (*real_read)(int, void *, size_t);
static int (*real_close)(int);

__attribute__((constructor)) static void begin(void) {
    const char *late = getenv("SLOW_READ_US");
    long us = late ? atol(late) : 0;
    directory = getenv("SLOW_DIRECTORY");
    length = directory ? strlen(directory) : 0;
    delay.tv_sec = us / 1000000;
    delay.tv_nsec = us % 1000000 * 1000;
    real_open = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_read = dlsym(RTLD_NEXT, "read");
    real_close = dlsym(RTLD_NEXT, "close");
}

static int opened(int file, const char *path) {
    if (file >= 0 && file < FILES)
        is_slow[file] = length && !strncmp(path, directory, length) && path[length] == '/';
    return file;
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened(real_open(path, flags, mode), path);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened(real_open(path, flags, mode), path);
}

int openat64(int at, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened(real_openat(at, path, flags, mode), path);
}

ssize_t read(int file, void *to, size_t size) {
    if (file >= 0 && file < FILES && is_slow[file])
        nanosleep(&delay, NULL);
    return real_read(file, to, size);
}

int close(int file) {
    if (file >= 0 && file < FILES)
        is_slow[file] = 0;
    return real_close(file);
}
