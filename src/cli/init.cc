#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "cli/commands.h"

namespace kaon::cli {
namespace {

struct File {
  const char* name;
  int mode;
  const char* text;
};

struct Template {
  std::string_view name;
  std::string_view help;
  std::span<const File> files;
};

constexpr File kShell[] = {
    {"function.yaml", 0644,
     "name: {name}\nruntime: exec\ncommand: [\"./handle.sh\"]\ntimeout_ms: 5000\n"
     "triggers:\n  web: {kind: http, listen: \"127.0.0.1:8080\"}\n"},
    {"handle.sh", 0755,
     "#!/bin/sh\n# The event is STDIN, the result is STDOUT, the log is STDERR. Exit 0: done.\n"
     "echo \"event $CE_ID from $CE_SOURCE\" >&2\ntr a-z A-Z\n"},
};
constexpr File kNative[] = {
    {"function.yaml", 0644,
     "name: {name}\nruntime: native\nhandler: handler.cc\ntimeout_ms: 5000\n"
     "triggers:\n  web: {kind: http, listen: \"127.0.0.1:8080\"}\n"},
    {"handler.cc", 0644,
     "#include <kaon.hpp>\n\nkaon::Response handle(kaon::Event& event) {\n"
     "  return kaon::Response(\"hello, \" + std::string(event.body()) + \"\\n\");\n}\n\nKAON_HANDLER(handle)\n"},
};
constexpr Template kTemplates[] = {
    {"shell", "an executable: a shell script, a process for each event", kShell},
    {"native", "a C++ handler in the processor", kNative},
};

Result<void> make(const InitOptions& options) {
  const Template* chosen = nullptr;
  std::string known;
  for (const Template& each : kTemplates) {
    if (each.name == options.template_name) chosen = &each;
    known += (known.empty() ? "" : ", ") + std::string(each.name) + " (" + std::string(each.help) + ")";
  }
  if (!chosen) return Error{ErrorCode::kNotFound, "no template is called `" + options.template_name + "`; there are: " + known};
  std::string folder = options.folder.empty() ? options.template_name : options.folder;
  std::string name = folder.substr(folder.find_last_of('/') + 1);
  if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return errno_error("make folder " + folder, errno);
  for (const File& file : chosen->files)
    if (access((folder + "/" + file.name).c_str(), F_OK) == 0)
      return Error{ErrorCode::kInvalid, folder + "/" + file.name + " exists already; nothing was written"};
  for (const File& file : chosen->files) {
    std::string text = file.text;
    if (size_t at = text.find("{name}"); at != std::string::npos) text.replace(at, 6, name);
    KAON_TRY_VOID(write_file(folder + "/" + file.name, text, file.mode, true));
  }
  printf("made %s; run it with: kaon run %s\n", folder.c_str(), folder.c_str());
  return {};
}

}  // namespace

int init(const Parts&, const InitOptions& options) {
  auto result = make(options);
  return result ? 0 : report(result.error());
}

}  // namespace kaon::cli
