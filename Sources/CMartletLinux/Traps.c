/* SPDX-License-Identifier: Apache-2.0 */

#define _GNU_SOURCE
#include "CMartletLinux.h"

#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* What a worker prints before it ends when it traps or is aborted. It makes only calls that signal-safety(7) allows,
   except backtrace(3), which is called once beforehand so that it allocates nothing here. */
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
