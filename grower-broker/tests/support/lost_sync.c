/* Loaded before libc: once the file LOST_SYNC_TRIGGER exists, the LOST_SYNC_AT-th call of fdatasync from then on, for a file
 * with LOST_SYNC_IN in its path, fails as a real one does. What was written to its file since the last sync is gone, a zero in each byte, and the call
 * says EIO, once: a second try would succeed and prove nothing. The file LOST_SYNC_TRIGGER.lost then names the victim. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { DESCRIPTORS = 1 << 20 };

/* For each descriptor: 1 + where the first byte lies that was written since the last sync; 0 if there is none. */
static _Atomic off_t unsynced[DESCRIPTORS];
static atomic_int calls;
static const char *trigger;
static const char *within;
static int failing_call;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fdatasync)(int);
static int (*real_close)(int);

__attribute__((constructor)) static void start(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_close = dlsym(RTLD_NEXT, "close");
    trigger = getenv("LOST_SYNC_TRIGGER");
    within = getenv("LOST_SYNC_IN");
    const char *at = getenv("LOST_SYNC_AT");
    failing_call = at ? atoi(at) : 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t position) {
    if (0 <= fd && fd < DESCRIPTORS) {
        off_t first = atomic_load(&unsynced[fd]);
        while ((first == 0 || position + 1 < first) &&
               !atomic_compare_exchange_weak(&unsynced[fd], &first, position + 1)) {
        }
    }
    return real_pwrite(fd, bytes, length, position);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t position) {
    return pwrite64(fd, bytes, length, position);
}

int close(int fd) {
    if (0 <= fd && fd < DESCRIPTORS) {
        atomic_store(&unsynced[fd], 0);
    }
    return real_close(fd);
}

static void lose(int fd, off_t from) {
    static const char zeros[4096];
    struct stat file;
    if (fstat(fd, &file) != 0) {
        return;
    }
    for (off_t at = from; at < file.st_size; at += sizeof zeros) {
        off_t rest = file.st_size - at;
        real_pwrite(fd, zeros, rest < (off_t)sizeof zeros ? (size_t)rest : sizeof zeros, at);
    }
}

static void find_path(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    path[length < 0 ? 0 : length] = 0;
}

static void tell(const char *victim) {
    char path[4096];
    snprintf(path, sizeof path, "%s.lost", trigger);
    int out = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    if (out < 0 || write(out, victim, strlen(victim)) < 0) {
        abort();
    }
    real_close(out);
}

static int is_victim(const char *path) {
    return strstr(path, within ? within : "") && atomic_fetch_add(&calls, 1) + 1 == failing_call;
}

int fdatasync(int fd) {
    off_t first = 0 <= fd && fd < DESCRIPTORS ? atomic_exchange(&unsynced[fd], 0) : 0;
    if (first != 0 && trigger && access(trigger, F_OK) == 0) {
        char path[4096];
        find_path(fd, path, sizeof path);
        if (is_victim(path)) {
            lose(fd, first - 1);
            tell(path);
            errno = EIO;
            return -1;
        }
    }
    return real_fdatasync(fd);
}
