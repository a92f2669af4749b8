/* SPDX-License-Identifier: Apache-2.0 */

#define _GNU_SOURCE
#include "ScriptedKernel.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 4096 };

static __thread struct {
  struct {
    int error;
    long most;
  } next[MOST];
  long begin, end, count;
} script[SCRIPTED_CALLS];

void scripted_add(int call, int error, long most) {
  if (script[call].end == MOST) return;
  script[call].next[script[call].end].error = error;
  script[call].next[script[call].end++].most = most;
}

long scripted_count(int call) { return script[call].count; }

long scripted_pending(int call) { return script[call].end - script[call].begin; }

void scripted_clear(void) {
  for (int call = 0; call < SCRIPTED_CALLS; call++) script[call].begin = script[call].end = script[call].count = 0;
}

/* The error of the next outcome; 0: go on, with at most *most bytes. */
static int outcome(int call, long *most) {
  script[call].count++;
  *most = -1;
  if (script[call].begin == script[call].end) return 0;
  long index = script[call].begin++;
  *most = script[call].next[index].most;
  return script[call].next[index].error;
}

#define FAIL_AS_SCRIPTED(call)            \
  long most;                              \
  int error = outcome(call, &most);       \
  if (error) {                            \
    errno = error;                        \
    return -1;                            \
  }

ssize_t send(int fd, const void *bytes, size_t count, int flags) {
  FAIL_AS_SCRIPTED(SCRIPTED_SEND)
  if (most >= 0 && (size_t)most < count) count = (size_t)most;
  return syscall(SYS_sendto, fd, bytes, count, flags, NULL, 0);
}

ssize_t recv(int fd, void *bytes, size_t count, int flags) {
  FAIL_AS_SCRIPTED(SCRIPTED_RECV)
  if (most >= 0 && (size_t)most < count) count = (size_t)most;
  return syscall(SYS_recvfrom, fd, bytes, count, flags, NULL, NULL);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  FAIL_AS_SCRIPTED(SCRIPTED_SENDMSG)
  if (most < 0) return syscall(SYS_sendmsg, fd, message, flags);
  /* A short write: as many bytes of the pieces as are allowed. */
  struct iovec pieces[64];
  struct msghdr part = *message;
  size_t rest = (size_t)most, used = 0;
  for (; used < message->msg_iovlen && used < 64 && rest > 0; used++) {
    pieces[used] = message->msg_iov[used];
    if (pieces[used].iov_len > rest) pieces[used].iov_len = rest;
    rest -= pieces[used].iov_len;
  }
  part.msg_iov = pieces;
  part.msg_iovlen = used;
  return syscall(SYS_sendmsg, fd, &part, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  FAIL_AS_SCRIPTED(SCRIPTED_RECVMSG)
  (void)most;
  return syscall(SYS_recvmsg, fd, message, flags);
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
  FAIL_AS_SCRIPTED(SCRIPTED_ACCEPT)
  (void)most;
  return (int)syscall(SYS_accept4, fd, address, length, flags);
}
