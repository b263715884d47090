// The bare C interface, and what a careless function does with it. The event's subject says what to do.
#include <kaon.h>
#include <time.h>

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

const kaon_host* host;
kaon_call kept;
std::atomic<int> closed{0}, cancelled{0}, running{0};

bool is(kaon_call call, const char* what) {
  kaon_str subject = host->attribute(call, KAON_SUBJECT);
  return subject.size == strlen(what) && (subject.size == 0 || memcmp(subject.data, what, subject.size) == 0);
}
void answer(kaon_call call, const std::string& text) { host->respond(call, nullptr, text.data(), text.size()); }
void nap(long ms) {
  timespec time{ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, nullptr);
}

void on_cancelled(void*, kaon_call call) {
  ++cancelled;
  host->respond(call, nullptr, "too late", 8);
}
void on_closed(void*) { ++closed; }
const kaon_callbacks kCancelOnly{sizeof(kaon_callbacks), 0, nullptr, nullptr, on_cancelled, on_closed};

void careless(kaon_call call) {
  kaon_str body = host->body(call, nullptr);
  if (is(call, "double")) {
    host->respond(call, nullptr, "first", 5);
    int again = host->respond(call, nullptr, "second", 6);
    int failed = host->fail(call, KAON_FAIL_FUNCTION, {nullptr, 0});
    if (again != KAON_E_FINISHED || failed != KAON_E_FINISHED) abort();
  } else if (is(call, "keep")) {
    kept = call;
    host->respond(call, nullptr, body.data, body.size);
  } else if (is(call, "stale")) {
    std::string text = std::to_string(host->respond(kept, nullptr, "wrong", 5)) + " " + std::to_string(host->read_body(kept)) +
                       " " + std::to_string(host->attribute(kept, KAON_ID).size) + " " + std::to_string(host->cancelled(kept));
    answer(call, text);
  } else if (is(call, "order")) {
    std::string text = std::to_string(host->write(call, "x", 1)) + " " + std::to_string(host->read_body(call)) + " " +
                       std::to_string(host->end(call, "x", 1));
    kaon_head head = KAON_HEAD_INIT;
    head.status = 99;
    text += " " + std::to_string(host->respond(call, &head, "x", 1));
    answer(call, text);
  } else if (is(call, "race")) {
    // Eight threads finish one call.
    std::thread threads[8];
    std::atomic<int> won{0};
    for (std::thread& t : threads) t = std::thread([&] { won += host->respond(call, nullptr, "one", 3) == KAON_OK; });
    for (std::thread& t : threads) t.join();
    if (won != 1) abort();
  }
}

void handle(void*, kaon_call call) {
  kaon_str body = host->body(call, nullptr);
  if (is(call, "throw")) throw std::runtime_error("across the border");
  if (is(call, "throw_int")) throw 7;
  if (is(call, "sleep") || is(call, "nap")) {
    ++running;
    nap(is(call, "nap") ? 30 : 400);
    answer(call, "slept");
  } else if (is(call, "hang")) {
    ++running;
    nap(5000);
    answer(call, "awake");
  } else if (is(call, "hold")) {
    host->set_callbacks(call, &kCancelOnly, nullptr);
    ++running;
  } else if (is(call, "poll")) {
    ++running;
    while (!host->cancelled(call)) nap(1);
    // Nobody was told: the answer to late callbacks comes all the same.
    host->set_callbacks(call, &kCancelOnly, nullptr);
  } else if (is(call, "counts")) {
    answer(call, std::to_string(cancelled) + " " + std::to_string(closed) + " " + std::to_string(running));
  } else if (is(call, "flood")) {
    kaon_head head = KAON_HEAD_INIT;
    host->start(call, &head);
    std::string piece(1 << 20, 'x');
    int taken = 0, last = 0;
    while (taken < 100 && (last = host->write(call, piece.data(), piece.size())) >= 0) ++taken;
    if (last != KAON_E_OVERLOADED && last != KAON_E_CANCELLED) abort();
    host->fail(call, KAON_FAIL_FUNCTION, {"too much", 8});
  } else if (is(call, "log")) {
    kaon_field fields[] = {{{"size", 4}, {"12", 2}}};
    host->log(host, call, KAON_INFO, {"from the function", 17}, fields, 1);
    answer(call, "");
  } else if (is(call, "")) {
    host->respond(call, nullptr, body.data, body.size);
  } else {
    careless(call);
  }
}

int32_t init(const kaon_host* given, void**, char*, size_t) {
  host = given;
  return 0;
}

}  // namespace

KAON_EXPORT const kaon_descriptor kaon_function;
const kaon_descriptor kaon_function = {KAON_ABI_VERSION, sizeof(kaon_descriptor), 0, "lab", init, handle, nullptr};
