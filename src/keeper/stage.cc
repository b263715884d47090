#include "keeper/stage.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace kaon::keeper {
namespace {

constexpr uint32_t kCommitMagic = 0x4d434b4b;
constexpr size_t kMaxAnswer = 4096;

struct CommitHeader {
  uint32_t magic;
  uint32_t listener_count;
  uint64_t blob_bytes;
};

struct Answer {
  uint32_t failed;
  uint32_t code;
  uint64_t message_bytes;
};

Result<void> write_all(int fd, const void* bytes, size_t size) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    ssize_t n = ::send(fd, at, size, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return errno_error("hand the version to the keeper", errno);
    at += n;
    size -= static_cast<size_t>(n);
  }
  return {};
}

Result<void> read_all(int fd, void* bytes, size_t size) {
  char* at = static_cast<char*>(bytes);
  while (size > 0) {
    ssize_t n = ::read(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error{ErrorCode::kDisconnected, "the keeper has gone"};
    at += n;
    size -= static_cast<size_t>(n);
  }
  return {};
}

}  // namespace

Result<void> StageContext::commit(std::string_view blob, std::span<const ListenRequest> listeners) {
  if (blob.size() > kMaxBlob || listeners.size() > kMaxListeners)
    return Error{ErrorCode::kInvalid, "the function's configuration is too large"};
  CommitHeader header{kCommitMagic, static_cast<uint32_t>(listeners.size()), blob.size()};
  KAON_TRY_VOID(write_all(channel_.get(), &header, sizeof header));
  KAON_TRY_VOID(write_all(channel_.get(), listeners.data(), listeners.size_bytes()));
  KAON_TRY_VOID(write_all(channel_.get(), blob.data(), blob.size()));
  Answer answer{};
  KAON_TRY_VOID(read_all(channel_.get(), &answer, sizeof answer));
  if (!answer.failed) return {};
  std::string message(std::min<size_t>(answer.message_bytes, kMaxAnswer), '\0');
  KAON_TRY_VOID(read_all(channel_.get(), message.data(), message.size()));
  return Error{static_cast<ErrorCode>(answer.code), std::move(message)};
}

Result<void> StageReader::read() {
  char chunk[64 << 10];
  ssize_t n = recv(channel_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (n <= 0) return Error{ErrorCode::kDisconnected, "the stager has closed"};
  buffer_.append(chunk, static_cast<size_t>(n));
  if (buffer_.size() < sizeof(CommitHeader)) return {};
  CommitHeader header;
  std::memcpy(&header, buffer_.data(), sizeof header);
  if (header.magic != kCommitMagic || header.listener_count > kMaxListeners || header.blob_bytes > kMaxBlob)
    return Error{ErrorCode::kInvalid, "the stager sent something that is no version"};
  return {};
}

bool StageReader::complete() const {
  if (buffer_.size() < sizeof(CommitHeader)) return false;
  CommitHeader header;
  std::memcpy(&header, buffer_.data(), sizeof header);
  return buffer_.size() >= sizeof header + header.listener_count * sizeof(ListenRequest) + header.blob_bytes;
}

Commit StageReader::take() {
  CommitHeader header;
  std::memcpy(&header, buffer_.data(), sizeof header);
  Commit commit;
  commit.listeners.resize(header.listener_count);
  size_t at = sizeof header;
  if (header.listener_count > 0)
    std::memcpy(commit.listeners.data(), buffer_.data() + at, header.listener_count * sizeof(ListenRequest));
  at += header.listener_count * sizeof(ListenRequest);
  commit.blob = buffer_.substr(at, header.blob_bytes);
  buffer_.erase(0, at + header.blob_bytes);
  return commit;
}

void StageReader::answer(const Result<void>& result) {
  Answer answer{};
  std::string out;
  if (!result) {
    std::string_view message = std::string_view(result.error().message).substr(0, kMaxAnswer);
    answer = {1, static_cast<uint32_t>(result.error().code), message.size()};
    out = message;
  }
  out.insert(0, reinterpret_cast<const char*>(&answer), sizeof answer);
  // A few hundred bytes into an empty socket; a stager that has gone does not matter.
  if (::send(channel_.get(), out.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return;
}

}  // namespace kaon::keeper
