/* Real faults for a process that is started with LD_PRELOAD: calls on files below a folder are
 * counted, and the one with a given number kills the process, fails, or writes half.
 *
 *     faults_set(root, at, kind, error)    begin to count; at = -1 only counts
 *     faults_log()                         one line a counted call: "name path", "rename to from"
 *
 * A forked child goes on with its parent's numbers in memory of its own. Waiting for the disk is
 * left out: a killed process loses nothing that the kernel has, and tests would wait for hours.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { KILL, TORN, FAIL, SHORT, FULL };

static char root[PATH_MAX];
static char log_[1 << 20];
static size_t logged, root_length;
static int armed, count, at, kind, error_, full;
static __thread const char *from; /* what a rename is about to rename */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

void faults_set(const char *folder, int at_, int kind_, int error) {
    snprintf(root, sizeof root, "%s", folder);
    root_length = strlen(root);
    logged = 0, log_[0] = 0, count = 0, full = 0;
    at = at_, kind = kind_, error_ = error, armed = root_length > 0;
}

const char *faults_log(void) { return log_; }

/* Give the path that a call is about; relative ones count only beside an opened folder. */
static const char *full_path(int dir, const char *path, char *into) {
    char link[64];
    if (path && path[0] == '/') return path;
    if (dir < 0) return "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t n = readlink(link, into, PATH_MAX - 1);
    if (n < 0) return "";
    into[n] = 0;
    if (path && path[0]) {
        strncat(into, "/", PATH_MAX - 1 - strlen(into));
        strncat(into, path, PATH_MAX - 1 - strlen(into));
    }
    return into;
}

/* Count a call. Gives 0: go on; -1: fail, errno is set; 1: write half; 2: write half, then die. */
static int meet(const char *name, int dir, const char *path, int grows, int writes) {
    char space[PATH_MAX];
    if (!armed) return 0;
    int saved = errno;
    const char *where = full_path(dir, path, space);
    errno = saved;
    if (strncmp(where, root, root_length) || (where[root_length] && where[root_length] != '/'))
        return 0;
    pthread_mutex_lock(&guard);
    int number = count++;
    size_t room = sizeof log_ - logged;
    int n = from ? snprintf(log_ + logged, room, "%s %s %s\n", name, where, from)
                 : snprintf(log_ + logged, room, "%s %s\n", name, where);
    if (n > 0 && (size_t)n < room) logged += (size_t)n;
    int was_full = full;
    if (number == at && kind == FULL) full = 1;
    pthread_mutex_unlock(&guard);
    if (was_full && grows) return errno = ENOSPC, -1;
    if (number != at) return 0;
    if (kind == KILL) kill(getpid(), SIGKILL);
    if (kind == FAIL) return errno = error_, -1;
    if (kind == TORN) return 2;
    return writes ? 1 : 0;
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list more; \
        va_start(more, flags); \
        int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0; \
        va_end(more); \
        int grows = flags & O_CREAT; \
        if (meet(grows ? "create" : "open", -1, path, grows, 0) < 0) return -1; \
        return real(path, flags, mode); \
    }

#define OPENAT(name) \
    int name(int dir, const char *path, int flags, ...) { \
        REAL(int, #name, int, const char *, int, ...); \
        va_list more; \
        va_start(more, flags); \
        int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0; \
        va_end(more); \
        int grows = flags & O_CREAT; \
        if (meet(grows ? "create" : "open", dir, path, grows, 0) < 0) return -1; \
        return real(dir, path, flags, mode); \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

DIR *opendir(const char *path) {
    REAL(DIR *, "opendir", const char *);
    return meet("opendir", -1, path, 0, 0) < 0 ? NULL : real(path);
}

ssize_t read(int file, void *data, size_t size) {
    REAL(ssize_t, "read", int, void *, size_t);
    return meet("read", file, "", 0, 0) < 0 ? -1 : real(file, data, size);
}

#define WRITE(name, after, ...) \
    ssize_t name(int file, const void *data, size_t size after(off_t place)) { \
        REAL(ssize_t, #name, int, const void *, size_t after(off_t)); \
        int met = meet("write", file, "", 1, 1); \
        if (met < 0) return -1; \
        ssize_t done = real(file, data, met ? (size + 1) / 2 : size after(place)); \
        if (met == 2) kill(getpid(), SIGKILL); \
        return done; \
    }
#define NOTHING(x)
#define ALSO(x) , x

WRITE(write, NOTHING)
WRITE(pwrite, ALSO)
WRITE(pwrite64, ALSO)

ssize_t writev(int file, const struct iovec *parts, int n) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    int met = meet("write", file, "", 1, 1);
    if (met < 0) return -1;
    ssize_t done = real(file, parts, met && n > 1 ? n / 2 : n);
    if (met == 2) kill(getpid(), SIGKILL);
    return done;
}

#define SYNC(name) \
    int name(int file) { \
        REAL(int, #name, int); \
        if (meet("fsync", file, "", 0, 0) < 0) return -1; \
        return armed ? 0 : real(file); \
    }

SYNC(fsync)
SYNC(fdatasync)

/* Closes whatever happens, as Linux does. */
int close(int file) {
    REAL(int, "close", int);
    int met = meet("close", file, "", 0, 0), why = errno, done = real(file);
    return met < 0 ? errno = why, -1 : done;
}

#define CHANGE(result, name, said, grows, types, names, dir, path) \
    result name types { \
        REAL(result, #name, PARTS types); \
        return meet(said, dir, path, grows, 0) < 0 ? -1 : real names; \
    }
#define PARTS(...) __VA_ARGS__

int rename(const char *a, const char *b) {
    REAL(int, "rename", const char *, const char *);
    from = a;
    int met = meet("rename", -1, b, 0, 0);
    from = NULL;
    return met < 0 ? -1 : real(a, b);
}

CHANGE(int, mkdir, "mkdir", 1, (const char *a, mode_t m), (a, m), -1, a)
CHANGE(int, mkdirat, "mkdir", 1, (int f, const char *a, mode_t m), (f, a, m), f, a)
CHANGE(int, unlink, "unlink", 0, (const char *a), (a), -1, a)
CHANGE(int, unlinkat, "unlink", 0, (int f, const char *a, int m), (f, a, m), f, a)
CHANGE(int, rmdir, "rmdir", 0, (const char *a), (a), -1, a)
CHANGE(int, truncate64, "truncate", 0, (const char *a, off64_t n), (a, n), -1, a)
CHANGE(int, ftruncate64, "truncate", 0, (int f, off64_t n), (f, n), f, "")
CHANGE(int, symlink, "symlink", 1, (const char *a, const char *b), (a, b), -1, b)
CHANGE(int, link, "link", 1, (const char *a, const char *b), (a, b), -1, b)
