// Owns a whole replication in miniature: nodes with the real protocol objects, an arbiter and
// a network that drops, delays, repeats, cuts and damages frames, and crashes and pauses of
// nodes, all drawn from one seed. It checks after every event what docs/FAULT_TOLERANCE.md
// promises. No clock, thread or socket of the host is part of it. One thread.
#pragma once

#include <cstdint>
#include <string>

namespace chronovisor::replica::simulation {

struct Faults {
  double drop = 0.02;         ///< of frames
  double duplicate = 0.02;    ///< of frames
  double damage = 0.002;      ///< of frames: one bit
  double cut = 0.006;         ///< of a connection, a step
  double silence = 0.006;     ///< of a link that stays open and carries nothing, a step
  double crash = 0.005;       ///< of a node, a step
  double pause = 0.005;       ///< of a node, a step
  double arbiter_away = 0.1;  ///< of a claim: no answer comes
  double hand_over = 0.004;   ///< a step
};

struct Outcome {
  /// What was broken; empty when nothing was.
  std::string broken;
  std::uint64_t marks = 0;
  std::uint64_t released = 0;  ///< outputs
  std::uint64_t repeated = 0;  ///< of them, more than once
  std::uint64_t takeovers = 0;
  std::uint64_t hand_overs = 0;
  std::uint64_t guarded = 0;         ///< how often a backup began to protect
  std::uint64_t stopped = 0;         ///< primaries that lost their session
  std::uint64_t guarded_by_two = 0;  ///< steps at which two backups protected one primary
  std::uint64_t overtaken = 0;       ///< backups that had their session when another went live
};

/// One schedule of so many steps.
[[nodiscard]] Outcome run_schedule(std::uint64_t seed, unsigned steps, const Faults& faults);

}  // namespace chronovisor::replica::simulation
