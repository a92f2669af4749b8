/* SPDX-License-Identifier: Apache-2.0 */

/* The floor under every measurement: the smallest C server that martlet-load can measure. It has one thread and epoll, checks
   nothing, queues nothing and survives nothing; what Martlet costs in addition is the price of everything else. It does what
   the load asks for: handshakes (with the SHA-1 that RFC 6455 asks for), a broadcast as a loop of send(2) over all sockets, a
   message to one user by HTTP, and echoes. It relies on what the load does: requests and frames arrive whole, small frames
   only, and users have numbers in their names.
   Build: cc -O2 floor.c -o floor. Use: floor CLIENT_PORT API_PORT [one-write | ring]
   one-write: what one turn queues for a socket leaves in one send(2), where otherwise each message has its own.
   ring: a broadcast's sends are submitted to an io_uring(7), many at a time. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 20000, ROOM = 1 << 20 };
enum { LISTENS_FOR_CLIENTS = 1, LISTENS_FOR_BACKENDS, CLIENT, BACKEND, ECHO };
static int subscribers[MOST], count, sockets_of[MOST], epoll, is_one_write, ring = -1;
static char input[ROOM], output[2 * ROOM], answers[ROOM];

static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) exit((perror("listen"), 1));
  return fd;
}

static void watch(int fd, uint64_t kind, int operation) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = kind << 32 | (uint32_t)fd};
  epoll_ctl(epoll, operation, fd, &event);
}

static int transmit(int fd, const char *bytes, size_t n) {
  return n && send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
}

/* Writes a text frame, and returns its length. */
static size_t frame(char *target, const char *body, size_t n) {
  size_t head = n < 126 ? 2 : 4;
  target[0] = (char)0x81;
  target[1] = (char)(n < 126 ? n : 126);
  if (head == 4) target[2] = (char)(n >> 8), target[3] = (char)n;
  memcpy(target + head, body, n);
  return head + n;
}

/* A ring with the simplest of its uses: so many sends are written into it, submitted and waited for in one call. */
enum { BATCH = 256 };
static struct io_uring_sqe *entries;
static struct io_uring_cqe *completions;
static unsigned *tail, *mask, *order, *done_head, *done_tail, *done_mask;

static void open_ring(void) {
  struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
  ring = (int)syscall(SYS_io_uring_setup, BATCH, &p);
  if (ring < 0) exit((perror("io_uring_setup"), 1));
  size_t size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
  entries = mmap(NULL, p.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
  tail = (unsigned *)(memory + p.sq_off.tail), mask = (unsigned *)(memory + p.sq_off.ring_mask);
  order = (unsigned *)(memory + p.sq_off.array), completions = (struct io_uring_cqe *)(memory + p.cq_off.cqes);
  done_head = (unsigned *)(memory + p.cq_off.head), done_tail = (unsigned *)(memory + p.cq_off.tail);
  done_mask = (unsigned *)(memory + p.cq_off.ring_mask);
}

static int broadcast_by_ring(const char *frames, size_t n) {
  int delivered = 0;
  for (int first = 0; first < count; first += BATCH) {
    unsigned batch = count - first < BATCH ? count - first : BATCH, at = *tail;
    for (unsigned i = 0; i < batch; i++, at++) {
      struct io_uring_sqe *entry = &entries[at & *mask];
      memset(entry, 0, sizeof *entry);
      entry->opcode = IORING_OP_SEND, entry->fd = subscribers[first + i], entry->addr = (uint64_t)(uintptr_t)frames;
      entry->len = n, entry->msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
      order[at & *mask] = at & *mask;
    }
    __atomic_store_n(tail, at, __ATOMIC_RELEASE);
    syscall(SYS_io_uring_enter, ring, batch, batch, IORING_ENTER_GETEVENTS, NULL, 0);
    unsigned head = *done_head, end = __atomic_load_n(done_tail, __ATOMIC_ACQUIRE);
    for (; head != end; head++) delivered += completions[head & *done_mask].res > 0;
    __atomic_store_n(done_head, head, __ATOMIC_RELEASE);
  }
  return delivered;
}

static int broadcast(const char *frames, size_t n) {
  int delivered = 0;
  if (ring >= 0) return broadcast_by_ring(frames, n);
  for (int i = 0; i < count; i++) delivered += transmit(subscribers[i], frames, n);
  return delivered;
}

/* Requests arrive whole here, and several at once when they are pipelined. */
static void api(int fd) {
  ssize_t n = recv(fd, input, sizeof input - 1, 0);
  if (n <= 0) return (void)close(fd);
  input[n] = 0;
  size_t queued = 0, answered = 0;
  for (char *at = input; at < input + n;) {
    char *end = strstr(at, "\r\n\r\n"), *length = end ? strcasestr(at, "content-length:") : NULL;
    if (!end) return;
    size_t size = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
    char body[128];
    int delivered = 0, matched = count;
    if (size && !strncmp(at, "POST /v1/users/load-", 20)) {
      int number = atoi(at + 20), target = number >= 0 && number < MOST ? sockets_of[number] : 0;
      matched = target > 0;
      delivered = matched && transmit(target, output, frame(output, end + 4, size));
    } else if (size) {
      size_t length_of_frame = frame(output + queued, end + 4, size);
      delivered = is_one_write ? count : broadcast(output, length_of_frame);
      if (is_one_write) queued += length_of_frame;
    }
    int m = snprintf(body, sizeof body, "{\"matched\":%d,\"delivered\":%d,\"held\":0,\"failed\":0}", matched, delivered);
    answered += snprintf(answers + answered, sizeof answers - answered,
                         "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                         size ? "200 OK" : "404 Not Found", m, body);
    if (!is_one_write) transmit(fd, answers, answered), answered = 0;
    at = end + 4 + size;
  }
  if (queued) broadcast(output, queued);
  transmit(fd, answers, answered);
}

static uint32_t rotate(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

/* SHA-1 (RFC 3174) of 60 bytes: a key and the fixed text. */
static void sha1(const unsigned char *text, unsigned char digest[20]) {
  unsigned char padded[128] = {0};
  uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}, w[80];
  memcpy(padded, text, 60);
  padded[60] = 0x80, padded[126] = 60 * 8 >> 8, padded[127] = 60 * 8 & 255;
  for (int block = 0; block < 128; block += 64) {
    for (int i = 0; i < 16; i++) {
      const unsigned char *p = padded + block + 4 * i;
      w[i] = (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
    }
    for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; i++) {
      uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
      uint32_t k = i < 20 ? 0x5A827999 : i < 40 ? 0x6ED9EBA1 : i < 60 ? 0x8F1BBCDC : 0xCA62C1D6;
      uint32_t sum = rotate(a, 5) + f + e + k + w[i];
      e = d, d = c, c = rotate(b, 30), b = a, a = sum;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
  }
  for (int i = 0; i < 20; i++) digest[i] = h[i / 4] >> (24 - 8 * (i % 4));
}

static void handshake(int fd) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  unsigned char text[61], digest[21] = {0};
  char accept[29] = {0}, greeting[256], *key = strcasestr(input, "sec-websocket-key: "), *user = strstr(input, "user=load-");
  int is_echo = !strncmp(input, "GET /echo ", 10);
  if (!key || count == MOST) return (void)close(fd);
  memcpy(text, key + 19, 24), memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 37);
  sha1(text, digest);
  for (int i = 0, at = 0; i < 20; i += 3) {
    uint32_t group = digest[i] << 16 | digest[i + 1] << 8 | digest[i + 2];
    for (int bits = 18; bits >= 0; bits -= 6) accept[at++] = alphabet[group >> bits & 63];
  }
  accept[27] = '=';
  int n = snprintf(output, 512, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
  int m = snprintf(greeting, sizeof greeting, "{\"type\":\"connection_established\",\"connection_id\":\"%d\"}", fd);
  if (!is_echo) n += frame(output + n, greeting, m);
  if (!transmit(fd, output, n)) return (void)close(fd);
  if (is_echo) return watch(fd, ECHO, EPOLL_CTL_MOD);
  if (user && atoi(user + 10) < MOST) sockets_of[atoi(user + 10)] = fd;
  subscribers[count++] = fd;
}

static void client(int fd) {
  ssize_t n = recv(fd, input, sizeof input - 1, 0);
  if (n > 0) input[n] = 0;
  if (n > 0 && !memcmp(input, "GET ", 4)) return handshake(fd);
  if (n > 0) return;
  for (int i = 0; i < count; i++)
    if (subscribers[i] == fd) subscribers[i] = subscribers[--count];
  close(fd);
}

/* Unmasks the frames that came, and sends them back. */
static void echo(int fd) {
  ssize_t n = recv(fd, input, sizeof input, 0);
  if (n <= 0) return (void)close(fd);
  size_t queued = 0;
  for (unsigned char *at = (unsigned char *)input, *end = at + n; at + 6 <= end;) {
    size_t length = at[1] & 127, head = 2;
    if (length == 126) length = at[2] << 8 | at[3], head = 4;
    unsigned char *mask = at + head, *payload = mask + 4;
    uint64_t wide = 0;
    for (int i = 0; i < 8; i++) wide |= (uint64_t)mask[i & 3] << (8 * i);
    size_t i = 0;
    for (uint64_t word; i + 8 <= length; i += 8) memcpy(&word, payload + i, 8), word ^= wide, memcpy(payload + i, &word, 8);
    for (; i < length; i++) payload[i] ^= mask[i & 3];
    queued += frame(output + queued, (char *)payload, length);
    if (!is_one_write) transmit(fd, output, queued), queued = 0;
    at = payload + length;
  }
  transmit(fd, output, queued);
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: floor CLIENT_PORT API_PORT [one-write | ring]\n"), 2;
  is_one_write = argc > 3 && !strcmp(argv[3], "one-write");
  if (argc > 3 && !strcmp(argv[3], "ring")) open_ring();
  epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(listen_on(atoi(argv[1])), LISTENS_FOR_CLIENTS, EPOLL_CTL_ADD);
  watch(listen_on(atoi(argv[2])), LISTENS_FOR_BACKENDS, EPOLL_CTL_ADD);
  for (struct epoll_event ready[512];;) {
    int n = epoll_wait(epoll, ready, 512, -1);
    for (int i = 0; i < n; i++) {
      int fd = (int)(uint32_t)ready[i].data.u64, kind = (int)(ready[i].data.u64 >> 32);
      if (kind == CLIENT) client(fd);
      if (kind == BACKEND) api(fd);
      if (kind == ECHO) echo(fd);
      if (kind > LISTENS_FOR_BACKENDS) continue;
      for (int new; (new = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
        watch(new, kind + 2, EPOLL_CTL_ADD);
    }
  }
}
