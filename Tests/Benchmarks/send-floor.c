/* SPDX-License-Identifier: Apache-2.0 */

/* The lower bound of a fan-out: the smallest C server that martlet-load can measure. It has one thread, uses epoll, and
   for each broadcast runs a plain loop of send(2) over all sockets. It checks nothing, queues nothing and survives
   nothing; what Martlet costs in addition is the price of everything else. Build: cc -O2 send-floor.c -o send-floor.
   Use: send-floor CLIENT_PORT API_PORT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MOST = 20000, HEAD = 10, ROOM = 1 << 20 };
static int subscribers[MOST], count, epoll;
static char input[ROOM], frame[ROOM + HEAD];

static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) exit((perror("listen"), 1));
  return fd;
}

static void watch(int fd, uint64_t kind) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = kind << 32 | (uint32_t)fd};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

/* Frames the body and sends it to all subscribers, which is what is measured. */
static int broadcast(const char *body, size_t n) {
  size_t head = n < 126 ? 2 : 4;
  frame[0] = (char)0x81;
  frame[1] = (char)(n < 126 ? n : 126);
  if (head == 4) frame[2] = (char)(n >> 8), frame[3] = (char)n;
  memcpy(frame + head, body, n);
  int delivered = 0;
  for (int i = 0; i < count; i++) delivered += send(subscribers[i], frame, head + n, MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
  return delivered;
}

static void answer(int fd, const char *status, const char *body) {
  char text[512];
  int n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body), body);
  if (send(fd, text, n, MSG_NOSIGNAL) < 0) perror("send");
}

/* Requests arrive whole here, and several at once when they are pipelined. */
static void api(int fd) {
  ssize_t n = recv(fd, input, sizeof input - 1, 0);
  if (n <= 0) return (void)close(fd);
  input[n] = 0;
  for (char *at = input; at < input + n;) {
    char *end = strstr(at, "\r\n\r\n"), *length = end ? strcasestr(at, "content-length:") : NULL;
    if (!end) return;
    size_t size = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
    char body[128];
    int delivered = size ? broadcast(end + 4, size) : 0;
    snprintf(body, sizeof body, "{\"matched\":%d,\"delivered\":%d,\"failed\":0}", count, delivered);
    answer(fd, size ? "200 OK" : "404 Not Found", size ? body : "{}");
    at = end + 4 + size;
  }
}

/* The accept value is a constant: the load generator does not check it, and hashing is not part of a fan-out. */
static void client(int fd) {
  static const char upgraded[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02{}";
  ssize_t n = recv(fd, input, sizeof input, 0);
  if (n > 0 && !memcmp(input, "GET ", 4) && count < MOST) {
    if (send(fd, upgraded, sizeof upgraded - 1, MSG_NOSIGNAL) > 0) subscribers[count++] = fd;
  } else if (n <= 0) {
    for (int i = 0; i < count; i++)
      if (subscribers[i] == fd) subscribers[i] = subscribers[--count];
    close(fd);
  }
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: send-floor CLIENT_PORT API_PORT\n"), 2;
  epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(listen_on(atoi(argv[1])), 1);
  watch(listen_on(atoi(argv[2])), 2);
  for (struct epoll_event ready[512];;) {
    int n = epoll_wait(epoll, ready, 512, -1);
    for (int i = 0; i < n; i++) {
      int fd = (int)(uint32_t)ready[i].data.u64, kind = (int)(ready[i].data.u64 >> 32), one = 1;
      if (kind == 3) client(fd);
      if (kind == 4) api(fd);
      if (kind > 2) continue;
      for (int new; (new = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(new, kind + 2);
      }
    }
  }
}
