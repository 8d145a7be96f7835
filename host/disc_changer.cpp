#include "host/disc_changer.h"

#include <utility>

#include "base/error.h"

namespace chronovisor {

DiscChanger::DiscChanger(std::shared_ptr<HostMedia> media, Inbox& inbox,
                         std::vector<DriveConfig> drives)
    : media_(std::move(media)), inbox_(inbox), drives_(std::move(drives)) {}

std::uint16_t DiscChanger::number_of(const std::string& drive) const {
  const std::string plain = drive == "ide1-cd0" ? "cd0" : drive;
  unsigned discs = 0;
  std::string known;
  for (std::size_t n = 0; n < drives_.size(); ++n) {
    if (drives_[n].kind != DriveConfig::Kind::cdrom) continue;
    const std::string name = "cd" + std::to_string(discs++);
    if (plain == name) return static_cast<std::uint16_t>(n);
    known += (known.empty() ? "" : ", ") + name;
  }
  throw Error(ErrorCode::usage, "there is no CD-ROM drive \"" + drive + "\"; there is " +
                                    (known.empty() ? "none" : known));
}

void DiscChanger::push(std::uint16_t drive, const MediumChange& change) {
  Inbox::Source source(inbox_, InputKind::cd_change, drive);
  source.push(encode_medium_change(change));
}

std::string DiscChanger::change(const std::string& drive, const std::string& file,
                                const std::string& format, Force force) {
  const std::uint16_t number = number_of(drive);
  const std::string known = !format.empty()        ? format
                            : is_nbd_address(file) ? "nbd"
                                                   : probe_disk_format(file);
  auto image = open_disk_image(file, known);
  MediumChange change;
  change.size_bytes = image->size_bytes();
  if (change.size_bytes == 0) throw Error(ErrorCode::bad_input, file + ": is empty");
  change.medium = media_->add(std::move(image), file);
  change.forced = force == Force::yes;
  change.name = file;
  push(number, change);
  return file;
}

void DiscChanger::eject(const std::string& drive, Force force) {
  MediumChange change;
  change.forced = force == Force::yes;
  push(number_of(drive), change);
}

}  // namespace chronovisor
