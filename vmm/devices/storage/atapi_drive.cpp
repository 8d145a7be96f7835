#include "vmm/devices/storage/atapi_drive.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "vmm/devices/storage/ata_identity.h"
#include "vmm/devices/storage/overlay_disk.h"

namespace chronovisor {
namespace {

// ATA commands of a packet device.
constexpr std::uint8_t kDeviceReset = 0x08;
constexpr std::uint8_t kDiagnostic = 0x90;
constexpr std::uint8_t kPacket = 0xa0;
constexpr std::uint8_t kIdentifyPacket = 0xa1;
constexpr std::uint8_t kIdentify = 0xec;
constexpr std::uint8_t kSetFeatures = 0xef;

// The interrupt reason register.
constexpr std::uint8_t kCommandPacket = 0x01;
constexpr std::uint8_t kToHost = 0x02;

// Sense keys.
constexpr std::uint8_t kNotReady = 0x02;
constexpr std::uint8_t kMediumError = 0x03;
constexpr std::uint8_t kIllegalRequest = 0x05;
constexpr std::uint8_t kUnitAttention = 0x06;
// Additional sense codes.
constexpr std::uint8_t kUnrecoveredRead = 0x11;
constexpr std::uint8_t kInvalidCommand = 0x20;
constexpr std::uint8_t kOutOfRange = 0x21;
constexpr std::uint8_t kInvalidField = 0x24;
constexpr std::uint8_t kMediumChanged = 0x28;
constexpr std::uint8_t kMediumNotPresent = 0x3a;
constexpr std::uint8_t kLocked = 0x53;

/// Minutes, seconds and frames of a block; the first is at 0:02:00.
std::uint32_t msf(std::uint32_t block) {
  const std::uint32_t frames = block + 150;
  return (frames / (75 * 60) << 16) | (frames / 75 % 60 << 8) | frames % 75;
}

}  // namespace

AtapiDrive::AtapiDrive(MediaSource& media, Disc disc) : media_(media), disc_(disc) {
  follow_disc();
}

void AtapiDrive::follow_disc() {
  disk_.reset();
  if (disc_.medium == kNoMedium) return;
  disk_ = std::make_unique<ReadOnlyDisk>(
      std::make_unique<MediumBlocks>(media_, disc_.medium, disc_.size_bytes));
}

void AtapiDrive::change(Disc disc, Force force) {
  if (locked_ && disk() != nullptr && force == Force::no) {
    event_ = Event::eject_wanted;
    return;
  }
  disc_ = disc;
  follow_disc();
  tray_open_ = false;
  attention_ = disk() != nullptr;
  event_ = disk() != nullptr ? Event::new_disc : Event::disc_gone;
}

std::string AtapiDrive::request() const {
  if (kind_ != Kind::read_dma) return "PACKET, command " + hex_text(packet_[0]);
  return "PACKET READ, block " + std::to_string(first_) + ", " + std::to_string(count_asked_) +
         " blocks";
}

std::uint32_t AtapiDrive::blocks() const {
  if (disk() == nullptr) return 0;
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(disk()->sectors() / (kBlockBytes / kSectorBytes), 0xffffffffULL));
}

void AtapiDrive::put_signature() {
  count_[0] = 1;
  lba_low_[0] = 1;
  lba_mid_[0] = 0x14;
  lba_high_[0] = 0xeb;
}

void AtapiDrive::drive_reset() {
  kind_ = Kind::none;
  packet_ = {};
  dma_wanted_ = false;
  block_ = left_ = piece_limit_ = 0;
  sense_key_ = sense_code_ = 0;
  first_ = count_asked_ = 0;
  locked_ = false;
  status_ = 0;  // a packet device shows DRDY only after its first command
}

void AtapiDrive::visit_drive(StateVisitor& visitor, const std::string& prefix) {
  auto kind = static_cast<std::uint8_t>(kind_);
  visitor.field(prefix + "kind", kind);
  visitor.field(prefix + "medium", disc_.medium);
  visitor.field(prefix + "disc_bytes", disc_.size_bytes);
  follow_disc();
  kind_ = kind <= static_cast<std::uint8_t>(Kind::refuse) ? static_cast<Kind>(kind) : Kind::none;
  visitor.field(prefix + "packet", packet_);
  visitor.field(prefix + "dma_wanted", dma_wanted_);
  visitor.field(prefix + "block", block_);
  visitor.field(prefix + "left", left_);
  visitor.field(prefix + "first", first_);
  visitor.field(prefix + "asked", count_asked_);
  visitor.field(prefix + "piece_limit", piece_limit_);
  visitor.field(prefix + "sense_key", sense_key_);
  visitor.field(prefix + "sense_code", sense_code_);
  visitor.field(prefix + "attention", attention_);
  auto event = static_cast<std::uint8_t>(event_);
  visitor.field(prefix + "event", event);
  event_ = event <= static_cast<std::uint8_t>(Event::disc_gone) ? static_cast<Event>(event)
                                                                : Event::none;
  visitor.field(prefix + "locked", locked_);
  visitor.field(prefix + "tray_open", tray_open_);
}

void AtapiDrive::set_count(std::size_t bytes) {
  lba_mid_[0] = static_cast<std::uint8_t>(bytes);
  lba_high_[0] = static_cast<std::uint8_t>(bytes >> 8);
}

void AtapiDrive::big16(std::uint32_t value) {
  byte(value >> 8 & 0xff);
  byte(value & 0xff);
}

void AtapiDrive::big32(std::uint32_t value) {
  big16(value >> 16);
  big16(value);
}

std::uint16_t AtapiDrive::packet16(unsigned at) const {
  return static_cast<std::uint16_t>(packet_[at] << 8 | packet_[at + 1]);
}

std::uint32_t AtapiDrive::packet32(unsigned at) const {
  return std::uint32_t{packet16(at)} << 16 | packet16(at + 2);
}

void AtapiDrive::execute(std::uint8_t command) {
  switch (command) {
    case kPacket:
      kind_ = Kind::packet;
      dma_wanted_ = (features_ & 1) != 0;
      piece_limit_ = static_cast<std::uint32_t>(lba_mid_[0] | lba_high_[0] << 8);
      count_[0] = kCommandPacket;
      ask_for_data(kPacketBytes, IdeAction::none);
      break;
    case kIdentifyPacket:
      kind_ = Kind::identify;
      wait(0);
      break;
    case kIdentify:
      // How a driver finds out that this is a packet device.
      put_signature();
      fail(kIdeAborted);
      break;
    case kDeviceReset:
      reset();
      break;
    case kDiagnostic:
      put_signature();
      error_ = 1;
      finish();
      break;
    case kSetFeatures:
      finish();
      break;
    default:
      fail(kIdeAborted);
      break;
  }
}

void AtapiDrive::data_written() {
  if (kind_ != Kind::packet || buffer_.size() != packet_.size()) {
    fail(kIdeAborted);
    return;
  }
  std::copy(buffer_.begin(), buffer_.end(), packet_.begin());
  buffer_.clear();
  wait(0);
}

void AtapiDrive::go_on() {
  switch (kind_) {
    case Kind::identify:
      identify();
      offer_data();
      break;
    case Kind::packet:
      run_packet();
      break;
    case Kind::read:
    case Kind::read_dma:
      next_piece();
      break;
    default:
      good();
      break;
  }
}

void AtapiDrive::data_taken() {
  switch (kind_) {
    case Kind::identify:
      finish(IdeAction::none);
      break;
    case Kind::read:
    case Kind::read_dma:
      if (left_ != 0) {
        wait(std::uint64_t{std::min<std::uint32_t>(left_, 32)} * kBlockBytes);
      } else {
        good();
      }
      break;
    default:
      good();
      break;
  }
}

/// The command has ended well.
void AtapiDrive::good() {
  kind_ = Kind::none;
  count_[0] = kToHost | kCommandPacket;
  sense_key_ = sense_code_ = 0;
  finish();
}

/// The command has ended with a check condition.
void AtapiDrive::check(Sense sense) {
  kind_ = Kind::none;
  sense_key_ = sense.key;
  sense_code_ = sense.code;
  count_[0] = kToHost | kCommandPacket;
  fail(static_cast<std::uint8_t>(sense.key << 4 | kIdeAborted));
}

/// Gives `buffer_`, at most as much as the guest has room for.
void AtapiDrive::reply(std::size_t allocated) {
  buffer_.resize(std::min(buffer_.size(), allocated));
  if (buffer_.empty()) {
    good();
    return;
  }
  kind_ = Kind::reply;
  count_[0] = kToHost;
  if (dma_wanted_) {
    offer_dma();
    return;
  }
  set_count(buffer_.size());
  offer_data();
}

bool AtapiDrive::medium_ready() {
  if (attention_) {
    attention_ = false;
    check({kUnitAttention, kMediumChanged});
    return false;
  }
  if (disk() == nullptr || tray_open_) {
    check({kNotReady, kMediumNotPresent});
    return false;
  }
  return true;
}

void AtapiDrive::run_packet() {
  switch (packet_[0]) {
    case 0x00:  // TEST UNIT READY
      if (medium_ready()) good();
      break;
    case 0x03:
      request_sense();
      break;
    case 0x12:
      inquiry();
      break;
    case 0x1a:  // MODE SENSE (6)
    case 0x5a:  // MODE SENSE (10)
      mode_sense(packet_[0] == 0x5a);
      break;
    case 0x1b:
      start_stop();
      break;
    case 0x1e:  // PREVENT ALLOW MEDIUM REMOVAL
      locked_ = (packet_[4] & 1) != 0;
      good();
      break;
    case 0x25:
      if (medium_ready()) read_capacity();
      break;
    case 0x28:  // READ (10)
      if (medium_ready()) read_blocks(packet32(2), packet16(7));
      break;
    case 0xa8:  // READ (12)
      if (medium_ready()) read_blocks(packet32(2), packet32(6));
      break;
    case 0xbe: {  // READ CD: user data alone
      if (!medium_ready()) break;
      const std::uint32_t count = packet32(5) & 0xffffff;
      if (packet_[9] != 0 && (packet_[9] & 0xf8) != 0x10) {
        check({kIllegalRequest, kInvalidField});
      } else {
        read_blocks(packet32(2), packet_[9] == 0 ? 0 : count);
      }
      break;
    }
    case 0x2b:  // SEEK (10)
      if (!medium_ready()) break;
      if (packet32(2) >= blocks()) {
        check({kIllegalRequest, kOutOfRange});
      } else {
        good();
      }
      break;
    case 0x43:
      if (medium_ready()) read_toc();
      break;
    case 0x46:
      get_configuration();
      break;
    case 0x4a:
      get_event_status();
      break;
    case 0x51:
      if (medium_ready()) read_disc_information();
      break;
    case 0xbb:  // SET CD SPEED
      good();
      break;
    case 0xbd:
      mechanism_status();
      break;
    default:
      check({kIllegalRequest, kInvalidCommand});
      break;
  }
}

void AtapiDrive::read_blocks(std::uint32_t first, std::uint32_t count) {
  if (first > blocks() || count > blocks() - first) {
    check({kIllegalRequest, kOutOfRange});
    return;
  }
  if (count == 0) {
    good();
    return;
  }
  block_ = first_ = first;
  left_ = count_asked_ = count;
  kind_ = dma_wanted_ ? Kind::read_dma : Kind::read;
  wait(std::uint64_t{std::min<std::uint32_t>(count, 32)} * kBlockBytes);
}

void AtapiDrive::next_piece() {
  // A PIO piece is what the guest said it takes at once, in whole blocks.
  const std::uint32_t most = kind_ == Kind::read_dma
                                 ? kBufferBytes / kBlockBytes
                                 : std::clamp<std::uint32_t>(piece_limit_ / kBlockBytes, 1, 31);
  const std::uint32_t count = std::min(left_, most);
  if (disk() == nullptr || count == 0 || block_ > blocks() || count > blocks() - block_) {
    check({kNotReady, kMediumNotPresent});
    return;
  }
  buffer_.assign(std::size_t{count} * kBlockBytes, 0);
  if (disk()->read(std::uint64_t{block_} * (kBlockBytes / kSectorBytes), buffer_) !=
      DiskStatus::done) {
    check({kMediumError, kUnrecoveredRead});
    return;
  }
  block_ += count;
  left_ -= count;
  count_[0] = kToHost;
  if (kind_ == Kind::read_dma) {
    offer_dma();
    return;
  }
  set_count(buffer_.size());
  offer_data();
}

void AtapiDrive::identify() {
  IdentityWords words{};
  words[0] = 0x85c0;  // a packet device, CD-ROM, removable, 12-byte packets
  put_identity_text(words, 10, 10, "CVCD0001");
  put_identity_text(words, 23, 4, "1.0");
  put_identity_text(words, 27, 20, "CHRONOVISOR CD-ROM");
  words[49] = 0x0f00;
  words[53] = 7;
  words[63] = 0x0007;
  words[64] = 0x0003;
  for (unsigned n = 65; n <= 68; ++n) words[n] = 120;
  words[80] = 0x007e;
  words[88] = 0x003f;
  buffer_ = identity_bytes(words);
}

void AtapiDrive::inquiry() {
  const auto text = [&](std::string_view value, std::size_t size) {
    for (std::size_t n = 0; n < size; ++n) byte(n < value.size() ? value[n] : ' ');
  };
  if ((packet_[1] & 1) != 0) {  // vital product data are not there
    check({kIllegalRequest, kInvalidField});
    return;
  }
  byte(0x05);  // a CD-ROM device
  byte(0x80);  // removable
  byte(0x00);
  byte(0x21);  // ATAPI, response format 1
  byte(31);
  for (unsigned n = 0; n < 3; ++n) byte(0);
  text("CHRONO", 8);
  text("CHRONOVISOR CD", 16);
  text("1.0", 4);
  reply(packet_[4]);
}

void AtapiDrive::request_sense() {
  if (sense_key_ == 0 && attention_) {
    attention_ = false;
    sense_key_ = kUnitAttention;
    sense_code_ = kMediumChanged;
  }
  byte(0x70);
  byte(0);
  byte(sense_key_);
  for (unsigned n = 0; n < 4; ++n) byte(0);
  byte(10);
  for (unsigned n = 0; n < 4; ++n) byte(0);
  byte(sense_code_);
  for (unsigned n = 0; n < 5; ++n) byte(0);
  reply(packet_[4]);
}

void AtapiDrive::mode_sense(bool ten) {
  const unsigned page = packet_[2] & 0x3fU;
  const std::size_t allocated = ten ? packet16(7) : packet_[4];
  Bytes pages;
  const auto add = [&](std::initializer_list<unsigned> bytes) {
    for (const unsigned value : bytes) pages.push_back(static_cast<std::uint8_t>(value));
  };
  const bool all = page == 0x3f;
  if (all || page == 0x01) add({0x01, 6, 0, 5, 0, 0, 0, 0});
  if (all || page == 0x0e) add({0x0e, 14, 4, 0, 0, 0, 0, 75, 1, 255, 2, 255, 0, 0, 0, 0});
  if (all || page == 0x2a) {
    const unsigned lock = (locked_ ? 0x02U : 0U) | 0x29U;  // a tray that locks and ejects
    add({0x2a, 18, 0x3b, 0, 0, 0x40, lock, 0, 0x02, 0xc2, 0, 2, 2, 0, 0x02, 0xc2, 0, 0, 0, 0});
  }
  if (pages.empty()) {
    check({kIllegalRequest, kInvalidField});
    return;
  }
  const unsigned medium = disk() == nullptr || tray_open_ ? 0x70 : 0x01;
  if (ten) {
    big16(static_cast<std::uint32_t>(pages.size() + 6));
    byte(medium);
    for (unsigned n = 0; n < 5; ++n) byte(0);
  } else {
    byte(static_cast<unsigned>(pages.size() + 3));
    byte(medium);
    byte(0);
    byte(0);
  }
  buffer_.insert(buffer_.end(), pages.begin(), pages.end());
  reply(allocated);
}

void AtapiDrive::read_capacity() {
  big32(blocks() == 0 ? 0 : blocks() - 1);
  big32(kBlockBytes);
  reply(buffer_.size());
}

void AtapiDrive::read_toc() {
  const bool in_msf = (packet_[1] & 2) != 0;
  const auto place = [&](std::uint32_t block) { big32(in_msf ? msf(block) : block); };
  unsigned format = packet_[2] & 0x0fU;
  if (format == 0) format = packet_[9] >> 6;
  switch (format) {
    case 0: {
      const unsigned track = packet_[6];
      if (track > 1 && track != 0xaa) {
        check({kIllegalRequest, kInvalidField});
        return;
      }
      big16(track == 0xaa ? 10 : 18);
      byte(1);
      byte(1);
      if (track != 0xaa) {
        byte(0);
        byte(0x14);
        byte(1);
        byte(0);
        place(0);
      }
      byte(0);
      byte(0x14);
      byte(0xaa);
      byte(0);
      place(blocks());
      break;
    }
    case 1:
      big16(10);
      byte(1);
      byte(1);
      byte(0);
      byte(0x14);
      byte(1);
      byte(0);
      place(0);
      break;
    default:
      check({kIllegalRequest, kInvalidField});
      return;
  }
  reply(packet16(7));
}

void AtapiDrive::get_configuration() {
  const bool present = disk() != nullptr && !tray_open_;
  big32(0);  // its length, below
  big16(0);
  big16(present ? 0x0008 : 0);  // the present profile: CD-ROM
  big16(0x0000);                // the profile list
  byte(0x03);
  byte(4);
  big16(0x0008);
  byte(present ? 1 : 0);
  byte(0);
  big16(0x0001);  // core
  byte(0x0b);
  byte(8);
  big32(2);  // ATAPI
  byte(1);
  for (unsigned n = 0; n < 3; ++n) byte(0);
  big16(0x0003);  // removable medium
  byte(0x03);
  byte(4);
  byte(0x29);
  for (unsigned n = 0; n < 3; ++n) byte(0);
  buffer_[3] = static_cast<std::uint8_t>(buffer_.size() - 4);
  reply(packet16(7));
}

void AtapiDrive::get_event_status() {
  if ((packet_[1] & 1) == 0) {  // asynchronous reports are not there
    check({kIllegalRequest, kInvalidField});
    return;
  }
  if ((packet_[4] & 0x10) == 0) {  // no class that is asked for is there
    big16(2);
    byte(0x80);
    byte(0x10);
    reply(packet16(7));
    return;
  }
  const bool present = disk() != nullptr;
  big16(6);
  byte(0x04);  // media
  byte(0x10);
  byte(static_cast<unsigned>(event_));
  byte((tray_open_ ? 1U : 0U) | (present && !tray_open_ ? 2U : 0U));
  byte(0);
  byte(0);
  event_ = Event::none;
  reply(packet16(7));
}

void AtapiDrive::read_disc_information() {
  big16(32);
  byte(0x0e);  // complete, last session complete
  byte(1);
  byte(1);
  byte(1);
  byte(1);
  byte(0x20);
  buffer_.resize(34);
  reply(packet16(7));
}

void AtapiDrive::mechanism_status() {
  byte(0);
  byte(tray_open_ ? 0x10 : 0);
  for (unsigned n = 0; n < 3; ++n) byte(0);
  byte(1);
  big16(0);
  reply(packet16(8));
}

void AtapiDrive::start_stop() {
  const bool load_or_eject = (packet_[4] & 2) != 0;
  const bool start = (packet_[4] & 1) != 0;
  if (!load_or_eject) {
    good();
    return;
  }
  if (!start && locked_) {
    check({kNotReady, kLocked});
    return;
  }
  tray_open_ = !start;
  event_ = start && disk() != nullptr ? Event::new_disc : Event::disc_gone;
  good();
}

}  // namespace chronovisor
