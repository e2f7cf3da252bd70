/* Cuts a process's writing at a chosen point. Preloaded, it counts the calls that change
 * files under one folder, and lets one of them fail, do half of its work, or be the
 * process's last. The process arms it by calling faults_arm (through ctypes); until then
 * it only passes calls on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum fault {
    NONE,
    NO_SPACE,       /* the call fails with ENOSPC */
    IO_ERROR,       /* the call fails with EIO */
    SHORT,          /* a write does half of its work */
    INTERRUPTED,    /* the call fails with EINTR, where the kernel may say so */
    KILL_BEFORE,
    KILL_AFTER,
    FULL,           /* from here on, nothing new fits: half a write, then ENOSPC */
    DEAD,           /* from here on, everything fails with EIO */
};
/* What a call does, as far as faults care. */
enum effect { WRITES = 1, ALLOCATES = 2, INTERRUPTIBLE = 4 };
enum verdict { PASS, FAIL, HALF, PASS_AND_DIE };

static char folder[PATH_MAX];
static size_t folder_length;
static char only[32];
static long chosen;
static enum fault fault;
static long ahead;
static atomic_long calls;
static atomic_int armed, hit;
static char names[1 << 16];
static atomic_size_t names_length;

/* nth counts from 1, among the calls by the name `which` if that is not empty. */
void faults_arm(const char *where, long nth, int kind, const char *which) {
    snprintf(folder, sizeof folder, "%s/", where);
    folder_length = strlen(folder);
    snprintf(only, sizeof only, "%s", which);
    chosen = nth;
    fault = kind;
    calls = 0;
    hit = 0;
    names_length = 0;
    armed = 1;
}

void faults_disarm(void) { armed = 0; }
long faults_calls(void) { return calls; }
int faults_hit(void) { return hit; }
/* The names of the calls that were counted, separated by spaces. */
const char *faults_names(void) { return names; }
/* Lets the process believe that it is so many seconds later. */
void faults_later(long seconds) { ahead = seconds; }

static int inside(const char *path) { return strncmp(path, folder, folder_length) == 0; }

static int concerns(int fd, const char *path) {
    char link[64], real[PATH_MAX];
    if (!armed) return 0;
    if (path && path[0] == '/') return inside(path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, real, sizeof real - 2);
    if (length < 0) return 0;
    /* The folder itself counts too. */
    real[length] = '/';
    real[length + 1] = 0;
    return inside(real);
}

static enum verdict judge(const char *name, int effect, int fd, const char *path) {
    if (!concerns(fd, path)) return PASS;
    if (only[0] && strcmp(only, name)) return PASS;
    long nth = atomic_fetch_add(&calls, 1) + 1;
    size_t length = strlen(name) + 1;
    size_t at = atomic_fetch_add(&names_length, length);
    if (at + length < sizeof names) {
        memcpy(names + at, name, length - 1);
        names[at + length - 1] = ' ';
    }
    if (fault == NONE || nth < chosen || (nth > chosen && fault < FULL)) return PASS;
    enum verdict verdict = FAIL;
    switch (fault) {
    case NO_SPACE: errno = ENOSPC; break;
    case IO_ERROR:
    case DEAD: errno = EIO; break;
    case SHORT: verdict = effect & WRITES ? HALF : PASS; break;
    case INTERRUPTED:
        verdict = effect & INTERRUPTIBLE ? FAIL : PASS;
        errno = EINTR;
        break;
    case KILL_BEFORE: kill(getpid(), SIGKILL); break;
    case KILL_AFTER: verdict = PASS_AND_DIE; break;
    case FULL:
        if (!(effect & (WRITES | ALLOCATES))) return PASS;
        verdict = effect & WRITES && nth == chosen ? HALF : FAIL;
        errno = ENOSPC;
        break;
    default: verdict = PASS;
    }
    if (verdict != PASS) hit = 1;
    return verdict;
}

#define REAL(type, name, ...)                                                               \
    static type (*real)(__VA_ARGS__);                                                       \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)
#define DONE(verdict, value)                                                                \
    do {                                                                                    \
        __typeof__(value) done = (value);                                                   \
        if ((verdict) == PASS_AND_DIE) kill(getpid(), SIGKILL);                             \
        return done;                                                                        \
    } while (0)
/* A call that either happens or fails. */
#define WHOLE(name, effect, fd, path, parameters, ...)                                      \
    int name parameters {                                                                   \
        static int(*real) parameters;                                                       \
        if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);                       \
        enum verdict verdict = judge(#name, effect, fd, path);                              \
        if (verdict == FAIL) return -1;                                                     \
        DONE(verdict, real(__VA_ARGS__));                                                   \
    }
#define OPEN(name, label, fd, path, parameters, ...)                                        \
    int name parameters {                                                                   \
        static int(*real)(__VA_ARGS__, ...);                                                \
        if (!real) real = (int(*)(__VA_ARGS__, ...))dlsym(RTLD_NEXT, #name);                \
        mode_t mode = 0;                                                                    \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                              \
            va_list rest;                                                                   \
            va_start(rest, flags);                                                          \
            mode = va_arg(rest, mode_t);                                                    \
            va_end(rest);                                                                   \
        }                                                                                   \
        enum verdict verdict = PASS;                                                        \
        if (flags & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR))                                \
            verdict = judge(label, ALLOCATES | INTERRUPTIBLE, fd, path);                    \
        if (verdict == FAIL) return -1;                                                     \
        DONE(verdict, CALL);                                                                \
    }

#define CALL real(path, flags, mode)
OPEN(open, "open", AT_FDCWD, path, (const char *path, int flags, ...), const char *, int)
OPEN(open64, "open", AT_FDCWD, path, (const char *path, int flags, ...), const char *, int)
#undef CALL
#define CALL real(fd, path, flags, mode)
OPEN(openat, "open", fd, path, (int fd, const char *path, int flags, ...), int, const char *, int)
OPEN(openat64, "open", fd, path, (int fd, const char *path, int flags, ...), int, const char *, int)
#undef CALL

static size_t half(enum verdict verdict, size_t length) {
    return verdict == HALF && length > 1 ? length / 2 : length;
}

#define WRITE(name, label, parameters, ...)                                                 \
    ssize_t name parameters {                                                               \
        static ssize_t(*real) parameters;                                                   \
        if (!real) real = (ssize_t(*) parameters)dlsym(RTLD_NEXT, #name);                   \
        enum verdict verdict = judge(label, WRITES | INTERRUPTIBLE, fd, NULL);              \
        if (verdict == FAIL) return -1;                                                     \
        length = half(verdict, length);                                                     \
        DONE(verdict, real(__VA_ARGS__));                                                   \
    }
WRITE(write, "write", (int fd, const void *from, size_t length), fd, from, length)
WRITE(pwrite, "pwrite", (int fd, const void *from, size_t length, off_t at), fd, from, length, at)
WRITE(pwrite64, "pwrite", (int fd, const void *from, size_t length, off64_t at), fd, from, length, at)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    enum verdict verdict = judge("writev", WRITES | INTERRUPTIBLE, fd, NULL);
    if (verdict == FAIL) return -1;
    if (verdict == HALF) return write(fd, parts->iov_base, half(HALF, parts->iov_len));
    DONE(verdict, real(fd, parts, count));
}

#define COPY(name, fd, parameters, ...)                                                     \
    ssize_t name parameters {                                                               \
        static ssize_t(*real) parameters;                                                   \
        if (!real) real = (ssize_t(*) parameters)dlsym(RTLD_NEXT, #name);                   \
        enum verdict verdict = judge(#name, WRITES | INTERRUPTIBLE, fd, NULL);              \
        if (verdict == FAIL) return -1;                                                     \
        length = half(verdict, length);                                                     \
        DONE(verdict, real(__VA_ARGS__));                                                   \
    }
COPY(copy_file_range, to,
     (int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags),
     from, from_at, to, to_at, length, flags)
COPY(sendfile, to, (int to, int from, off_t *at, size_t length), to, from, at, length)
COPY(sendfile64, to, (int to, int from, off64_t *at, size_t length), to, from, at, length)

WHOLE(ftruncate, ALLOCATES, fd, NULL, (int fd, off_t length), fd, length)
WHOLE(ftruncate64, ALLOCATES, fd, NULL, (int fd, off64_t length), fd, length)
WHOLE(truncate, ALLOCATES, AT_FDCWD, path, (const char *path, off_t length), path, length)
WHOLE(fallocate, ALLOCATES, fd, NULL, (int fd, int mode, off_t at, off_t length), fd, mode, at, length)
WHOLE(fallocate64, ALLOCATES, fd, NULL, (int fd, int mode, off64_t at, off64_t length), fd, mode, at, length)
WHOLE(fsync, ALLOCATES | INTERRUPTIBLE, fd, NULL, (int fd), fd)
WHOLE(fdatasync, ALLOCATES | INTERRUPTIBLE, fd, NULL, (int fd), fd)
WHOLE(rename, 0, AT_FDCWD, to, (const char *from, const char *to), from, to)
WHOLE(renameat, 0, fd2, to, (int fd1, const char *from, int fd2, const char *to), fd1, from, fd2, to)
WHOLE(unlink, 0, AT_FDCWD, path, (const char *path), path)
WHOLE(unlinkat, 0, fd, path, (int fd, const char *path, int flags), fd, path, flags)
WHOLE(rmdir, 0, AT_FDCWD, path, (const char *path), path)
WHOLE(link, ALLOCATES, AT_FDCWD, to, (const char *from, const char *to), from, to)
WHOLE(linkat, ALLOCATES, fd2, to, (int fd1, const char *from, int fd2, const char *to, int flags), fd1, from, fd2, to, flags)
WHOLE(symlink, ALLOCATES, AT_FDCWD, to, (const char *from, const char *to), from, to)
WHOLE(mkdir, ALLOCATES, AT_FDCWD, path, (const char *path, mode_t mode), path, mode)
WHOLE(mkdirat, ALLOCATES, fd, path, (int fd, const char *path, mode_t mode), fd, path, mode)
WHOLE(chmod, 0, AT_FDCWD, path, (const char *path, mode_t mode), path, mode)
WHOLE(fchmod, 0, fd, NULL, (int fd, mode_t mode), fd, mode)
WHOLE(flock, INTERRUPTIBLE, fd, NULL, (int fd, int how), fd, how)

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int done = real(clock, now);
    if (done == 0 && clock == CLOCK_REALTIME) now->tv_sec += ahead;
    return done;
}
