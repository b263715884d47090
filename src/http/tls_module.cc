#include "http/tls_module.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <climits>
#include <fstream>
#include <mutex>

namespace kaon::http {
namespace {

std::string openssl_reason() {
  unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code ? ERR_reason_error_string(code) : nullptr;
  return reason ? reason : "unknown reason";
}

class Session final : public TlsSession {
 public:
  explicit Session(SSL* ssl) : ssl_(ssl), in_(BIO_new(BIO_s_mem())), out_(BIO_new(BIO_s_mem())) {
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_, in_, out_);
    SSL_set_accept_state(ssl_);
  }
  ~Session() override { SSL_free(ssl_); }

  void feed(std::string_view ciphertext) override { BIO_write(in_, ciphertext.data(), static_cast<int>(ciphertext.size())); }

  int read(char* out, size_t room) override {
    if (failed_) return kFailed;
    ERR_clear_error();
    int got = SSL_read(ssl_, out, static_cast<int>(std::min<size_t>(room, INT_MAX)));
    if (got > 0) return got;
    switch (SSL_get_error(ssl_, got)) {
      case SSL_ERROR_WANT_READ: case SSL_ERROR_WANT_WRITE: return kWant;
      case SSL_ERROR_ZERO_RETURN: return kEnd;
      default:
        failed_ = true;
        ERR_clear_error();
        return kFailed;
    }
  }

  bool write(std::string_view plaintext) override {
    if (failed_) return false;
    ERR_clear_error();
    // A memory BIO grows, so it is all or nothing.
    failed_ = SSL_write(ssl_, plaintext.data(), static_cast<int>(plaintext.size())) != static_cast<int>(plaintext.size());
    return !failed_;
  }

  void close() override {
    if (failed_ || said_goodbye_ || !SSL_is_init_finished(ssl_)) return;
    said_goodbye_ = true;
    SSL_shutdown(ssl_);
    ERR_clear_error();
  }

  std::string_view pending() override {
    char* data = nullptr;
    long size = BIO_get_mem_data(out_, &data);
    return {data, static_cast<size_t>(std::max(size, 0L))};
  }

  void sent(size_t size) override {
    char dump[4096];
    if (pending().size() == size) {
      (void)BIO_reset(out_);
      return;
    }
    while (size > 0) {
      int got = BIO_read(out_, dump, static_cast<int>(std::min(size, sizeof dump)));
      if (got <= 0) return;
      size -= static_cast<size_t>(got);
    }
  }

  // A part of a record does not stay in `in_`: the `read` that wants more has taken it.
  bool buffered() override { return !failed_ && (SSL_pending(ssl_) > 0 || BIO_ctrl_pending(in_) > 0); }

 private:
  SSL* ssl_;
  BIO* in_;   // both are the session's
  BIO* out_;
  bool failed_ = false;
  bool said_goodbye_ = false;
};

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size, void*) {
  static constexpr unsigned char kHttp11[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kHttp11, sizeof kHttp11 - 1, in, in_size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

using ContextPtr = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

Result<void> readable(const std::string& file, std::string_view what) {
  if (std::ifstream(file).good()) return {};
  return errno_error(std::string(what) + " " + file, errno);
}

Result<ContextPtr> make_context(const std::string& cert_file, const std::string& key_file) {
  KAON_TRY_VOID(readable(cert_file, "TLS certificate"));
  KAON_TRY_VOID(readable(key_file, "TLS key"));
  ERR_clear_error();
  ContextPtr context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  if (!context) return Error{ErrorCode::kInternal, "TLS: " + openssl_reason()};
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Idle connections give their buffers back.
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  // An encrypted key would make OpenSSL ask on the terminal.
  SSL_CTX_set_default_passwd_cb(context.get(), [](char*, int, int, void*) { return 0; });
  if (SSL_CTX_use_certificate_chain_file(context.get(), cert_file.c_str()) != 1)
    return Error{ErrorCode::kInvalid, "TLS certificate " + cert_file + ": " + openssl_reason() + "; a PEM chain is needed"};
  if (SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1)
    return Error{ErrorCode::kInvalid, "TLS key " + key_file + ": " + openssl_reason() + "; an unencrypted PEM key is needed"};
  if (SSL_CTX_check_private_key(context.get()) != 1)
    return Error{ErrorCode::kInvalid, "TLS key " + key_file + " does not belong to " + cert_file};
  return context;
}

class Context final : public TlsContext {
 public:
  Context(std::string cert_file, std::string key_file, ContextPtr context)
      : cert_file_(std::move(cert_file)), key_file_(std::move(key_file)), context_(std::move(context)) {}

  Result<std::unique_ptr<TlsSession>> open() override {
    std::lock_guard lock(mutex_);
    SSL* ssl = SSL_new(context_.get());
    if (!ssl) return Error{ErrorCode::kOverloaded, "TLS: " + openssl_reason()};
    return std::unique_ptr<TlsSession>(std::make_unique<Session>(ssl));
  }

  Result<void> reload() override {
    KAON_TRY(ContextPtr context, make_context(cert_file_, key_file_));
    std::lock_guard lock(mutex_);
    context_ = std::move(context);
    return {};
  }

 private:
  const std::string cert_file_, key_file_;
  std::mutex mutex_;
  ContextPtr context_;
};

}  // namespace

extern "C" Result<std::unique_ptr<TlsContext>> kaon_tls_open_1(const std::string& cert_file, const std::string& key_file) {
  KAON_TRY(ContextPtr context, make_context(cert_file, key_file));
  return std::unique_ptr<TlsContext>(std::make_unique<Context>(cert_file, key_file, std::move(context)));
}
static_assert(std::is_same_v<decltype(kaon_tls_open_1), TlsModuleOpen>);

}  // namespace kaon::http
