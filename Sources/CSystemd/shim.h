/* libsystemd: notifications and inherited sockets (sd-daemon(3)). */
#ifndef CSYSTEMD_SHIM_H
#define CSYSTEMD_SHIM_H
#include <systemd/sd-daemon.h>
#endif
