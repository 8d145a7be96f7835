// Owns the loading of libslirp when user networking is asked for: the program needs it
// for nothing else, and runs without. Any thread.
#pragma once

#include <slirp/libslirp.h>

namespace chronovisor {

/// The functions that are used, as libslirp.h declares them.
struct SlirpLibrary {
  decltype(&::slirp_new) make;
  decltype(&::slirp_cleanup) cleanup;
  decltype(&::slirp_pollfds_fill) fill;
  decltype(&::slirp_pollfds_poll) poll;
  decltype(&::slirp_input) input;
  decltype(&::slirp_add_hostfwd) add_forward;
};

/// Throws Error{host} when the host has none.
[[nodiscard]] const SlirpLibrary& slirp_library();

}  // namespace chronovisor
