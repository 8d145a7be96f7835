// Owns an arbiter without its files (replica/transport/arbiter.h has the real ones): the first
// to claim a session has it for ever. One thread.
#pragma once

#include <map>

#include "replica/protocol/message.h"

namespace chronovisor::replica {

class ArbiterModel {
 public:
  [[nodiscard]] Verdict decide(const Claim& claim) {
    return {claim.session, holders_.try_emplace(claim.session, claim.node).first->second};
  }

 private:
  std::map<SessionId, NodeId> holders_;
};

}  // namespace chronovisor::replica
