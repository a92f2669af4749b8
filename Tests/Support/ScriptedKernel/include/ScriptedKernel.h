/* SPDX-License-Identifier: Apache-2.0 */

/* A kernel that does what a script says, for this thread: functions of the C library that this program calls are found here
   first (symbol interposition), and go on to the real ones unless the script says otherwise. */
#ifndef SCRIPTEDKERNEL_H
#define SCRIPTEDKERNEL_H

enum scripted_call { SCRIPTED_SEND, SCRIPTED_RECV, SCRIPTED_SENDMSG, SCRIPTED_RECVMSG, SCRIPTED_ACCEPT, SCRIPTED_CALLS };

/* The next call of this kind fails with `error` (errno(3)); 0: it goes on to the kernel, and moves at most `most` bytes. */
void scripted_add(int call, int error, long most);
/* How many calls of this kind there were since scripted_clear. */
long scripted_count(int call);
/* How many outcomes were not used yet. */
long scripted_pending(int call);
/* Forgets the script, and counts anew. */
void scripted_clear(void);

#endif
