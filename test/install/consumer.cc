/* SPDX-License-Identifier: MIT
 *
 * The same in C++: the headers' declarations link, and a lambda without a capture is a callback. */
#include <cstdio>
#include <cstring>
#include <thread>
#include <uvch.h>

namespace {

constexpr int count = 1000;

struct Sum {
  long total = 0;
  int messages = 0;
  int ends = 0;
};

bool run(Sum& sum) {
  uv_loop_t loop;
  uvch_mpsc_receiver_t rx;
  uvch_mpsc_sender_t tx;

  if (uv_loop_init(&loop) != 0 || uvch_mpsc_init(&loop, &rx, &tx, sizeof(long), UVCH_UNBOUNDED) != 0) {
    return false;
  }
  rx.data = &sum;
  int result = uvch_mpsc_recv_start(&rx, [](uvch_mpsc_receiver_t* self, int status, void* item) {
    auto& its = *static_cast<Sum*>(self->data);
    if (status == UV_EOF) {
      its.ends += uvch_close(reinterpret_cast<uvch_handle_t*>(self), nullptr) == 0;
      return;
    }
    its.total += *static_cast<const long*>(item);
    its.messages++;
  });
  if (result != 0) {
    return false;
  }

  bool sent = true;
  std::thread thread([&tx, &sent] {
    for (long i = 1; i <= count; i++) {
      sent = uvch_mpsc_try_send(&tx, &i) == 0 && sent;
    }
    sent = uvch_mpsc_sender_close(&tx) == 0 && sent;
  });
  result = uv_run(&loop, UV_RUN_DEFAULT);
  thread.join();
  return result == 0 && sent && uv_loop_close(&loop) == 0;
}

} // namespace

int main() {
  Sum sum;

  if (uvch_version() != UVCH_VERSION_HEX || std::strcmp(uvch_version_string(), UVCH_VERSION_STRING) != 0) {
    std::fprintf(stderr, "consumer: headers are %s, the library is %s\n", UVCH_VERSION_STRING, uvch_version_string());
    return 1;
  }
  if (!run(sum)) {
    return 1;
  }
  std::printf("%d messages, sum %ld, %d end\n", sum.messages, sum.total, sum.ends);
  return 0;
}
