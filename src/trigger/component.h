#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "config/function.h"
#include "config/spec.h"
#include "event/call.h"
#include "loop/loop.h"
#include "observe/event_id.h"
#include "observe/log.h"

namespace kaon::trigger {

// What one loop offers to the triggers that live on it.
struct Home {
  loop::Loop& loop;
  observe::Log log;
  observe::ProcessorId processor;  // for event ids
  // This loop's listening socket for an address as the settings spell it. The keeper opened it before the processor
  // started, and it stays open; borrowed.
  std::function<Result<int>(std::string_view address)> listener;
};

// All triggers of one kind on one loop.
class Host {
 public:
  virtual ~Host() = default;
  // Starts to take events for one trigger of a function and offers them to `intake`, which outlives the trigger. An event's
  // arrival is the loop's time: whoever is woken by the kernel refreshes it.
  virtual Result<void> add(const config::Trigger& trigger, event::Intake& intake) = 0;
  virtual void remove(event::Intake& intake) = 0;
  // No new event from here on; those in flight go on. Idempotent.
  virtual void stop_intake() = 0;
  // True when nothing that was settled is still on its way to its source.
  virtual bool drained() const = 0;
};

// One kind of event source: a folder of src/trigger.
struct Component {
  std::string_view kind;
  std::string_view help;  // one sentence
  const config::Spec& spec;
  // The addresses to listen on that a trigger needs; appended to `addresses`. Null: none.
  void (*addresses)(const config::Trigger& trigger, std::vector<std::string>& addresses);
  std::unique_ptr<Host> (*host)(Home home);
};

// Every component, in the order of their names; generated from the folders.
std::span<const Component* const> all();

}  // namespace kaon::trigger
