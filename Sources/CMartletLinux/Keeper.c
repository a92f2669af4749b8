/* SPDX-License-Identifier: Apache-2.0 */

/* The keeper: a process that shares the worker's table of descriptors, and outlives the worker for a moment.

   It is made with clone(2) and CLONE_FILES, without CLONE_VM: the table is shared, memory is a copy of the worker's at that
   moment (copy on write), and so is everything that the C library keeps in it. Hence what it may touch:

     - System calls, by syscall(2), which needs nothing of the C library but errno.
     - Its own stack, and static variables of this file, which are its copies.
     - Neither malloc(3) nor stdio(3): a lock may have been held when it was cloned.
     - No file descriptor of the worker's but its channel. A number that it closed would be closed for the worker, too.
     - No thread-local variable but errno, no Swift.

   It costs no memory for each connection, as the table is the kernel's. It blocks every signal, waits in ppoll(2) for a word
   on its channel, and exits when it is dismissed or the channel ends. PR_SET_DUMPABLE hides its /proc/PID/fd, which are the
   worker's descriptors. seccomp(2) filters are inherited: the worker is confined after this. */
#define _GNU_SOURCE
#include "Private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The keeper runs beside another process that uses the same descriptor table; it only makes system calls. Sanitizers
   need threads, which it does not have. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KEEPER __attribute__((no_sanitize("thread")))
#endif
#endif
#ifndef KEEPER
#define KEEPER
#endif

/* TCP in any state: a connection that was reset must be distinguished from one that is lost. The process that takes the
   sockets knows which are its own, and closes the listeners that come with them. */
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

/* Leaves out what is not open any more; returns how many are left. */
KEEPER static int keeper_open(int *fds, int count) {
  int left = 0;
  for (int i = 0; i < count; i++)
    if (syscall(SYS_fcntl, fds[i], F_GETFD) >= 0) fds[left++] = fds[i];
  return left;
}

/* Sends so many descriptors; waits for room, and until the kernel allows more of them in flight. The worker may still be
   there, and close some meanwhile: one of them would keep the kernel from sending the others (EBADF). Returns how many
   were sent, or -1. */
KEEPER static int keeper_send(int channel, int *fds, int count) {
  static control_buffer control;
  char kind = 's';
  struct iovec part = {&kind, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes};
  struct cmsghdr *header = (struct cmsghdr *)control.bytes;
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  int refused = 0;
  while (count > 0) {
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    int *target = (int *)CMSG_DATA(header);
    for (int i = 0; i < count; i++) target[i] = fds[i];
    if (syscall(SYS_sendmsg, channel, &message, MSG_NOSIGNAL) >= 0) return count;
    /* The channel's own number may be closed as well: not for ever. */
    if (errno == EBADF && refused++ < MARTLET_MAX_DESCRIPTORS) {
      count = keeper_open(fds, count);
      continue;
    }
    if (errno != EAGAIN && errno != ETOOMANYREFS && errno != ENOBUFS && errno != ENOMEM && errno != EINTR)
      return -1;
    struct pollfd room = {channel, POLLOUT, 0};
    struct timespec pause = {0, 1000000};
    if (errno == EAGAIN)
      syscall(SYS_ppoll, &room, 1, NULL, NULL, 8);
    else
      syscall(SYS_nanosleep, &pause, NULL);
  }
  return 0;
}

/* Finds out which numbers of a block are open: poll(2) tells this for all of them at once. It refuses (EINVAL) more
   numbers than the limit of open files, so a block is never larger than the limit; if it fails all the same, each
   number is checked on its own. */
enum { BLOCK = 1024 };
KEEPER static void keeper_look(struct pollfd *block, int first, int count) {
  for (int i = 0; i < count; i++) block[i] = (struct pollfd){first + i, 0, 0};
  struct timespec now = {0, 0};
  if (syscall(SYS_ppoll, block, count, &now, NULL, 8) >= 0) return;
  for (int i = 0; i < count; i++) block[i].revents = syscall(SYS_fcntl, first + i, F_GETFD) < 0 ? POLLNVAL : 0;
}

/* Sends all TCP sockets, and returns how many, or one more than were sent if some could not be; or counts the open
   descriptors, of which there are a few more. */
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
      if (!sends) {
        total++;
        continue;
      }
      fds[waiting++] = first + i;
      if (waiting < MARTLET_MAX_DESCRIPTORS) continue;
      const int sent = keeper_send(channel, fds, waiting);
      if (sent < 0) return total + 1;
      total += sent;
      waiting = 0;
    }
  }
  const int sent = keeper_send(channel, fds, waiting);
  return sent < 0 ? total + 1 : total + sent;
}

KEEPER static void keeper_run(int channel, int started) {
  syscall(SYS_prctl, PR_SET_NAME, "martlet-keeper", 0, 0, 0);
  /* The keeper has the worker's descriptors: nobody else may look for them in /proc/PID/fd, not even in development. */
  syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  keeper_say(channel, 'k', (uint32_t)syscall(SYS_getpid));
  const uint64_t one = 1;
  syscall(SYS_write, started, &one, sizeof one);
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

/* How long its process waits for a keeper to run, in milliseconds. */
enum { KEEPER_PATIENCE = 5000 };

KEEPER int martlet_keeper(int channel) {
  /* Signals from a terminal are only for the supervisor. */
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  const int started = eventfd(0, EFD_CLOEXEC);
  long pid = started < 0 ? -1 : syscall(SYS_clone, CLONE_FILES | CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) keeper_run(channel, started);
  /* On a busy machine it may run only much later. Until it does, it has our name, and whoever ends us by that ends it, too. If it
     never runs, the number stays taken: what it writes there must not reach another file. */
  struct pollfd ready = {started, POLLIN, 0};
  if (started >= 0 && (pid < 0 || poll(&ready, 1, KEEPER_PATIENCE) == 1)) close(started);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  return (int)pid;
}
