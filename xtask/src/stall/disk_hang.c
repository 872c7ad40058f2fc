/* Loaded before libc: writes and syncs of files hang while the number in the file DISK_HANG is not 0. Another process changes it at any time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static const volatile int64_t *hangs;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);

__attribute__((constructor)) static void start(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    const char *path = getenv("DISK_HANG");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    void *mapped = mmap(0, sizeof *hangs, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) {
        hangs = mapped;
    }
}

static void wait_for_disk(void) {
    while (hangs && *hangs) {
        usleep(2000);
    }
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t position) {
    wait_for_disk();
    return real_pwrite(fd, bytes, length, position);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t position) {
    return pwrite64(fd, bytes, length, position);
}

int fdatasync(int fd) {
    wait_for_disk();
    int result = real_fdatasync(fd);
    wait_for_disk();
    return result;
}

int fsync(int fd) {
    wait_for_disk();
    return real_fsync(fd);
}
