#pragma once
#include "event/call.h"
#include "loop/loop.h"

namespace kaon::processor {

class VersionShard;
struct TriggerMetrics;

struct WorkerSlot : ListNode<WorkerSlot> {
  std::unique_ptr<event::Worker> worker;
  unsigned active = 0;
};

// One event between its source and a worker. Pooled by its loop's shard; a new generation for each use.
class InFlight final : public event::Call, public ListNode<InFlight> {
 public:
  explicit InFlight(loop::Loop& loop);

  VersionShard* version = nullptr;
  TriggerMetrics* metrics = nullptr;
  WorkerSlot* slot = nullptr;  // its lease; null while it waits
  Nanos arrived = 0;
  Nanos deadline = kNever;
  uint32_t generation = 0;
  // While waiting: the end of the queue's patience. With a worker: the deadline.
  loop::Timer timer;
};

}  // namespace kaon::processor
