/* SPDX-License-Identifier: Apache-2.0 */

/* libsystemd: notifications, inherited sockets (sd-daemon(3)) and the journal (sd-journal(3)). */
#ifndef CSYSTEMD_SHIM_H
#define CSYSTEMD_SHIM_H
#define SD_JOURNAL_SUPPRESS_LOCATION 1
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#endif
