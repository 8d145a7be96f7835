// Owns what somebody outside does to the CD-ROM drives of a live run: putting discs in and
// taking them out, as inputs. Knows no guest. The machine's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "host/disk_image.h"
#include "host/inbox.h"
#include "vmm/devices/core/media.h"

namespace chronovisor {

class DiscChanger {
 public:
  enum class Force : std::uint8_t { no, yes };

  /// @param media what the machine reads from, beyond what is recorded
  DiscChanger(std::shared_ptr<HostMedia> media, Inbox& inbox, std::vector<DriveConfig> drives);

  /// Puts the image into a drive: "cd0" or, as QEMU names it, "ide1-cd0". With `format`
  /// empty it is found out. Throws Error{usage} when there is no such drive,
  /// Error{bad_input} when the image cannot be opened.
  /// @return the file
  std::string change(const std::string& drive, const std::string& file, const std::string& format,
                     Force force);
  /// Throws Error{usage} when there is no such drive.
  void eject(const std::string& drive, Force force);

 private:
  [[nodiscard]] std::uint16_t number_of(const std::string& drive) const;
  void push(std::uint16_t drive, const MediumChange& change);

  std::shared_ptr<HostMedia> media_;
  Inbox& inbox_;
  std::vector<DriveConfig> drives_;
};

}  // namespace chronovisor
