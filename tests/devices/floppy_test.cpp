#include "tests/devices/floppy_bench.h"
#include "vmm/memory/paged_region.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

}  // namespace

TEST_CASE("sectors are read by DMA until the channel's last byte") {
  FloppyBench bench;
  bench.start();
  bench.channel(0x8000, 3 * 512, 0x46);
  bench.command({0x46, 0x00, 0, 0, 16, 2, 18, 0x1b, 0xff});
  // Cylinder 0, head 0: sectors 16, 17 and 18, and what comes then is cylinder 1.
  CHECK(bench.result() == std::vector<std::uint8_t>{0x00, 0x00, 0x00, 1, 0, 1, 2});
  CHECK(bench.get<std::uint32_t>(0x8000) == 15);
  CHECK(bench.get<std::uint32_t>(0x8200) == 16);
  CHECK(bench.get<std::uint32_t>(0x8400) == 17);
  CHECK(bench.lines.rises > 0);
}

TEST_CASE("both sides of a cylinder are one piece where many tracks are asked for") {
  FloppyBench bench;
  bench.start();
  bench.channel(0x8000, 2 * 512, 0x46);
  bench.command({0xc6, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff});
  CHECK(bench.result() == std::vector<std::uint8_t>{0x04, 0x00, 0x00, 0, 1, 2, 2});
  CHECK(bench.get<std::uint32_t>(0x8200) == 18);  // head 1, sector 1
}

TEST_CASE("sectors beyond the last of a track are those of the other side, as firmware means it") {
  FloppyBench bench;
  bench.floppy.set_state_version(2);
  bench.start();
  bench.channel(0x8000, 3 * 512, 0x46);
  bench.command({0xe6, 0x00, 0, 0, 17, 2, 20, 0x1b, 0xff});
  CHECK(bench.result() == std::vector<std::uint8_t>{0x04, 0x00, 0x00, 0, 1, 2, 2});
  CHECK(bench.get<std::uint32_t>(0x8400) == 18);  // head 1, sector 1
  // The cylinder's last is the last there is.
  bench.channel(0x8000, 3 * 512, 0x46);
  bench.command({0xe6, 0x04, 0, 1, 18, 2, 20, 0x1b, 0xff});
  CHECK(bench.result()[1] == 0x80);
  bench.floppy.set_state_version(1);  // of machines of older recordings
  bench.channel(0x8000, 3 * 512, 0x46);
  bench.command({0xe6, 0x00, 0, 0, 17, 2, 20, 0x1b, 0xff});
  CHECK(bench.result()[1] == 0x04);
}

TEST_CASE("a seek takes its time, and its interrupt says where the head is") {
  FloppyBench bench;
  bench.start();
  bench.command({0x0f, 0x00, 40});
  CHECK((bench.in(FloppyBench::kStatus)&0x01) != 0);
  CHECK(bench.floppy.next_deadline_ns() ==
        bench.clock.ns + FloppyController::kCommandNs + 40 * FloppyController::kStepNs);
  bench.finish();
  bench.command({0x08});
  CHECK(bench.result() == std::vector<std::uint8_t>{0x20, 40});
  bench.command({0x08});
  CHECK(bench.result() == std::vector<std::uint8_t>{0x80});
  bench.channel(0x8000, 512, 0x46);
  bench.command({0x46, 0x04, 40, 1, 5, 2, 18, 0x1b, 0xff});
  CHECK(bench.result() == std::vector<std::uint8_t>{0x04, 0x00, 0x00, 40, 1, 6, 2});
  CHECK(bench.get<std::uint32_t>(0x8000) == (40 * 2 + 1) * 18 + 4);
}

TEST_CASE("sectors are written by DMA and by the FIFO") {
  FloppyBench bench;
  bench.start();
  (void)bench.ram.write({0x9000}, Bytes(512, 0xab));
  bench.channel(0x9000, 512, 0x4a);
  bench.command({0x45, 0x00, 0, 0, 7, 2, 18, 0x1b, 0xff});
  CHECK(bench.result() == std::vector<std::uint8_t>{0x00, 0x00, 0x00, 0, 0, 8, 2});
  CHECK(bench.disk->last_sector == 6);
  CHECK(bench.disk->last_write == Bytes(512, 0xab));

  bench.command({0x03, 0xdf, 0x03});  // without DMA
  bench.command({0x45, 0x00, 0, 0, 9, 2, 9, 0x1b, 0xff});
  bench.finish();
  CHECK((bench.in(FloppyBench::kStatus)&0xf0) == 0xb0);
  for (unsigned n = 0; n < 512; ++n) bench.out(FloppyBench::kFifo, n & 0xff);
  // Nothing says that it was the last one but the end of the track.
  CHECK(bench.result() == std::vector<std::uint8_t>{0x40, 0x80, 0x00, 0, 0, 9, 2});
  CHECK(bench.disk->last_sector == 8);
  CHECK(bench.disk->last_write[300] == (300 & 0xff));
  bench.command({0x46, 0x00, 0, 0, 9, 2, 9, 0x1b, 0xff});
  bench.finish();
  std::vector<std::uint8_t> read;
  for (unsigned n = 0; n < 512; ++n) read.push_back(bench.in(FloppyBench::kFifo));
  CHECK(read[0] == 8);
  CHECK(bench.result().size() == 7);
}

TEST_CASE("a disk that is protected, a wrong rate, no disk, and what is not on it are errors") {
  FloppyBench bench;
  bench.start();
  bench.channel(0x9000, 512, 0x4a);
  bench.disk->read_only_disk = true;
  bench.command({0x45, 0x00, 0, 0, 7, 2, 18, 0x1b, 0xff});
  CHECK(bench.result()[1] == 0x02);
  bench.disk->read_only_disk = false;
  bench.channel(0x9000, 512, 0x46);
  bench.command({0x46, 0x00, 0, 0, 19, 2, 36, 0x1b, 0xff});
  CHECK(bench.result()[1] == 0x04);
  bench.command({0x46, 0x00, 3, 0, 1, 2, 18, 0x1b, 0xff});
  CHECK(bench.result()[2] == 0x10);  // the head is on another cylinder
  bench.disk->bad_sector = 3;
  bench.command({0x46, 0x00, 0, 0, 4, 2, 18, 0x1b, 0xff});
  CHECK(bench.result()[1] == 0x20);
  bench.out(0x3f7, 2);
  bench.command({0x4a, 0x00});
  CHECK(bench.result()[1] == 0x01);
  bench.out(0x3f7, 0);
  bench.command({0x46, 0x01, 0, 0, 1, 2, 18, 0x1b, 0xff});
  CHECK(bench.result()[0] == 0x49);
  bench.out(0x0a, 0x06);  // the channel is masked
  bench.command({0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff});
  CHECK(bench.result()[1] == 0x10);
}

TEST_CASE("a track is formatted with addresses from memory") {
  FloppyBench bench;
  bench.start();
  const Bytes addresses{0, 0, 1, 2, 0, 0, 2, 2};
  (void)bench.ram.write({0x9000}, addresses);
  bench.channel(0x9000, 8, 0x4a);
  bench.command({0x4d, 0x00, 2, 2, 0x50, 0xf6});
  CHECK(bench.result()[0] == 0x00);
  CHECK(bench.disk->last_sector == 1);
  CHECK(bench.disk->last_write == Bytes(512, 0xf6));
}

// The fault that was called VENOM: a FIFO whose index nothing stopped.
TEST_CASE("no run of bytes to any command leaves the FIFO") {
  for (unsigned first = 0; first < 256; ++first) {
    CAPTURE(first);
    FloppyBench bench;
    bench.start();
    for (unsigned n = 0; n < 2000; ++n) bench.out(FloppyBench::kFifo, n == 0 ? first : 0x80);
    bench.finish();
    for (unsigned n = 0; n < 2000; ++n) (void)bench.in(FloppyBench::kFifo);
    bench.finish();
    CHECK_FALSE(bench.disk->outside);
    // It answers again after a reset.
    bench.out(FloppyBench::kOutput, 0);
    bench.start();
    bench.command({0x10});
    CHECK(bench.result() == std::vector<std::uint8_t>{0x90});
  }
}

TEST_CASE("a channel's transfer wraps within its page, and reaches memory alone") {
  FloppyBench bench;
  bench.start();
  // From 0FFFEH on: two bytes there, the rest from the page's beginning.
  bench.channel(0xfffe, 512, 0x46);
  bench.command({0x46, 0x00, 0, 0, 3, 2, 18, 0x1b, 0xff});
  CHECK(bench.result()[0] == 0x00);
  CHECK(bench.get<std::uint16_t>(0xfffe) == 2);
  CHECK(bench.get<std::uint8_t>(0x10000) == 0);
  // Behind the end of memory, where devices may be.
  bench.channel(0xff0000, 512, 0x46);
  bench.command({0x46, 0x00, 0, 0, 3, 2, 18, 0x1b, 0xff});
  CHECK(bench.result()[0] == 0x00);
  // Downwards, and one that verifies.
  bench.channel(0x81ff, 512, 0x66);
  bench.command({0x46, 0x00, 0, 0, 3, 2, 18, 0x1b, 0xff});
  CHECK(bench.result()[0] == 0x00);
  CHECK(bench.get<std::uint8_t>(0x81ff) == 2);
  bench.channel(0x8000, 512, 0x42);
  (void)bench.ram.write({0x8000}, Bytes(4, 0x77));
  bench.command({0x46, 0x00, 0, 0, 3, 2, 18, 0x1b, 0xff});
  CHECK(bench.result()[0] == 0x00);
  CHECK(bench.get<std::uint32_t>(0x8000) == 0x77777777);
}

TEST_CASE("a channel's registers: two bytes each, terminal count, and automatic beginning") {
  FloppyBench bench;
  bench.start();
  bench.channel(0x8000, 512, 0x56);
  bench.command({0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff});
  (void)bench.result();
  bench.out(0x0c, 0);
  CHECK(bench.in(0x04) == 0x00);
  CHECK(bench.in(0x04) == 0x80);
  CHECK((bench.in(0x0f) & 0x04) == 0);  // begins again
  CHECK((bench.in(0x08) & 0x04) != 0);
  CHECK((bench.in(0x08) & 0x04) == 0);  // reading clears it
  bench.channel(0x8000, 512, 0x46);
  bench.command({0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff});
  (void)bench.result();
  CHECK((bench.in(0x0f) & 0x04) != 0);  // masked
}

TEST_CASE("an image takes the drive that has room for it") {
  CHECK(floppy_format(1440 * 1024)->drive_type == 4);
  CHECK(floppy_format(360 * 1024)->drive_type == 1);
  CHECK(floppy_format(1200 * 1024)->sectors == 15);
  CHECK(floppy_format(100)->cylinders == 40);
  CHECK_FALSE(floppy_format(2880 * 1024 + 1));
}

}  // namespace chronovisor
