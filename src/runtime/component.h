#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "config/function.h"
#include "config/spec.h"
#include "event/call.h"
#include "loop/loop.h"
#include "observe/log.h"
#include "observe/metrics.h"

namespace kaon::runtime {

class Spawner;

// What one loop offers to the workers that live on it.
struct Home {
  loop::Loop& loop;
  Spawner& spawner;  // starts processes through the keeper
  observe::Counter* stalls = nullptr;  // times that the function held the loop for over 10 ms; null: nobody counts
};

struct Capacity {
  unsigned workers = 1;      // at most, over all loops, where function.yaml does not say; 0: one for each loop
  unsigned concurrency = 1;  // calls at a time for each worker; 0: no limit
};

// One version of a function, ready to start workers. Its methods are thread-safe; it outlives its workers.
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual Capacity capacity() const = 0;
  // On the home's loop.
  virtual Result<std::unique_ptr<event::Worker>> start_worker(Home& home) = 0;
};

// What a build works on: the function's files, as the user who started Kaon.
struct BuildContext {
  config::Function& function;  // a build may complete it (a guessed handler, a compiled file's name)
  std::string source;          // absolute path of the function's folder, or of its only file
  std::string folder;          // absolute path of the version's folder while it can still be written: what a worker needs goes there
  std::string cache;           // absolute path of a folder that builds may keep things in
};

struct LoadContext {
  const config::Function& function;  // lives as long as the version
  std::string version;               // its short digest
  std::string folder;                // absolute path, read-only from here on
  observe::Log log;                  // tagged with function and version
};

// One way to run a function: a folder of src/runtime.
struct Component {
  std::string_view kind;
  std::string_view help;      // one sentence
  const config::Spec& spec;   // its own keys of function.yaml, beside the common ones
  // True when it can run `path` (a file), asked when the user names no runtime. Null: never guessed.
  bool (*recognises)(const std::string& path);
  // Before the version is sealed; runs as the invoking user in a process of its own.
  Result<void> (*build)(BuildContext& context);
  // In the processor.
  Result<std::unique_ptr<Runtime>> (*load)(LoadContext context);
};

// Every component, in the order of their names; generated from the folders.
std::span<const Component* const> all();

}  // namespace kaon::runtime
