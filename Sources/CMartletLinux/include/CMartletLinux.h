/* SPDX-License-Identifier: Apache-2.0 */

/* What Swift cannot call directly: function-like macros (CMSG_*, CPU_SET), variadic system calls, and functions that
   need _GNU_SOURCE, without which the Glibc module is built. Every function returns what the system call returns, and
   leaves errno as the call set it. */
#ifndef CMARTLETLINUX_H
#define CMARTLETLINUX_H

#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>

/* The most descriptors that one message may carry: the kernel's SCM_MAX_FD. */
#define MARTLET_MAX_DESCRIPTORS 253

/* accept4(2) with SOCK_NONBLOCK and SOCK_CLOEXEC. The peer's address is written as 16 bytes of IPv6 (IPv4 is mapped,
   ::ffff:a.b.c.d); is_known is 0 if it has none (a Unix socket). Connections that were aborted before they
   could be accepted are passed over, so that EAGAIN means that nobody waits. */
int martlet_accept(int listener, uint8_t address[16], int *is_known);
/* A listening TCP socket on a numeric IPv4 or IPv6 address; *bound_port receives the bound port. With a backlog below 0
   it is only bound. -1: see errno (EINVAL: the address is not valid). */
int martlet_listen_tcp(const char *address, uint16_t port, int backlog, uint16_t *bound_port);
/* A listening Unix stream socket at path, created with the given mode. */
int martlet_listen_unix(const char *path, mode_t mode, int backlog);
/* Blocking connects for clients (martletctl). */
int martlet_connect_unix(const char *path);
int martlet_connect_tcp(const char *address, uint16_t port);
/* The port of a bound TCP socket, or -1. */
int martlet_local_port(int fd);
/* The same for our own end. */
int martlet_local_address(int fd, uint8_t address[16]);
/* CPUs that this process may run on (sched_getaffinity). */
int martlet_usable_cpus(void);
/* SO_RCVTIMEO and SO_SNDTIMEO of a blocking socket. */
int martlet_set_timeouts(int fd, int seconds);
/* The address in a text, as 16 bytes of IPv6. Returns 1, or 0 if the text is not an address. */
int martlet_parse_address(const char *text, uint8_t address[16]);
/* SO_PEERCRED: the user who connected to our Unix socket; 0, or -1. */
int martlet_peer_uid(int fd, uint32_t *uid);
/* Columns and rows of the terminal; 0, or -1 if it is not a terminal. */
int martlet_terminal_size(int fd, int *columns, int *rows);
/* SO_COOKIE: unique for each socket while the machine runs, and the same in every process that holds it. */
int martlet_socket_cookie(int fd, uint64_t *cookie);
/* SO_ACCEPTCONN: 1 if fd listens. */
int martlet_is_listening(int fd);
/* SO_DOMAIN: 1 if fd is a Unix socket. */
int martlet_is_unix(int fd);
/* 1 if fd is a TCP socket that does not listen. */
int martlet_is_tcp_connection(int fd);
/* The local address as bind(2) takes it; returns its length, or -1. */
int martlet_local_name(int fd, void *name, int capacity);
/* Makes a TCP socket listen again after somebody has called shutdown(2) on it, on the address that it had
   (martlet_local_name). 0, or -1 and errno. There is no such call for a Unix socket. */
int martlet_listen_again(int fd, const void *name, int length, int backlog);
/* Bytes that wait to be read (SIOCINQ); 0 if this is not known. */
int martlet_unread_bytes(int fd);

/* Bytes that were sent and not acknowledged (SIOCOUTQ, tcp(7)); 0 if there are none, or this is not known. */
int martlet_unsent_bytes(int fd);
int martlet_set_no_delay(int fd);
/* SO_OOBINLINE: urgent bytes (MSG_OOB) are read as a normal part of the stream; otherwise recv(2) skips them, and
   ioctl(SIOCINQ) stops before them, so that the kernel's counts do not add up (martlet_stream_positions). */
int martlet_set_urgent_inline(int fd);

/* SO_KEEPALIVE and TCP_USER_TIMEOUT: a silent peer is probed after half of the time, and a peer that is gone, or takes
   nothing of what was sent, is given up after the whole time. -1 on a socket that is not TCP. */
int martlet_find_vanished(int fd, int seconds);
int martlet_set_buffer(int fd, int receive_bytes, int send_bytes);
int martlet_socket_pair(int type, int pair[2]);
int martlet_set_non_blocking(int fd);

/* One message with 0 to 253 descriptors (SCM_RIGHTS, unix(7)). */
ssize_t martlet_send_descriptors(int sock, const void *data, size_t length, const int *fds, int count);
/* One message; descriptors arrive close-on-exec. *truncated is 1 if the kernel dropped some because there was no
   room. */
ssize_t martlet_receive_descriptors(int sock, void *data, size_t capacity, int *fds, int max, int *count, int *truncated);

/* Starts the keeper of this process's descriptors: a process that shares its descriptor table (clone(2), CLONE_FILES),
   so that the table outlives it. The keeper is a child of our parent, costs nothing per connection, and answers on
   `channel` (SOCK_SEQPACKET, blocking):
     at start    it sends "k" and its pid (4 bytes);
     "c"         it answers "c" and how many TCP sockets there are at most (4 bytes);
     "g"         it sends all of them (listeners too), up to 253 in a message "s", then "e" and the number (4 bytes);
     "x", or the end of the channel: it exits.
   Call this first in main, before there are other threads. Returns the keeper's pid, or -1. */
int martlet_keeper(int channel);
/* What the kernel knows about a connected, accepted TCP socket: how many bytes it took from us, how many were received
   from it, and the state (TCP_ESTABLISHED is 1, TCP_CLOSE 7). 0, or -1. See tcp(7), TCP_INFO; ioctl SIOCOUTQ,
   SIOCINQ. */
int martlet_stream_positions(int fd, uint64_t *written, uint64_t *read, int *state);
/* The same for a connection from which the caller has read so many bytes itself: mostly this takes one call instead of two. */
int martlet_stream_beginning(int fd, uint64_t expected, uint64_t *written, uint64_t *read, int *state);
/* The soft and hard limit of open files, set to the same number. */
int martlet_limit_descriptors(int count);

int martlet_memfd(const char *name, int allow_sealing);
/* Seals memory, so that nobody can change its bytes or its size any more (F_SEAL_WRITE). */
int martlet_seal(int memfd);
/* Seals memory, so that nobody can change its size, or seal it further; its bytes can be changed. 0, or -1 and
   errno. */
int martlet_fix_size(int memfd);
/* 1 if the size of the memory cannot be changed. */
int martlet_has_fixed_size(int memfd);
/* Makes traps and aborts print where they happened on standard error, before they end the process as usual; 0, or -1
   and errno. */
int martlet_report_traps(const char *name);
/* Changes the name in these reports. */
void martlet_name_traps(const char *name);
/* From here on this process cannot start programs or processes, make sockets, or change files. It can reach other
   processes only by what it sends and writes to descriptors that it has, and cannot change properties of shared sockets
   and memory that they rely on (seccomp(2): EPERM). Files that it opens can only be read. 0, or -1 and errno. */
int martlet_confine(void);
/* For tests, in debug builds: tries to harm other processes by what is shared with them; the number counts the ways
   from 0. Returns what was prevented (errno says how), "" if nothing prevented it, or NULL after the last way. */
const char *martlet_harm(int number, int listener);
/* Hides this process's memory from other processes of the same user and from core dumps (PR_SET_DUMPABLE of
   prctl(2)). */
int martlet_hide_memory(void);

/* Keeps a mapping out of core dumps. */
int martlet_do_not_dump(void *address, size_t length);

/* Sets whether a descriptor stays open in the program that this process becomes (FD_CLOEXEC); 0, or -1 and errno. */
int martlet_inherit(int fd, int on);

/* Gives the pages of a range of a shared mapping back to the system (MADV_REMOVE). */
int martlet_punch(void *address, size_t length);
int martlet_pidfd_open(pid_t pid);
/* A child that has ended and was not collected; this call does not collect it either (waitid(2), WNOWAIT). 0: none. */
pid_t martlet_ended_child(void);
/* Sends a signal to the process of a pidfd, whoever is its parent; 0, or -1 and errno (ESRCH: it has ended). */
int martlet_pidfd_signal(int pidfd, int signal);
int martlet_close_from(posix_spawn_file_actions_t *actions, int from);
int martlet_open_descriptors(void);
int martlet_set_name(const char *name);
/* Makes the descriptor table large enough for so many descriptors. If the table is shared (with a keeper), each
   doubling of it waits for all CPUs (the kernel's expand_fdtable, some 8 ms), so that one step at a known moment is
   better. */
int martlet_reserve_descriptors(int count);
int martlet_trim_heap(void);

#endif
