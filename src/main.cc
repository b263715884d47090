#include "cli/commands.h"

int main(int argc, char** argv) {
  kaon::cli::Parts parts(kaon::runtime::all(), kaon::trigger::all(), KAON_VERSION);
  return kaon::cli::main(argc, argv, parts);
}
