#include "base/bytes.h"

#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

namespace kaon {

Block* Block::make(size_t capacity) {
  void* memory = std::malloc(sizeof(Block) + capacity);
  if (!memory) throw std::bad_alloc();
  return new (memory) Block(capacity);
}

void Block::destroy() {
  this->~Block();
  std::free(this);
}

Bytes Bytes::copy(std::string_view view) {
  Block* block = Block::make(view.size());
  std::memcpy(block->data(), view.data(), view.size());
  return adopt(block, {block->data(), view.size()});
}

namespace {

constexpr size_t kSmallest = 4096;

int size_class(size_t capacity) {
  return capacity <= kSmallest ? 0 : std::bit_width(capacity - 1) - std::bit_width(kSmallest - 1);
}

}  // namespace

BlockPool::~BlockPool() {
  for (Class& each : classes_)
    while (each.count > 0) each.blocks[--each.count]->release();
}

Block* BlockPool::take(size_t capacity) {
  int index = size_class(capacity);
  if (index >= kClasses) return Block::make(capacity);
  Class& each = classes_[index];
  if (each.count > 0) return each.blocks[--each.count];
  return Block::make(kSmallest << index);
}

void BlockPool::give(Block* block) {
  int index = size_class(block->capacity());
  if (index < kClasses && block->capacity() == kSmallest << index && block->unique()) {
    Class& each = classes_[index];
    if (each.count < kKept && (each.count + 1) * block->capacity() <= kKeptBytes) {
      each.blocks[each.count++] = block;
      return;
    }
  }
  block->release();
}

}  // namespace kaon
