/* SPDX-License-Identifier: Apache-2.0 */

/* Sockets: how they are opened, what is set on them, and what the kernel knows of them. */
#define _GNU_SOURCE
#include "CMartletLinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Writes an address as 16 bytes of IPv6; returns 0 if it is of another family. */
static int address_bytes(const struct sockaddr_storage *peer, uint8_t address[16]) {
  if (peer->ss_family == AF_INET6) {
    memcpy(address, &((const struct sockaddr_in6 *)peer)->sin6_addr, 16);
    return 1;
  }
  if (peer->ss_family != AF_INET) return 0;
  memset(address, 0, 10);
  address[10] = address[11] = 0xff;
  memcpy(address + 12, &((const struct sockaddr_in *)peer)->sin_addr, 4);
  return 1;
}

int martlet_accept(int listener, uint8_t address[16], int *is_known) {
  struct sockaddr_storage peer;
  socklen_t length = sizeof peer;
  peer.ss_family = AF_UNSPEC;
  int fd;
  do fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  while (fd < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO));
  *is_known = fd >= 0 && address_bytes(&peer, address);
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

/* If the kernel chose the port, the port is lost when the socket stops listening, although getsockname(2) still reports
   it. A port that was asked for stays bound (EINVAL). */
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

static int address_of(int (*get)(int, struct sockaddr *, socklen_t *), int fd, uint8_t address[16]) {
  struct sockaddr_storage peer;
  socklen_t length = sizeof peer;
  return get(fd, (struct sockaddr *)&peer, &length) < 0 ? 0 : address_bytes(&peer, address);
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

int martlet_local_address(int fd, uint8_t address[16]) { return address_of(getsockname, fd, address); }

int martlet_set_timeouts(int fd, int seconds) {
  struct timeval time = {.tv_sec = seconds};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time)) return -1;
  return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

/* An ACK may arrive between two calls: ask until both counters are stable. */
int martlet_stream_positions(int fd, uint64_t *written, uint64_t *read, int *state) {
  struct tcp_info before, after;
  for (int round = 0; round < 1024; round++) {
    socklen_t length = sizeof before;
    int unsent = 0, unread = 0;
    memset(&before, 0, sizeof before);
    memset(&after, 0, sizeof after);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &before, &length)) return -1;
    if (ioctl(fd, SIOCINQ, &unread)) return -1;
    /* Mostly nothing is under way. What arrives after TCP_INFO would be unread; so where nothing is, its count is exact. */
    if (before.tcpi_state == 1 && !before.tcpi_unacked && !before.tcpi_notsent_bytes && !unread) {
      *written = before.tcpi_bytes_acked;
      *read = before.tcpi_bytes_received;
      *state = before.tcpi_state;
      return 0;
    }
    if (ioctl(fd, SIOCOUTQ, &unsent) || ioctl(fd, SIOCINQ, &unread)) return -1;
    length = sizeof after;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &after, &length)) return -1;
    if (before.tcpi_bytes_acked != after.tcpi_bytes_acked || before.tcpi_bytes_received != after.tcpi_bytes_received ||
        before.tcpi_state != after.tcpi_state)
      continue;
    int s = after.tcpi_state;
    /* FIN_WAIT1 4, FIN_WAIT2 5, TIME_WAIT 6, CLOSE_WAIT 8, LAST_ACK 9, CLOSING 11: they tell which FINs were
       counted. */
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

/* The caller has read so many bytes. TCP_INFO is one consistent look: where it says that no more came, and that everything we
   sent was acknowledged, nothing else need be asked. */
int martlet_stream_beginning(int fd, uint64_t expected, uint64_t *written, uint64_t *read, int *state) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  memset(&info, 0, sizeof info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length)) return -1;
  if (info.tcpi_state != 1 || info.tcpi_unacked || info.tcpi_notsent_bytes || info.tcpi_bytes_received != expected)
    return martlet_stream_positions(fd, written, read, state);
  *written = info.tcpi_bytes_acked;
  *read = expected;
  *state = info.tcpi_state;
  return 0;
}

int martlet_unsent_bytes(int fd) {
  int count = 0;
  return ioctl(fd, SIOCOUTQ, &count) ? 0 : count;
}

int martlet_unread_bytes(int fd) {
  int unread = 0;
  return ioctl(fd, SIOCINQ, &unread) ? 0 : unread;
}
