#include "http/cors.h"

#include <algorithm>

#include "base/text.h"
#include "http/tables.h"

namespace kaon::http {
namespace {

bool is_origin(std::string_view text) {
  size_t scheme = text.find("://");
  if (text == "null" || scheme == text.npos || scheme == 0) return false;
  std::string_view authority = text.substr(scheme + 3);
  return all(text.substr(0, scheme), kToken) && !authority.empty() && all(authority, kHost);
}

Result<std::string> join(const std::vector<std::string>& names, std::string_view what) {
  std::string joined;
  for (const std::string& each : names) {
    if (each.empty() || !all(each, kToken))
      return Error{ErrorCode::kInvalid, "cors: " + std::string(what) + " \"" + each + "\" is not a token"};
    if (!joined.empty()) joined += ", ";
    joined += each;
  }
  return joined;
}

}  // namespace

Result<Cors> Cors::make(const CorsOptions& options) {
  Cors cors;
  for (const std::string& each : options.origins) {
    if (each == "*") cors.every_origin_ = true;
    else if (is_origin(each)) cors.origins_.push_back(each);
    else return Error{ErrorCode::kInvalid, "cors: \"" + each + "\" is not an origin; write scheme://host or scheme://host:port"};
  }
  if (cors.every_origin_ && options.credentials)
    return Error{ErrorCode::kInvalid, "cors: credentials cannot be allowed for every origin; name the origins"};
  if (options.max_age_s < 0) return Error{ErrorCode::kInvalid, "cors: max_age_s is negative"};
  cors.every_header_ = std::find(options.headers.begin(), options.headers.end(), "*") != options.headers.end();
  KAON_TRY(cors.methods_, join(options.methods, "method"));
  KAON_TRY(cors.headers_, join(options.headers, "header"));
  KAON_TRY(cors.exposed_, join(options.exposed_headers, "exposed header"));
  cors.credentials_ = options.credentials;
  cors.max_age_ = std::to_string(options.max_age_s);
  return cors;
}

bool Cors::permitted(std::string_view origin) const {
  if (origin.empty()) return false;
  auto same = [&](const std::string& each) { return equals_ignore_case(each, origin); };
  return every_origin_ || std::any_of(origins_.begin(), origins_.end(), same);
}

Cors::Answer Cors::begin(const Request& request, bool& open) const {
  Answer answer;
  std::string_view origin = request.header("origin");
  open = permitted(origin);
  // A cache must not give one origin's answer to another.
  if (!every_origin_ && !origins_.empty()) answer.headers[answer.count++] = {"Vary", "Origin"};
  if (!open) return answer;
  answer.headers[answer.count++] = {"Access-Control-Allow-Origin", every_origin_ ? std::string_view("*") : origin};
  if (credentials_) answer.headers[answer.count++] = {"Access-Control-Allow-Credentials", "true"};
  return answer;
}

bool Cors::is_preflight(const Request& request) {
  return request.method == "OPTIONS" && !request.header("origin").empty() &&
         !request.header("access-control-request-method").empty();
}

Cors::Answer Cors::preflight(const Request& request, std::string_view allow) const {
  bool open = false;
  Answer answer = begin(request, open);
  if (!open) return answer;
  answer.headers[answer.count++] = {"Access-Control-Allow-Methods", methods_.empty() ? allow : std::string_view(methods_)};
  std::string_view asked = request.header("access-control-request-headers");
  if (every_header_ && !asked.empty()) answer.headers[answer.count++] = {"Access-Control-Allow-Headers", asked};
  else if (!every_header_ && !headers_.empty()) answer.headers[answer.count++] = {"Access-Control-Allow-Headers", headers_};
  answer.headers[answer.count++] = {"Access-Control-Max-Age", max_age_};
  return answer;
}

Cors::Answer Cors::response(const Request& request) const {
  bool open = false;
  Answer answer = begin(request, open);
  if (open && !exposed_.empty()) answer.headers[answer.count++] = {"Access-Control-Expose-Headers", exposed_};
  return answer;
}

}  // namespace kaon::http
