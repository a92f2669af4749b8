/* SPDX-License-Identifier: Apache-2.0 */

/* Lets a worker run under callgrind, for Tests/Benchmarks/counts. Built with PRELOADED, it is a library with functions that
   valgrind calls in place of the worker's own (their names say so: see valgrind.h): valgrind follows no process that shares a
   descriptor table, and would itself be confined. Otherwise it is the program that martletd starts as its worker, and that
   becomes the real one, in valgrind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef PRELOADED
int _vgr00000ZU_NONE_martlet_keeper(int channel) {
  (void)channel;
  return getpid();
}

int _vgr00000ZU_NONE_martlet_confine(void) { return 0; }
#else
int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "martletd starts this\n"), 2;
  setenv("LD_PRELOAD", PRELOAD, 1);
  execl("/usr/bin/valgrind", "valgrind", "--tool=callgrind", "--callgrind-out-file=" OUTPUT, "-q", WORKER, argv[1], NULL);
  perror("valgrind");
  return 1;
}
#endif
