#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace kaon::cli {

// A blocking HTTP/1.1 client for control sockets: one request for each connection.
struct Reply {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  std::string_view header(std::string_view name) const;
};

// kDisconnected: nobody listens there any more.
Result<Fd> connect_unix(const std::string& path);

// kDisconnected when the reply ends before it is complete; a timeout_ms of 0 waits for ever.
Result<Reply> request(const std::string& socket, std::string_view method, std::string_view target,
                      const std::vector<std::string>& headers, std::string_view body, int timeout_ms);

// What a reply of status 400 and above says in its `message`.
Error reply_error(const Reply& reply);

}  // namespace kaon::cli
