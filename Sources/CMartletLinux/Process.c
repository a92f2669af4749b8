/* SPDX-License-Identifier: Apache-2.0 */

/* This process and its children: names, memory, signals. */
#define _GNU_SOURCE
#include "CMartletLinux.h"

#include <linux/memfd.h>
#include <malloc.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int martlet_hide_memory(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

int martlet_do_not_dump(void *address, size_t length) { return madvise(address, length, MADV_DONTDUMP); }

int martlet_punch(void *address, size_t length) { return madvise(address, length, MADV_REMOVE); }

int martlet_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int martlet_pidfd_signal(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

int martlet_set_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int martlet_trim_heap(void) { return malloc_trim(0); }

int martlet_terminal_size(int fd, int *columns, int *rows) {
  struct winsize size;
  if (ioctl(fd, TIOCGWINSZ, &size) < 0) return -1;
  *columns = size.ws_col;
  *rows = size.ws_row;
  return 0;
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
/* A process that may not inspect others cannot look for leaks when it ends, and would report a failure. */
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
