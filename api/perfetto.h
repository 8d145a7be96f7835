// Owns the trace that Perfetto opens: a recording's run on tracks, by the guest's time. Who
// ran in which mode and in which function, interrupts and exceptions by vector, console
// output, inputs, packets and bookmarks. The thread that owns the timeline, which comes back
// to where it stood.
// Source: Perfetto's definitions, protos/perfetto/trace: Trace, TracePacket, TrackDescriptor,
// TrackEvent, DebugAnnotation.
#pragma once

#include "api/profile.h"

namespace chronovisor::api {

/// A slice begins and ends at samples; everything else stands where it happened.
void export_perfetto(Timeline& timeline, session::GuestNames& names, const SampleOptions& options,
                     CancelToken cancel, const ProfileSink& out);

}  // namespace chronovisor::api
