#include <kaon.h>
#include <stdio.h>
static int32_t init(const kaon_host* host, void** context, char* error, size_t capacity) {
  (void)host, (void)context;
  snprintf(error, capacity, "no model.bin beside the library");
  return 3;
}
static void handle(void* context, kaon_call call) { (void)context, (void)call; }
KAON_EXPORT const kaon_descriptor kaon_function = {KAON_ABI_VERSION, sizeof(kaon_descriptor), 0, "init_fails", init, handle, 0};
