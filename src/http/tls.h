#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kaon::http {

// The server's end of one TLS connection, between buffers: it knows no socket.
class TlsSession {
 public:
  enum Status : int { kWant = 0, kEnd = -1, kFailed = -2 };

  virtual ~TlsSession() = default;
  // Takes all ciphertext that came from the client.
  virtual void feed(std::string_view ciphertext) = 0;
  // Decrypts up to `room` bytes and drives the handshake. A count, or kWant: feed more; kEnd: the client said goodbye.
  virtual int read(char* out, size_t room) = 0;
  // Encrypts all of it. False: the session has failed.
  virtual bool write(std::string_view plaintext) = 0;
  virtual void close() = 0;  // says goodbye
  // What is to be sent to the client: a view that is good until the next call.
  virtual std::string_view pending() = 0;
  virtual void sent(size_t size) = 0;
  // Whether `read` would give something without another `feed`.
  virtual bool buffered() = 0;
};

// A certificate with its key; TLS 1.2 and 1.3, ALPN http/1.1. Sessions may be opened from any thread and outlive it.
class TlsContext {
 public:
  virtual ~TlsContext() = default;
  virtual Result<std::unique_ptr<TlsSession>> open() = 0;
  // Reads the files again, for sessions opened from now on; what was there stays in force when that fails.
  virtual Result<void> reload() = 0;
};

// Loads `<module_folder>/tls.so`, which is where OpenSSL is linked, when it is first needed. kUnimplemented: the module is
// missing; kInvalid, kNotFound, kDenied: what is wrong with the files. `cert_file` is a PEM chain, the server's first.
Result<std::unique_ptr<TlsContext>> load_tls(const std::string& module_folder, const std::string& cert_file,
                                             const std::string& key_file);

}  // namespace kaon::http
