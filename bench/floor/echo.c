/* Copies STDIN to STDOUT. */
#include <errno.h>
#include <unistd.h>

int main(void) {
  static char buffer[64 * 1024];
  for (;;) {
    ssize_t size = read(0, buffer, sizeof buffer);
    if (size == 0) return 0;
    if (size < 0) {
      if (errno == EINTR) continue;
      return 1;
    }
    for (ssize_t at = 0; at < size;) {
      ssize_t written = write(1, buffer + at, (size_t)(size - at));
      if (written < 0) {
        if (errno == EINTR) continue;
        return 1;
      }
      at += written;
    }
  }
}
