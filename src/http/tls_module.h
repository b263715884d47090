#pragma once
#include <memory>
#include <string>

#include "base/result.h"
#include "http/tls.h"

namespace kaon::http {

// The one symbol of tls.so. The number changes with TlsContext and TlsSession.
using TlsModuleOpen = Result<std::unique_ptr<TlsContext>>(const std::string& cert_file, const std::string& key_file);
inline constexpr char kTlsModuleOpen[] = "kaon_tls_open_1";

}  // namespace kaon::http
