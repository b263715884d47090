#include "base/time_text.h"

namespace kaon {
namespace {

void digits(char* out, int count, int64_t value) {
  for (int i = count - 1; i >= 0; --i, value /= 10) out[i] = static_cast<char>('0' + value % 10);
}

}  // namespace

std::string_view write_time(char* out, Nanos since_epoch) {
  int64_t seconds = since_epoch / kSecond;
  int64_t days = seconds / 86400, second = seconds % 86400;
  // Days to a civil date, H. Hinnant, "chrono-compatible low-level date algorithms".
  days += 719468;
  int64_t era = days / 146097;
  int64_t day_of_era = days - era * 146097;
  int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t month_index = (5 * day_of_year + 2) / 153;
  int64_t day = day_of_year - (153 * month_index + 2) / 5 + 1;
  int64_t month = month_index < 10 ? month_index + 3 : month_index - 9;
  int64_t year = year_of_era + era * 400 + (month <= 2);
  digits(out, 4, year);
  out[4] = '-';
  digits(out + 5, 2, month);
  out[7] = '-';
  digits(out + 8, 2, day);
  out[10] = 'T';
  digits(out + 11, 2, second / 3600);
  out[13] = ':';
  digits(out + 14, 2, second / 60 % 60);
  out[16] = ':';
  digits(out + 17, 2, second % 60);
  out[19] = '.';
  digits(out + 20, 3, since_epoch / kMillisecond % 1000);
  out[23] = 'Z';
  return {out, kTimeTextSize};
}

}  // namespace kaon
