// Owns the images of disks and discs on the host: how they are opened, what format they
// have, and reading them. Nothing here ever writes an image. Knows no guest and no
// recording. The machine's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vmm/devices/core/media.h"

namespace chronovisor {

class DiskImage {
 public:
  virtual ~DiskImage() = default;
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  /// Fills `out` from `offset` on, all of it within the image.
  /// @return false when the host cannot read it
  [[nodiscard]] virtual bool read(std::uint64_t offset, std::span<std::uint8_t> out) = 0;
};

/// The format that the first bytes of a file show: qcow2, vmdk, vdi, vhdx, or else raw.
/// Throws Error{bad_input} when the file cannot be read.
[[nodiscard]] std::string probe_disk_format(const std::string& path);

/// Opens an image, for reading only. `raw` is read by this program; any other format by
/// qemu-nbd, which is started for it and ends with the image. "nbd:unix:SOCKET" and
/// "nbd:unix:SOCKET:exportname=NAME" in place of a file is a server that is there already.
/// Throws Error{bad_input} for what cannot be opened, Error{host} without qemu-nbd.
[[nodiscard]] std::unique_ptr<DiskImage> open_disk_image(const std::string& path,
                                                         const std::string& format);
/// Is the path that of a server?
[[nodiscard]] bool is_nbd_address(const std::string& path);

/// The media of a live run, by number.
class HostMedia final : public MediaSource {
 public:
  /// @param name of its file, for messages
  /// @return its number, the next
  std::uint32_t add(std::unique_ptr<DiskImage> image, std::string name);
  /// Numbers below `first` are not given out.
  void begin_at(std::uint32_t first);
  /// May be null: there is no such medium here.
  [[nodiscard]] DiskImage* image(std::uint32_t medium);
  /// `tell` gets a message when a block cannot be read, of each image the first time.
  void on_trouble(std::function<void(const std::string& message)> tell) { tell_ = std::move(tell); }
  [[nodiscard]] bool read_block(std::uint32_t medium, std::uint64_t block, Block out) override;

 private:
  struct Image {
    std::unique_ptr<DiskImage> image;
    std::string name;
    bool told = false;
  };
  std::vector<Image> images_;
  std::function<void(const std::string&)> tell_;
};

}  // namespace chronovisor
