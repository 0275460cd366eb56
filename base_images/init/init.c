/* Hearth's init: PID 1 of every environment. The protocol it speaks is docs/environment-protocol.md.
 *
 * It starts the runtime, tells the scheduler how it ended, and hands the scheduler two descriptors: the socket that
 * listens on 127.0.0.1:9001 of this container's network namespace (so the scheduler serves the Runtime API without a
 * relay, a host port or a network), and the read end of the runtime's output pipe.
 *
 * Rule 1: one thread, one epoll loop, no allocation after the start. Nothing here can grow.
 * Rule 2: every descriptor is close-on-exec; the runtime gets 0, 1 and 2 and nothing else.
 * Rule 3: the pipe is read only while no scheduler is connected: then the output is thrown away so that the function
 *         never blocks on it. A connected scheduler reads it itself.
 * Rule 4: the death of the runtime is not the death of the init. It stays until it is told to go (so that the cgroup's
 *         out-of-memory counter can still be read), or until no scheduler has been there for HEARTH_ORPHAN_S seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PROTOCOL_VERSION = 1,
    RUNTIME_API_PORT = 9001,
    PIPE_BYTES = 256 * 1024,
    RETRY_FIRST_MS = 20,
    RETRY_MAX_MS = 500,
    ORPHAN_DEFAULT_S = 60,
    HEADER_BYTES = 9,   /* kind, meta length, body length */
    META_MAX_BYTES = 40 /* the longest meta either side sends is "1\0exited\0255\0" "64\0chdir\0133" */
};

/* What epoll says is ready. */
enum { READY_SIGNAL, READY_SCHEDULER, READY_OUTPUT };

typedef enum { RUNNING, EXITED } runtime_state;

static struct {
    /* the runtime */
    runtime_state state;
    pid_t runtime; /* also its process group and session */
    int exit_code;
    int exit_signal;
    int failure; /* read end of the pipe on which a runtime that cannot begin says why */
    char failed_step[8]; /* "exec" or "chdir"; empty if it has begun */
    int failed_errno;
    bool stopping; /* SIGTERM or SIGINT came from outside: follow the runtime into its end */

    /* descriptors */
    int epoll;
    int signals;
    int listener;
    int output; /* read end of the pipe */
    int scheduler; /* -1 while not connected */

    /* the connection */
    const char *socket_path;
    int64_t retry_at_ms;
    int64_t retry_delay_ms;
    int64_t orphan_at_ms;
    int64_t orphan_after_ms;
    unsigned char in[HEADER_BYTES + META_MAX_BYTES];
    size_t in_bytes;
    /* Two frames at most: the greeting and one exit. */
    unsigned char out[2 * (HEADER_BYTES + META_MAX_BYTES)];
    size_t out_bytes;
} self = {.epoll = -1, .signals = -1, .listener = -1, .output = -1, .scheduler = -1};

static void die(const char *what) {
    fprintf(stderr, "hearth init: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void watch(int fd, uint32_t events, uint32_t what) {
    struct epoll_event event = {.events = events, .data.u32 = what};
    if (epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

static void unwatch(int fd) { epoll_ctl(self.epoll, EPOLL_CTL_DEL, fd, NULL); }

/* ---- frames ---- */

static void put_u32(unsigned char *at, uint32_t value) {
    value = htonl(value);
    memcpy(at, &value, sizeof value);
}

static uint32_t get_u32(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

/* Append a frame without a body to the outgoing bytes. */
static void put_frame(char kind, const char *meta, size_t meta_bytes) {
    unsigned char *at = self.out + self.out_bytes;
    if (self.out_bytes + HEADER_BYTES + meta_bytes > sizeof self.out) return; /* cannot happen: see the field */
    at[0] = (unsigned char)kind;
    put_u32(at + 1, (uint32_t)meta_bytes);
    put_u32(at + 5, 0);
    memcpy(at + HEADER_BYTES, meta, meta_bytes);
    self.out_bytes += HEADER_BYTES + meta_bytes;
}

/* Append why the runtime could not begin, if it could not. */
static int put_failure(char *at, size_t room) {
    if (!self.failed_step[0]) return 0;
    return snprintf(at, room, "%c%s%c%d", 0, self.failed_step, 0, self.failed_errno);
}

static void put_greeting(void) {
    char meta[META_MAX_BYTES];
    const char *state = self.state == RUNNING ? "running" : "exited";
    int bytes = snprintf(meta, sizeof meta, "%d%c%s%c%d%c%d", PROTOCOL_VERSION, 0, state, 0, self.exit_code, 0,
                         self.exit_signal);
    bytes += put_failure(meta + bytes, sizeof meta - (size_t)bytes);
    put_frame('i', meta, (size_t)bytes);
}

static void put_exit(void) {
    char meta[META_MAX_BYTES];
    int bytes = snprintf(meta, sizeof meta, "%d%c%d", self.exit_code, 0, self.exit_signal);
    bytes += put_failure(meta + bytes, sizeof meta - (size_t)bytes);
    put_frame('x', meta, (size_t)bytes);
}

/* ---- the scheduler's end of things ---- */

static void disconnected(void) {
    if (self.scheduler >= 0) {
        close(self.scheduler); /* leaves epoll by itself */
        self.scheduler = -1;
        watch(self.output, EPOLLIN, READY_OUTPUT);
        self.orphan_at_ms = now_ms() + self.orphan_after_ms;
        self.retry_delay_ms = RETRY_FIRST_MS;
    }
    self.in_bytes = self.out_bytes = 0;
    self.retry_at_ms = now_ms() + self.retry_delay_ms;
    self.retry_delay_ms = self.retry_delay_ms * 2 < RETRY_MAX_MS ? self.retry_delay_ms * 2 : RETRY_MAX_MS;
}

/* Write what is outstanding; ask epoll to call again only while something is. */
static void flush_out(void) {
    while (self.scheduler >= 0 && self.out_bytes > 0) {
        ssize_t sent = send(self.scheduler, self.out, self.out_bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (sent < 0) {
            disconnected();
            return;
        }
        self.out_bytes -= (size_t)sent;
        memmove(self.out, self.out + sent, self.out_bytes);
    }
    if (self.scheduler < 0) return;
    struct epoll_event event = {.events = EPOLLIN | (self.out_bytes ? EPOLLOUT : 0U),
                                .data.u32 = READY_SCHEDULER};
    epoll_ctl(self.epoll, EPOLL_CTL_MOD, self.scheduler, &event);
}

/* Send the greeting with the two descriptors. They ride on its first byte, so a short write loses none of them. */
static bool greet(int fd) {
    union { /* aligned as a control message must be */
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control;
    memset(&control, 0, sizeof control);
    struct iovec vector = {.iov_base = self.out, .iov_len = self.out_bytes};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(2 * sizeof(int));
    int descriptors[2] = {self.listener, self.output};
    memcpy(CMSG_DATA(header), descriptors, sizeof descriptors);
    ssize_t sent;
    do sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent <= 0) return false;
    self.out_bytes -= (size_t)sent;
    memmove(self.out, self.out + sent, self.out_bytes);
    return true;
}

static void connect_scheduler(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, self.socket_path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) die("socket");
    self.in_bytes = self.out_bytes = 0;
    put_greeting();
    /* On a unix socket connect() succeeds or fails at once, also when non-blocking (EAGAIN: the backlog is full). */
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 || !greet(fd)) {
        close(fd);
        disconnected();
        return;
    }
    self.scheduler = fd;
    unwatch(self.output);
    watch(fd, EPOLLIN, READY_SCHEDULER);
    flush_out();
}

static void signal_runtime(int number) {
    if (self.state == RUNNING) kill(-self.runtime, number);
}

static void obey(char kind, const char *meta) {
    if (kind == 'k') {
        int number = atoi(meta);
        if (number > 0 && number < NSIG) signal_runtime(number);
    } else if (kind == 'q') {
        signal_runtime(SIGKILL);
        exit(0); /* the end of PID 1 is the end of everything in the container */
    }
    /* An unknown kind is from a newer scheduler: ignored. */
}

/* Take the complete frames off the front of the incoming bytes. False: this is not our protocol. */
static bool obey_all(void) {
    while (self.in_bytes >= HEADER_BYTES) {
        uint32_t meta_bytes = get_u32(self.in + 1), body_bytes = get_u32(self.in + 5);
        if (meta_bytes >= META_MAX_BYTES || body_bytes != 0) return false;
        size_t frame_bytes = HEADER_BYTES + meta_bytes;
        if (self.in_bytes < frame_bytes) return true;
        char meta[META_MAX_BYTES] = {0};
        memcpy(meta, self.in + HEADER_BYTES, meta_bytes);
        obey((char)self.in[0], meta);
        self.in_bytes -= frame_bytes;
        memmove(self.in, self.in + frame_bytes, self.in_bytes);
    }
    return true;
}

static void on_scheduler(uint32_t events) {
    if (self.scheduler < 0) return; /* lost by an earlier event of the same round */
    if (events & EPOLLOUT) flush_out();
    if (self.scheduler < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t got = recv(self.scheduler, self.in + self.in_bytes, sizeof self.in - self.in_bytes, 0);
    if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got <= 0) {
        disconnected();
        return;
    }
    self.in_bytes += (size_t)got;
    if (!obey_all()) disconnected();
}

/* ---- the runtime ---- */

/* What a runtime that cannot begin tells its parent. */
typedef struct {
    char step[8];
    int reason;
} failure_note;

static _Noreturn void give_up(int failure, const char *step, const char *what) {
    failure_note note = {.reason = errno};
    strncpy(note.step, step, sizeof note.step - 1);
    fprintf(stderr, "%s: %s\n", what, strerror(note.reason));
    if (write(failure, &note, sizeof note) < 0) _exit(126);
    _exit(note.reason == ENOENT ? 127 : 126); /* as a shell says it: not found, not executable */
}

static void run_runtime(char **argv, const char *directory, int output, int failure, const sigset_t *mask) {
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) _exit(126);
    if (null > 2) close(null);
    setsid(); /* a group of its own, so that a signal reaches all of it and nothing else */
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    if (!getenv("HEARTH_STEM")) { /* not our client: it has no use for our variables */
        unsetenv("HEARTH_SOCKET");
        unsetenv("HEARTH_ORPHAN_S");
    }
    if (directory && chdir(directory) < 0) give_up(failure, "chdir", directory);
    execvp(argv[0], argv);
    give_up(failure, "exec", argv[0]);
}

static void start_runtime(char **argv, const char *directory, const sigset_t *mask) {
    int ends[2], failure[2]; /* both ends of the latter close by themselves when the runtime begins */
    if (pipe2(ends, O_CLOEXEC) < 0 || pipe2(failure, O_CLOEXEC | O_NONBLOCK) < 0) die("pipe2");
    /* Room for what is written before the scheduler looks. Refused beyond the user's pipe allowance: then it is small. */
    fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    /* Only our end; the flag belongs to the end, so the function's writes still block. */
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    self.output = ends[0];
    self.runtime = fork();
    if (self.runtime < 0) die("fork");
    if (self.runtime == 0) run_runtime(argv, directory, ends[1], failure[1], mask);
    close(ends[1]);
    close(failure[1]);
    self.failure = failure[0];
}

/* If the runtime has ended without having begun, its note is there by now. */
static void read_failure(void) {
    failure_note note;
    if (read(self.failure, &note, sizeof note) != (ssize_t)sizeof note) return;
    memcpy(self.failed_step, note.step, sizeof self.failed_step);
    self.failed_errno = note.reason;
}

/* Reap everything that has ended: the runtime, and whatever it left behind that is now ours. */
static void reap(void) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != self.runtime || self.state == EXITED) continue;
        self.state = EXITED;
        self.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
        self.exit_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        read_failure();
        if (self.scheduler >= 0) put_exit();
        flush_out();
    }
    if (self.stopping && self.state == EXITED)
        exit(self.exit_signal ? 128 + self.exit_signal : self.exit_code);
}

static void on_signal(void) {
    struct signalfd_siginfo info;
    while (read(self.signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD) continue;
        self.stopping = true;
        signal_runtime((int)info.ssi_signo);
    }
    reap(); /* always: signals of one kind merge, so they are no count of deaths */
}

/* Throw away what the runtime wrote while nobody was there to read it. */
static void on_output(void) {
    static char waste[64 * 1024];
    ssize_t got = read(self.output, waste, sizeof waste);
    if (got == 0) unwatch(self.output); /* every writer is gone; epoll would report that for ever */
}

/* ---- bringing it together ---- */

static int listen_runtime_api(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(RUNTIME_API_PORT),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0) die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die("bind 127.0.0.1:9001");
    if (listen(fd, 128) < 0) die("listen");
    return fd;
}

static void configure(void) {
    struct sockaddr_un address;
    self.socket_path = getenv("HEARTH_SOCKET");
    if (!self.socket_path || strlen(self.socket_path) >= sizeof address.sun_path) {
        fprintf(stderr, "hearth init: HEARTH_SOCKET must name the scheduler's socket\n");
        exit(2);
    }
    const char *orphan = getenv("HEARTH_ORPHAN_S");
    double orphan_s = orphan ? atof(orphan) : ORPHAN_DEFAULT_S;
    if (!(orphan_s > 0 && orphan_s < 1e9)) orphan_s = ORPHAN_DEFAULT_S;
    self.orphan_after_ms = (int64_t)(orphan_s * 1000);
    self.orphan_at_ms = now_ms() + self.orphan_after_ms;
    self.retry_delay_ms = RETRY_FIRST_MS;
}

/* How long epoll may wait: until the next attempt to connect or the end of patience; for ever while connected. */
static int patience_ms(void) {
    if (self.scheduler >= 0) return -1;
    int64_t until = self.retry_at_ms < self.orphan_at_ms ? self.retry_at_ms : self.orphan_at_ms;
    int64_t left = until - now_ms();
    return left < 0 ? 0 : (int)left;
}

static void tend_connection(void) {
    if (self.scheduler >= 0) return;
    if (now_ms() >= self.orphan_at_ms) {
        fprintf(stderr, "hearth init: no scheduler for %lld ms: leaving\n", (long long)self.orphan_after_ms);
        signal_runtime(SIGKILL);
        exit(0);
    }
    if (now_ms() >= self.retry_at_ms) connect_scheduler();
}

static void loop(void) {
    for (;;) {
        tend_connection();
        struct epoll_event events[4];
        int count = epoll_wait(self.epoll, events, 4, patience_ms());
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int index = 0; index < count; index++) {
            switch (events[index].data.u32) {
                case READY_SIGNAL: on_signal(); break;
                case READY_SCHEDULER: on_scheduler(events[index].events); break;
                case READY_OUTPUT:
                    if (self.scheduler < 0) on_output();
                    break;
            }
        }
    }
}

int main(int argc, char **argv) {
    const char *directory = NULL;
    char **command = argv + 1;
    if (argc > 2 && strcmp(argv[1], "-C") == 0) {
        directory = argv[2];
        command = argv + 3;
    }
    if (!*command) {
        fprintf(stderr, "usage: init [-C DIRECTORY] COMMAND [ARGUMENT]...\n");
        return 2;
    }
    /* The function runs as the same user: without this it could trace us and take our descriptors. */
    prctl(PR_SET_DUMPABLE, 0);
    configure();

    sigset_t ours, before;
    sigemptyset(&ours);
    sigaddset(&ours, SIGCHLD);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigprocmask(SIG_BLOCK, &ours, &before);
    signal(SIGPIPE, SIG_IGN);

    self.epoll = epoll_create1(EPOLL_CLOEXEC);
    self.signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    if (self.epoll < 0 || self.signals < 0) die("epoll, signalfd");
    self.listener = listen_runtime_api();
    start_runtime(command, directory, &before);
    watch(self.signals, EPOLLIN, READY_SIGNAL);
    watch(self.output, EPOLLIN, READY_OUTPUT);
    loop();
}
