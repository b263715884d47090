#include "runtime/spawner.h"

namespace kaon::runtime {
namespace {

constexpr unsigned kSlotBits = 20;
constexpr uint64_t kSlotMask = (uint64_t{1} << kSlotBits) - 1;

}  // namespace

Child::~Child() {
  if (!spawner_) return;
  if (auto* slot = spawner_->find(id_)) slot->child = nullptr;
}

Spawner::Spawner(loop::Loop& loop, keeper::Client client) : client_(std::move(client)), watcher_(loop, client_.fd(), *this) {
  watcher_.want(loop::kReadable);
}

Spawner::~Spawner() {
  for (Slot& slot : slots_)
    if (slot.child) slot.child->spawner_ = nullptr;
}

Spawner::Slot* Spawner::find(uint64_t id) {
  size_t index = id & kSlotMask;
  return index < slots_.size() && slots_[index].id == id ? &slots_[index] : nullptr;
}

void Spawner::free(Slot& slot) {
  free_.push_back(static_cast<uint32_t>(&slot - slots_.data()));
  if (slot.child) slot.child->spawner_ = nullptr;
  slot.child = nullptr;
  slot.id = 0;
}

Result<void> Spawner::spawn(keeper::SpawnRequest request, Child& child) {
  KAON_CHECK(!child.running());
  if (free_.empty()) {
    if (slots_.size() > kSlotMask) return Error{ErrorCode::kOverloaded, "too many processes are running"};
    free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  uint32_t index = free_.back();
  request.id = ++serial_ << kSlotBits | index;
  KAON_TRY_VOID(client_.spawn(request));
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.id = request.id;
  slot.child = &child;
  slot.path = request.path;
  child.spawner_ = this;
  child.id_ = request.id;
  watch();
  return {};
}

void Spawner::kill(Child& child, int signal) {
  if (child.spawner_ != this) return;
  // A keeper that cannot be told has died, and the kernel has killed the child for it.
  if (auto sent = client_.kill(child.id_, signal); !sent && sent.error().code != ErrorCode::kOverloaded) return;
  watch();
}

void Spawner::watch() { watcher_.want(client_.waiting() ? loop::kReadable | loop::kWritable : loop::kReadable); }

void Spawner::on_ready(int ready) {
  if (ready & loop::kWritable) {
    if (auto flushed = client_.flush(); !flushed) return lose(flushed.error());
  }
  constexpr size_t kBatch = 16;
  keeper::Reply replies[kBatch];
  auto got = client_.receive(replies);
  if (!got) return lose(got.error());
  for (size_t i = 0; i < *got; ++i) handle(replies[i]);
  watch();
}

void Spawner::handle(const keeper::Reply& reply) {
  Slot* slot = find(reply.header.id);
  if (!slot) return;
  Child* child = slot->child;
  switch (static_cast<keeper::Kind>(reply.header.kind)) {
    case keeper::Kind::kSpawned:
      if (child) child->on_spawned(reply.pid);
      break;
    case keeper::Kind::kFailed: {
      Error error = keeper::spawn_error(reply, slot->path);
      free(*slot);
      if (child) child->on_failed(error);
      break;
    }
    case keeper::Kind::kExited:
      free(*slot);
      if (child) child->on_exit(reply.status, {reply.user_us, reply.system_us, reply.max_rss_kib});
      break;
    default:
      break;
  }
}

// Without the keeper nothing runs, and this process is about to be killed as well.
void Spawner::lose(const Error& error) {
  watcher_.want(0);
  for (size_t i = 0; i < slots_.size(); ++i) {
    Child* child = slots_[i].child;
    if (!child) continue;
    free(slots_[i]);
    child->on_failed(error);
  }
}

}  // namespace kaon::runtime
