/* SPDX-License-Identifier: Apache-2.0 */

/* What several files of this target share. */
#ifndef CMARTLETLINUX_PRIVATE_H
#define CMARTLETLINUX_PRIVATE_H

#include "CMartletLinux.h"

/* Room for the descriptors of one message, aligned as CMSG_FIRSTHDR(3) wants it. */
typedef union {
  char bytes[CMSG_SPACE(MARTLET_MAX_DESCRIPTORS * sizeof(int))];
  struct cmsghdr align;
} control_buffer;

#endif
