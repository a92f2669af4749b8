/* SPDX-License-Identifier: Apache-2.0 */

#define _GNU_SOURCE
#include "CMartletLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* The calls that a process never makes if it only talks over the sockets that it was given: calls that start programs
   or processes, make sockets, change files, send signals to other processes, change their limits or priorities, or gain
   rights. It can read what it opens; martlet_hide_memory protects the memory and descriptors of other processes, and
   keepers do the same when they start. All other calls are allowed, and cost one look into a bitmap that the kernel
   keeps (seccomp(2)). The service manager's SystemCallFilter= can refuse more. */
static const int refused[] = {
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_pidfd_getfd, SYS_pidfd_open,
    SYS_pidfd_send_signal, SYS_kcmp, SYS_perf_event_open, SYS_bpf, SYS_userfaultfd, SYS_io_uring_setup,
    SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen,
    SYS_unlinkat, SYS_renameat, SYS_renameat2, SYS_linkat, SYS_symlinkat, SYS_mkdirat, SYS_mknodat, SYS_fchmodat,
    SYS_fchownat, SYS_truncate, SYS_utimensat, SYS_setxattr, SYS_lsetxattr, SYS_removexattr, SYS_lremovexattr,
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, SYS_swapon, SYS_reboot,
    SYS_init_module, SYS_finit_module, SYS_kexec_load, SYS_acct, SYS_quotactl, SYS_sethostname,
    SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setgroups, SYS_capset,
    SYS_add_key, SYS_request_key, SYS_keyctl, SYS_name_to_handle_at, SYS_open_by_handle_at, SYS_tkill,
    SYS_ftruncate, SYS_fallocate, SYS_fchmod, SYS_fchown, SYS_fsetxattr, SYS_fremovexattr, SYS_setpriority,
    SYS_ioprio_set, SYS_migrate_pages, SYS_move_pages, SYS_process_madvise, SYS_setpgid, SYS_shmget, SYS_semget,
    SYS_msgget, SYS_mq_open,
#if defined(SYS_process_mrelease)
    SYS_process_mrelease,
#endif
#if defined(SYS_fchmodat2)
    SYS_fchmodat2,
#endif
#if defined(__x86_64__)
    SYS_fork, SYS_vfork, SYS_creat, SYS_unlink, SYS_rmdir, SYS_rename, SYS_link, SYS_symlink, SYS_mkdir, SYS_mknod,
    SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat,
#endif
};

/* A filter cannot read memory that arguments point to, so these calls do not exist here; the C library then uses older
   ones that a filter can check. */
static const int unknown[] = {SYS_clone3, SYS_openat2};

#define ARGUMENT(n) (offsetof(struct seccomp_data, args) + 8 * (n)) /* the lower half: both architectures are little-endian */
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), yes, no)
#define HAS(bits, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (uint32_t)(bits), yes, no)
#define REFUSE ANSWER(SECCOMP_RET_ERRNO | EPERM)
#define ALLOW ANSWER(SECCOMP_RET_ALLOW)
/* Only for the process itself, which some calls name 0. */
#define OF_ITSELF(call) IS(call, 0, 5), LOAD(ARGUMENT(0)), IS(0, 2, 0), IS(own, 1, 0), REFUSE, ALLOW

int martlet_confine(void) {
#if !defined(OUR_ARCHITECTURE)
  errno = ENOSYS;
  return -1;
#else
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
  return 0; /* The sanitizer starts another program for its reports. */
#endif
#endif
  const uint32_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
  const uint32_t own = (uint32_t)getpid();
  const struct sock_filter head[] = {
      LOAD(offsetof(struct seccomp_data, arch)),
      IS(OUR_ARCHITECTURE, 1, 0),
      ANSWER(SECCOMP_RET_KILL_PROCESS),
      LOAD(offsetof(struct seccomp_data, nr)),
  };
  const struct sock_filter looked_into[] = {
#if defined(__x86_64__)
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1), /* x32 */
      REFUSE,
      IS(SYS_open, 0, 4), LOAD(ARGUMENT(1)), HAS(writing, 0, 1), REFUSE, ALLOW,
#endif
      IS(SYS_openat, 0, 4), LOAD(ARGUMENT(2)), HAS(writing, 0, 1), REFUSE, ALLOW,
      /* Threads are allowed, but not processes. */
      IS(SYS_clone, 0, 4), LOAD(ARGUMENT(0)), HAS(CLONE_THREAD, 1, 0), REFUSE, ALLOW,
      /* Signals are allowed only to the process itself. */
      IS(SYS_kill, 0, 4), LOAD(ARGUMENT(0)), IS(own, 1, 0), REFUSE, ALLOW,
      IS(SYS_tgkill, 0, 4), LOAD(ARGUMENT(0)), IS(own, 1, 0), REFUSE, ALLOW,
      OF_ITSELF(SYS_prlimit64), /* the C library's getrlimit uses it too */
      OF_ITSELF(SYS_sched_setaffinity), OF_ITSELF(SYS_sched_setscheduler), OF_ITSELF(SYS_sched_setparam),
      OF_ITSELF(SYS_sched_setattr),
      /* Listening sockets and memory are shared with other processes: refuse calls that would end accepting for
         everybody, make other processes block, or send them signals. */
      IS(SYS_shutdown, 0, 4), LOAD(ARGUMENT(1)), IS(SHUT_WR, 1, 0), REFUSE, ALLOW,
      IS(SYS_fcntl, 0, 9), LOAD(ARGUMENT(1)), IS(F_SETFL, 6, 0), IS(F_SETOWN, 5, 0), IS(F_SETSIG, 4, 0),
      IS(F_SETOWN_EX, 3, 0), IS(F_SETLEASE, 2, 0), IS(F_NOTIFY, 1, 0), ALLOW, REFUSE,
      IS(SYS_ioctl, 0, 7), LOAD(ARGUMENT(1)), IS(SIOCOUTQ, 4, 0), IS(SIOCINQ, 3, 0), IS(TCGETS, 2, 0),
      IS(TIOCGWINSZ, 1, 0), REFUSE, ALLOW,
      /* Accepted connections inherit the options of their listener. */
      IS(SYS_setsockopt, 0, 6), LOAD(ARGUMENT(1)), IS(SOL_SOCKET, 0, 2), LOAD(ARGUMENT(2)), IS(SO_OOBINLINE, 1, 0),
      REFUSE, ALLOW,
  };
  enum { HEAD = sizeof head / sizeof *head, LOOKED = sizeof looked_into / sizeof *looked_into };
  enum { REFUSED = sizeof refused / sizeof *refused, UNKNOWN = sizeof unknown / sizeof *unknown };
  struct sock_filter filter[HEAD + LOOKED + 2 * (REFUSED + UNKNOWN) + 1];
  unsigned short length = 0;
  for (int i = 0; i < HEAD; i++) filter[length++] = head[i];
  for (int i = 0; i < REFUSED + UNKNOWN; i++) {
    int is_refused = i < REFUSED;
    struct sock_filter is = IS(is_refused ? refused[i] : unknown[i - REFUSED], 0, 1);
    struct sock_filter answer = ANSWER(SECCOMP_RET_ERRNO | (is_refused ? EPERM : ENOSYS));
    filter[length++] = is;
    filter[length++] = answer;
  }
  for (int i = 0; i < LOOKED; i++) filter[length++] = looked_into[i];
  struct sock_filter allow = ALLOW;
  filter[length++] = allow;
  struct sock_fprog program = {length, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
#endif
}

#if DEBUG
/* What an attacker in control of the process would try besides programs, sockets and files: to harm other processes by
   what it shares with them. */
const char *martlet_harm(int number, int listener) {
  const pid_t other = getppid();
  const struct rlimit none = {16, 16};
  const cpu_set_t cpus = {{1}};
  struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
  const struct sock_fprog deaf = {1, &drop};
  int pid = (int)other, one = 1;
  switch (number) {
    case 0: return prlimit(other, RLIMIT_NOFILE, &none, NULL) ? "another's limits" : "";
    case 1: return sched_setaffinity(other, sizeof cpus, &cpus) ? "another's processors" : "";
    case 2: return setpriority(PRIO_PROCESS, (id_t)other, 19) ? "another's priority" : "";
    case 3: return fcntl(listener, F_SETOWN, other) ? "signals by a socket" : "";
    case 4: return fcntl(listener, F_SETSIG, SIGKILL) ? "other signals by a socket" : "";
    case 5: return ioctl(listener, FIOSETOWN, &pid) ? "signals by ioctl" : "";
    case 6: return fcntl(listener, F_SETFL, 0) ? "a listener that blocks" : "";
    case 7: return shutdown(listener, SHUT_RDWR) ? "the end of a listener" : "";
    case 8: return setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &deaf, sizeof deaf) ? "a deaf listener" : "";
    case 9: return ftruncate(memfd_create("harm", MFD_CLOEXEC), 4096) ? "memory that changes its size" : "";
    case 10: return setsockopt(listener, IPPROTO_TCP, TCP_USER_TIMEOUT, &one, sizeof one) ? "short connections" : "";
    case 11: return setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &one, sizeof one) ? "small buffers" : "";
    default: return NULL;
  }
}
#endif
