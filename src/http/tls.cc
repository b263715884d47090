#include "http/tls.h"

#include <dlfcn.h>
#include <unistd.h>

#include "http/tls_module.h"

namespace kaon::http {

Result<std::unique_ptr<TlsContext>> load_tls(const std::string& module_folder, const std::string& cert_file,
                                             const std::string& key_file) {
  std::string path = module_folder + "/tls.so";
  if (access(path.c_str(), R_OK) != 0)
    return Error{ErrorCode::kUnimplemented, "TLS needs the module " + path + ", which cannot be read; install it with kaon"};
  // Never closed: contexts and sessions have their code in it.
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!module) return Error{ErrorCode::kUnimplemented, std::string("TLS module: ") + dlerror()};
  auto* open = reinterpret_cast<TlsModuleOpen*>(dlsym(module, kTlsModuleOpen));
  if (!open) return Error{ErrorCode::kUnimplemented, path + " belongs to another version of kaon"};
  return open(cert_file, key_file);
}

}  // namespace kaon::http
