/* SPDX-License-Identifier: Apache-2.0 */

/* Descriptors: passed to other processes (SCM_RIGHTS), counted and limited, and those of shared memory. */
#define _GNU_SOURCE
#include "Private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int martlet_socket_pair(int type, int pair[2]) {
  return socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
}

int martlet_set_non_blocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

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

/* The last seal prevents others from adding a seal that forbids writing. */
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

int martlet_reserve_descriptors(int count) {
  int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, count - 1);
  if (fd < 0) return -1;
  return close(fd);
}

int martlet_limit_descriptors(int count) {
  struct rlimit limit = {.rlim_cur = (rlim_t)count, .rlim_max = (rlim_t)count};
  return setrlimit(RLIMIT_NOFILE, &limit);
}
