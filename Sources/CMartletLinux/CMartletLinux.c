#define _GNU_SOURCE
#include "CMartletLinux.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <execinfo.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <netinet/in.h>
#include <limits.h>
#include <linux/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int martlet_accept(int listener) {
  int fd;
  do fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  return fd;
}

static int failed_with(int fd, int error) {
  if (fd >= 0) close(fd);
  errno = error;
  return -1;
}

/* Fills *out from a numeric address; returns its length, or 0. */
static socklen_t numeric_address(const char *address, uint16_t port, struct sockaddr_storage *out) {
  memset(out, 0, sizeof *out);
  struct sockaddr_in *v4 = (struct sockaddr_in *)out;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
  if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    return sizeof *v4;
  }
  if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return sizeof *v6;
  }
  return 0;
}

static socklen_t unix_address(const char *path, struct sockaddr_un *out) {
  memset(out, 0, sizeof *out);
  out->sun_family = AF_UNIX;
  if (strlen(path) >= sizeof out->sun_path) return 0;
  strcpy(out->sun_path, path);
  return sizeof *out;
}

int martlet_listen_tcp(const char *address, uint16_t port, int backlog, uint16_t *bound_port) {
  struct sockaddr_storage a;
  socklen_t length = numeric_address(address, port, &a);
  if (!length) return failed_with(-1, EINVAL);
  int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&a, length) || (backlog >= 0 && listen(fd, backlog))) return failed_with(fd, errno);
  int bound = martlet_local_port(fd);
  if (bound < 0) return failed_with(fd, errno);
  *bound_port = (uint16_t)bound;
  return fd;
}

int martlet_listen_unix(const char *path, mode_t mode, int backlog) {
  struct sockaddr_un a;
  if (!unix_address(path, &a)) return failed_with(-1, ENAMETOOLONG);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  mode_t old = umask(0777 & ~mode);
  int bound = bind(fd, (struct sockaddr *)&a, sizeof a), error = errno;
  umask(old);
  if (bound) return failed_with(fd, error);
  if (listen(fd, backlog)) return failed_with(fd, errno);
  return fd;
}

static int connected(int family, const void *address, socklen_t length) {
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, address, length)) return failed_with(fd, errno);
  return fd;
}

int martlet_connect_unix(const char *path) {
  struct sockaddr_un a;
  if (!unix_address(path, &a)) return failed_with(-1, ENAMETOOLONG);
  return connected(AF_UNIX, &a, sizeof a);
}

int martlet_connect_tcp(const char *address, uint16_t port) {
  struct sockaddr_storage a;
  socklen_t length = numeric_address(address, port, &a);
  if (!length) return failed_with(-1, EINVAL);
  return connected(a.ss_family, &a, length);
}

int martlet_local_port(int fd) {
  struct sockaddr_storage a;
  socklen_t length = sizeof a;
  if (getsockname(fd, (struct sockaddr *)&a, &length)) return -1;
  if (a.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&a)->sin_port);
  if (a.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
  errno = EAFNOSUPPORT;
  return -1;
}

int martlet_socket_cookie(int fd, uint64_t *cookie) {
  socklen_t length = sizeof *cookie;
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &length);
}

int martlet_local_name(int fd, void *name, int capacity) {
  socklen_t length = (socklen_t)capacity;
  return getsockname(fd, name, &length) ? -1 : (int)length;
}

/* A port that the kernel chose is lost with the state of listening, though getsockname(2) still tells it; one that was
   asked for stays bound (EINVAL). */
int martlet_listen_again(int fd, const void *name, int length, int backlog) {
  if (bind(fd, name, (socklen_t)length) && errno != EINVAL) return -1;
  return listen(fd, backlog);
}

int martlet_is_tcp_connection(int fd) {
  int protocol = 0, listens = 1;
  socklen_t length = sizeof protocol;
  if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) || protocol != IPPROTO_TCP) return 0;
  length = sizeof listens;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && !listens;
}

int martlet_is_unix(int fd) {
  int domain = 0;
  socklen_t length = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

int martlet_is_listening(int fd) {
  int on = 0, type = 0;
  socklen_t length = sizeof on;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) || type != SOCK_STREAM) return 0;
  length = sizeof on;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &length) == 0 && on;
}

int martlet_set_no_delay(int fd) {
  int one = 1;
  return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

int martlet_find_vanished(int fd, int seconds) {
  const int one = 1, idle = seconds / 2, interval = seconds / 6 > 0 ? seconds / 6 : 1, probes = 3, patience = seconds * 1000;
  if (setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle)) return -1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval)) return -1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes)) return -1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience)) return -1;
  return setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
}

int martlet_set_urgent_inline(int fd) {
  int one = 1;
  return setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
}

int martlet_set_buffer(int fd, int receive_bytes, int send_bytes) {
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes)) return -1;
  return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
}

int martlet_socket_pair(int type, int pair[2]) {
  return socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
}

int martlet_set_close_on_exec(int fd, int on) { return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0); }

int martlet_set_non_blocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

typedef union {
  char bytes[CMSG_SPACE(MARTLET_MAX_DESCRIPTORS * sizeof(int))];
  struct cmsghdr align;
} control_buffer;

ssize_t martlet_send_descriptors(int sock, const void *data, size_t length, const int *fds, int count) {
  control_buffer control;
  struct iovec part = {(void *)data, length};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count < 0 || count > MARTLET_MAX_DESCRIPTORS) {
    errno = EINVAL;
    return -1;
  }
  if (count > 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    memset(control.bytes, 0, message.msg_controllen);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
  }
  ssize_t sent;
  do sent = sendmsg(sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  return sent;
}

ssize_t martlet_receive_descriptors(int sock, void *data, size_t capacity, int *fds, int max, int *count, int *truncated) {
  control_buffer control;
  struct iovec part = {data, capacity};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  *count = 0;
  *truncated = 0;
  ssize_t received;
  do received = recvmsg(sock, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  /* A peer that left with something unread is reported once, before what it sent: that is still to be had. */
  while (received < 0 && (errno == EINTR || errno == ECONNRESET));
  if (received < 0) return received;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int n = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    const int *passed = (const int *)CMSG_DATA(header);
    for (int i = 0; i < n; i++) {
      if (*count < max)
        fds[(*count)++] = passed[i];
      else
        close(passed[i]);
    }
  }
  *truncated = (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0;
  return received;
}

int martlet_memfd(const char *name, int allow_sealing) {
  return memfd_create(name, MFD_CLOEXEC | (allow_sealing ? MFD_ALLOW_SEALING : 0));
}

int martlet_seal(int memfd) {
  return fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
}

/* The last seal keeps others from adding one that forbids writing. */
int martlet_fix_size(int memfd) {
  return fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

int martlet_has_fixed_size(int memfd) {
  int seals = fcntl(memfd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) && (seals & F_SEAL_GROW);
}

int martlet_inherit(int fd, int on) {
  int flags = fcntl(fd, F_GETFD);
  if (flags < 0) return -1;
  return fcntl(fd, F_SETFD, on ? flags & ~FD_CLOEXEC : flags | FD_CLOEXEC);
}

/* What a worker that traps, or is aborted, says before it ends; only calls that signal-safety(7) allows, but for
   backtrace(3), which is called once before so that it allocates nothing here. */
static char trap_name[64];

static void trapped(int signal) {
  void *frames[64];
  char line[128];
  int length = snprintf(line, sizeof line, "%s: signal %d; the stack follows (addr2line -e martlet-worker ADDRESS)\n",
                        trap_name, signal);
  if (write(2, line, (size_t)length) < 0) _exit(128 + signal);
  backtrace_symbols_fd(frames, backtrace(frames, 64), 2);
  raise(signal);
}

void martlet_name_traps(const char *name) { snprintf(trap_name, sizeof trap_name, "%s", name); }

int martlet_report_traps(const char *name) {
  static char stack[65536];
  const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};
  void *frames[1];
  martlet_name_traps(name);
  backtrace(frames, 1);
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  if (sigaltstack(&alternate, NULL)) return -1;
  struct sigaction action = {.sa_handler = trapped, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER | SA_ONSTACK)};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
    if (sigaction(signals[i], &action, NULL)) return -1;
  return 0;
}

int martlet_hide_memory(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

int martlet_do_not_dump(void *address, size_t length) { return madvise(address, length, MADV_DONTDUMP); }

int martlet_punch(void *address, size_t length) { return madvise(address, length, MADV_REMOVE); }

int martlet_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int martlet_pidfd_signal(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

int martlet_close_from(posix_spawn_file_actions_t *actions, int from) {
  return posix_spawn_file_actions_addclosefrom_np(actions, from);
}

int martlet_open_descriptors(void) {
  DIR *directory = opendir("/proc/self/fd");
  if (!directory) return -1;
  int count = 0;
  while (readdir(directory)) count++;
  closedir(directory);
  return count - 3; /* ".", ".." and the directory's own */
}

int martlet_set_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int martlet_reserve_descriptors(int count) {
  int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, count - 1);
  if (fd < 0) return -1;
  return close(fd);
}

int martlet_trim_heap(void) { return malloc_trim(0); }

static int address_of(int (*get)(int, struct sockaddr *, socklen_t *), int fd, uint8_t address[16]) {
  struct sockaddr_storage peer;
  socklen_t length = sizeof peer;
  if (get(fd, (struct sockaddr *)&peer, &length) < 0) return 0;
  if (peer.ss_family == AF_INET6) {
    memcpy(address, &((struct sockaddr_in6 *)&peer)->sin6_addr, 16);
    return 1;
  }
  if (peer.ss_family != AF_INET) return 0;
  memset(address, 0, 10);
  address[10] = address[11] = 0xff;
  memcpy(address + 12, &((struct sockaddr_in *)&peer)->sin_addr, 4);
  return 1;
}

int martlet_parse_address(const char *text, uint8_t address[16]) {
  if (inet_pton(AF_INET6, text, address) == 1) return 1;
  memset(address, 0, 10);
  address[10] = address[11] = 0xff;
  return inet_pton(AF_INET, text, address + 12) == 1;
}

int martlet_peer_uid(int fd, uint32_t *uid) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return -1;
  *uid = peer.uid;
  return 0;
}

int martlet_terminal_size(int fd, int *columns, int *rows) {
  struct winsize size;
  if (ioctl(fd, TIOCGWINSZ, &size) < 0) return -1;
  *columns = size.ws_col;
  *rows = size.ws_row;
  return 0;
}

int martlet_peer_address(int fd, uint8_t address[16]) { return address_of(getpeername, fd, address); }

int martlet_local_address(int fd, uint8_t address[16]) { return address_of(getsockname, fd, address); }

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
/* A process that may not look at others cannot look for leaks at its end, and would say that it failed. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }
#endif
#endif

pid_t martlet_ended_child(void) {
  siginfo_t info = {.si_pid = 0};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) ? 0 : info.si_pid;
}

int martlet_usable_cpus(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) ? -1 : CPU_COUNT(&set);
}

int martlet_set_timeouts(int fd, int seconds) {
  struct timeval time = {.tv_sec = seconds};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time)) return -1;
  return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

/* An ACK may come between two calls: ask until both counters stand still. */
int martlet_stream_positions(int fd, uint64_t *written, uint64_t *read, int *state) {
  struct tcp_info before, after;
  for (int round = 0; round < 1024; round++) {
    socklen_t length = sizeof before;
    int unsent = 0, unread = 0;
    memset(&before, 0, sizeof before);
    memset(&after, 0, sizeof after);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &before, &length)) return -1;
    if (ioctl(fd, SIOCOUTQ, &unsent) || ioctl(fd, SIOCINQ, &unread)) return -1;
    length = sizeof after;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &after, &length)) return -1;
    if (before.tcpi_bytes_acked != after.tcpi_bytes_acked || before.tcpi_bytes_received != after.tcpi_bytes_received ||
        before.tcpi_state != after.tcpi_state)
      continue;
    int s = after.tcpi_state;
    /* FIN_WAIT1 4, FIN_WAIT2 5, TIME_WAIT 6, CLOSE_WAIT 8, LAST_ACK 9, CLOSING 11: whose FIN was counted. */
    int ours = s == 4 || s == 5 || s == 6 || s == 9 || s == 11;
    int theirs = s == 6 || s == 8 || s == 9 || s == 11;
    *written = after.tcpi_bytes_acked + (uint64_t)unsent - (uint64_t)ours;
    *read = after.tcpi_bytes_received - (uint64_t)unread - (uint64_t)theirs;
    *state = s;
    return 0;
  }
  errno = EAGAIN;
  return -1;
}

int martlet_unsent_bytes(int fd) {
  int count = 0;
  return ioctl(fd, SIOCOUTQ, &count) ? 0 : count;
}

int martlet_unread_bytes(int fd) {
  int unread = 0;
  return ioctl(fd, SIOCINQ, &unread) ? 0 : unread;
}

int martlet_limit_descriptors(int count) {
  struct rlimit limit = {.rlim_cur = (rlim_t)count, .rlim_max = (rlim_t)count};
  return setrlimit(RLIMIT_NOFILE, &limit);
}

/* The keeper runs beside another process that uses the same table; it only makes system calls. Sanitizers need threads
   that it does not have. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KEEPER __attribute__((no_sanitize("thread")))
#endif
#endif
#ifndef KEEPER
#define KEEPER
#endif

/* TCP, whatever its state: a connection that was reset must be told apart from one that is lost. Who takes the sockets
   knows its own, and closes the listeners that come with them. */
KEEPER static int is_tcp(int fd) {
  int protocol = 0;
  socklen_t length = sizeof protocol;
  return syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 && protocol == IPPROTO_TCP;
}

KEEPER static void keeper_say(int channel, char kind, uint32_t number) {
  unsigned char message[5] = {(unsigned char)kind, number & 255, number >> 8 & 255, number >> 16 & 255, number >> 24};
  struct iovec part = {message, sizeof message};
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
  syscall(SYS_sendmsg, channel, &header, MSG_NOSIGNAL);
}

/* Sends so many descriptors; waits for room, and until the kernel lets more of them be under way. */
KEEPER static int keeper_send(int channel, const int *fds, int count) {
  static control_buffer control;
  char kind = 's';
  struct iovec part = {&kind, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                           .msg_controllen = CMSG_SPACE(count * sizeof(int))};
  struct cmsghdr *header = (struct cmsghdr *)control.bytes;
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(count * sizeof(int));
  int *target = (int *)CMSG_DATA(header);
  for (int i = 0; i < count; i++) target[i] = fds[i];
  for (;;) {
    if (syscall(SYS_sendmsg, channel, &message, MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EAGAIN && errno != ETOOMANYREFS && errno != ENOBUFS && errno != ENOMEM && errno != EINTR)
      return -1;
    struct pollfd room = {channel, POLLOUT, 0};
    struct timespec pause = {0, 1000000};
    if (errno == EAGAIN)
      syscall(SYS_ppoll, &room, 1, NULL, NULL, 8);
    else
      syscall(SYS_nanosleep, &pause, NULL);
  }
}

/* Which numbers of a block are open: poll(2) says it for all of them at once. It refuses more of them than there may be
   open files (EINVAL), so that a block is never larger than the limit; where it fails all the same, each number is asked
   by itself. */
enum { BLOCK = 1024 };
KEEPER static void keeper_look(struct pollfd *block, int first, int count) {
  for (int i = 0; i < count; i++) block[i] = (struct pollfd){first + i, 0, 0};
  struct timespec now = {0, 0};
  if (syscall(SYS_ppoll, block, count, &now, NULL, 8) >= 0) return;
  for (int i = 0; i < count; i++) block[i].revents = syscall(SYS_fcntl, first + i, F_GETFD) < 0 ? POLLNVAL : 0;
}

/* Sends all TCP sockets; or counts what is open, which are a few more. */
KEEPER static uint32_t keeper_walk(int channel, int sends) {
  static int fds[MARTLET_MAX_DESCRIPTORS];
  static struct pollfd block[BLOCK];
  struct rlimit limit = {1024, 1024};
  syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
  const int end = limit.rlim_cur > INT_MAX - BLOCK ? INT_MAX - BLOCK : (int)limit.rlim_cur;
  uint32_t total = 0;
  int waiting = 0;
  for (int first = 0; first < end; first += BLOCK) {
    const int count = end - first < BLOCK ? end - first : BLOCK;
    keeper_look(block, first, count);
    for (int i = 0; i < count; i++) {
      if (first + i < 3 || block[i].revents & POLLNVAL || (sends && !is_tcp(first + i))) continue;
      total++;
      if (!sends) continue;
      fds[waiting++] = first + i;
      if (waiting < MARTLET_MAX_DESCRIPTORS) continue;
      if (keeper_send(channel, fds, waiting)) return total;
      waiting = 0;
    }
  }
  if (waiting > 0) keeper_send(channel, fds, waiting);
  return total;
}

KEEPER static void keeper_run(int channel) {
  syscall(SYS_prctl, PR_SET_NAME, "martlet-keeper", 0, 0, 0);
  /* It has the worker's descriptors: nobody else may look for them at /proc/PID/fd, in development neither. */
  syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  keeper_say(channel, 'k', (uint32_t)syscall(SYS_getpid));
  for (;;) {
    struct pollfd ready = {channel, POLLIN, 0};
    long woken = syscall(SYS_ppoll, &ready, 1, NULL, NULL, 8);
    if (woken < 0) continue;
    char kind = 0;
    long length = syscall(SYS_recvfrom, channel, &kind, 1, MSG_DONTWAIT, NULL, NULL);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (length <= 0 || kind == 'x') syscall(SYS_exit_group, 0);
    if (kind == 'c') keeper_say(channel, 'c', keeper_walk(channel, 0));
    if (kind == 'g') keeper_say(channel, 'e', keeper_walk(channel, 1));
  }
}

KEEPER int martlet_keeper(int channel) {
  /* What a terminal sends is for the supervisor alone. */
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  long pid = syscall(SYS_clone, CLONE_FILES | CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) keeper_run(channel);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  return (int)pid;
}
