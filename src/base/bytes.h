#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace kaon {

// A block of memory with an atomic reference count; made by BlockPool or Block::make, freed by its last Bytes.
class Block {
 public:
  static Block* make(size_t capacity);  // one reference, the caller's; throws std::bad_alloc

  char* data() { return reinterpret_cast<char*>(this + 1); }
  size_t capacity() const { return capacity_; }
  void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    // A sole owner needs no locked instruction to know that it is the last.
    if (references_.load(std::memory_order_acquire) == 1 || references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }
  bool unique() const { return references_.load(std::memory_order_acquire) == 1; }

 private:
  explicit Block(size_t capacity) : capacity_(capacity) {}
  void destroy();
  std::atomic<uint32_t> references_{1};
  size_t capacity_;
};

// A slice of bytes that keeps the block it lies in alive. A slice without a block (`Bytes::borrowed`) points to memory
// that somebody else keeps alive for as long as they promised. Copying costs one atomic increment and no allocation.
class Bytes {
 public:
  Bytes() = default;
  static Bytes borrowed(std::string_view view) { return Bytes(nullptr, view); }
  static Bytes copy(std::string_view view);
  // Takes over the caller's reference to `block`.
  static Bytes adopt(Block* block, std::string_view view) { return Bytes(block, view); }
  static Bytes share(Block* block, std::string_view view) {
    block->retain();
    return Bytes(block, view);
  }
  Bytes(const Bytes& other) : block_(other.block_), view_(other.view_) {
    if (block_) block_->retain();
  }
  Bytes(Bytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)), view_(std::exchange(other.view_, {})) {}
  Bytes& operator=(Bytes other) noexcept {
    std::swap(block_, other.block_);
    std::swap(view_, other.view_);
    return *this;
  }
  ~Bytes() {
    if (block_) block_->release();
  }

  std::string_view view() const { return view_; }
  operator std::string_view() const { return view_; }
  const char* data() const { return view_.data(); }
  size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }
  Bytes slice(size_t offset, size_t length) const {
    Bytes result(*this);
    result.view_ = view_.substr(offset, length);
    return result;
  }

 private:
  Bytes(Block* block, std::string_view view) : block_(block), view_(view) {}
  Block* block_ = nullptr;
  std::string_view view_;
};

// Keeps freed blocks of one thread for reuse, by power-of-two size classes from 4 KiB to 1 MiB; larger ones go back to
// the allocator. Not thread-safe; each loop has one. A block that a Bytes still shares is not kept.
class BlockPool {
 public:
  BlockPool() = default;
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  Block* take(size_t capacity);  // at least `capacity` bytes, one reference
  void give(Block* block);       // drops the caller's reference; keeps the block when it was the last

 private:
  static constexpr int kClasses = 9;
  static constexpr int kKept = 32;
  static constexpr size_t kKeptBytes = 2 << 20;  // for each class
  struct Class {
    Block* blocks[kKept];
    int count = 0;
  };
  Class classes_[kClasses];
};

}  // namespace kaon
