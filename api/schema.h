// Owns the published description of the interface, made from the table of methods.
// Plain functions; any thread.
#pragma once

#include "api/value.h"

namespace chronovisor::api {

/// An OpenRPC document with a JSON Schema for each parameter and answer.
/// Source: OpenRPC Specification 1.3.
[[nodiscard]] Value schema_document();

}  // namespace chronovisor::api
