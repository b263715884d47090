#include <kaon.h>
static void handle(void* context, kaon_call call) { (void)context, (void)call; }
KAON_EXPORT const kaon_descriptor kaon_function = {999, sizeof(kaon_descriptor), 0, "old", 0, handle, 0};
