/* SPDX-License-Identifier: Apache-2.0 */

/* zlib: the CRC-32 that guards shared memory, and the compression of permessage-deflate. */
#ifndef CZLIB_SHIM_H
#define CZLIB_SHIM_H
#include <zlib.h>
#endif
