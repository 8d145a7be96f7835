// Owns images that a server reads for us over the NBD protocol, on a Unix socket: one
// that is there, or a qemu-nbd that is started for a file and ends with the image.
// Source: the NBD protocol, github.com/NetworkBlockDevice/nbd, doc/proto.md.
#pragma once

#include <memory>
#include <string>

#include "host/disk_image.h"

namespace chronovisor {

/// @param what how messages call it
/// Throws Error{bad_input}.
[[nodiscard]] std::unique_ptr<DiskImage> connect_nbd(const std::string& socket,
                                                     const std::string& export_name,
                                                     const std::string& what);
/// Throws Error{bad_input} when qemu-nbd does not open the file, Error{host} when there is
/// no qemu-nbd.
[[nodiscard]] std::unique_ptr<DiskImage> serve_nbd(const std::string& path,
                                                   const std::string& format);

}  // namespace chronovisor
