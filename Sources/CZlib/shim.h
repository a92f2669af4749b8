/* zlib: the CRC-32 that guards what lies in shared memory. */
#ifndef CZLIB_SHIM_H
#define CZLIB_SHIM_H
#include <zlib.h>
#endif
