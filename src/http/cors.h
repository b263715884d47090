#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/message.h"

namespace kaon::http {

struct CorsOptions {
  std::vector<std::string> origins;          // "https://a.example"; "*" for every origin; empty: no CORS
  std::vector<std::string> methods;          // empty: what the path allows
  std::vector<std::string> headers;          // that a script may send; "*" for those that it asks for
  std::vector<std::string> exposed_headers;  // that a script may read
  bool credentials = false;                  // not together with the origin "*"
  int max_age_s = 600;
};

// Cross-origin resource sharing. Immutable after `make`; the answers' views point into it and into the request.
class Cors {
 public:
  // kInvalid: an origin that is none, a name that is no token, credentials for every origin.
  static Result<Cors> make(const CorsOptions& options);

  struct Answer {
    size_t count = 0;
    Header headers[6];
    std::span<const Header> span() const { return {headers, count}; }
  };

  static bool is_preflight(const Request& request);
  // Headers for the 204 that answers a preflight; `allow` is what the path allows. Without a permitted origin only Vary.
  Answer preflight(const Request& request, std::string_view allow) const;
  // Headers to add to any other response. Empty when the request has no Origin and every answer is the same.
  Answer response(const Request& request) const;

 private:
  bool permitted(std::string_view origin) const;
  Answer begin(const Request& request, bool& open) const;
  std::vector<std::string> origins_;
  std::string methods_, headers_, exposed_, max_age_;
  bool every_origin_ = false;
  bool every_header_ = false;
  bool credentials_ = false;
};

}  // namespace kaon::http
