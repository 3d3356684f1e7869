/* SPDX-License-Identifier: MIT
 *
 * The same in C++, once with the untyped calls and once with a typed channel: the headers' declarations link, and a lambda without
 * a capture is a callback. The sum goes to the main program through a oneshot, typed too; a typed call asks for it, a typed
 * broadcast channel tells it to a loop and a thread, and a typed watch channel shows it to them. */
#include <cstdio>
#include <cstring>
#include <thread>
#include <uvch.h>

namespace {

constexpr int count = 1000;

struct Number {
  long value;
};

UVCH_MPSC_DEFINE(numbers, Number);
UVCH_ONESHOT_DEFINE(answers, Number);
UVCH_BROADCAST_DEFINE(news, Number);
UVCH_WATCH_DEFINE(shown, Number);

struct Question {
  long factor;
  answers_sender_t reply;
};

UVCH_MPSC_DEFINE(questions, Question);

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

bool run_typed(Sum& sum) {
  uv_loop_t loop;
  numbers_receiver_t rx;
  numbers_sender_t tx;

  if (uv_loop_init(&loop) != 0 || numbers_init(&loop, &rx, &tx, 16) != 0) {
    return false;
  }
  rx.base.data = &sum;
  int result = numbers_recv_start(&rx, [](numbers_receiver_t* self, int status, Number* number) {
    auto& its = *static_cast<Sum*>(self->base.data);
    if (status == UV_EOF) {
      its.ends += numbers_close(self, nullptr) == 0;
      return;
    }
    its.total += number->value;
    its.messages++;
  });
  if (result != 0) {
    return false;
  }

  bool sent = true;
  std::thread thread([&tx, &sent] {
    for (Number number{1}; number.value <= count; number.value++) {
      sent = numbers_send_wait(&tx, &number) == 0 && sent;
    }
    sent = numbers_sender_close(&tx) == 0 && sent;
  });
  result = uv_run(&loop, UV_RUN_DEFAULT);
  thread.join();
  return result == 0 && sent && uv_loop_close(&loop) == 0;
}

// The sum of a oneshot that this thread fills and the loop gets.
long by_oneshot(long total) {
  uv_loop_t loop;
  answers_receiver_t rx;
  answers_sender_t tx;
  Number number{total};
  long got = 0;

  if (uv_loop_init(&loop) != 0 || answers_init(&loop, &rx, &tx) != 0) {
    return -1;
  }
  rx.base.data = &got;
  int result = answers_recv(&rx, [](answers_receiver_t* self, int status, Number* sum) {
    if (status == 0) {
      *static_cast<long*>(self->base.data) = sum->value;
    }
    answers_close(self, nullptr);
  });
  if (result != 0 || answers_send(&tx, &number) != 0 || uv_run(&loop, UV_RUN_DEFAULT) != 0 || uv_loop_close(&loop) != 0) {
    return -1;
  }
  return got;
}

// An actor that multiplies, asked by its own loop.
long by_call(long total) {
  uv_loop_t loop;
  questions_receiver_t rx;
  questions_sender_t tx;
  answers_call_t call;
  Question question{1, {}};
  long got = 0;

  if (uv_loop_init(&loop) != 0 || questions_init(&loop, &rx, &tx, 1) != 0) {
    return -1;
  }
  rx.base.data = &total;
  call.base.data = &got;
  int result = questions_recv_start(&rx, [](questions_receiver_t* self, int status, Question* asked) {
    if (status == UV_EOF) {
      questions_close(self, nullptr);
      return;
    }
    Number product{asked->factor * *static_cast<long*>(self->base.data)};
    answers_reply(&asked->reply, &product);
  });
  if (result != 0) {
    return -1;
  }
  result = answers_call(&loop, &call, &tx.base, &question, &question.reply, [](answers_call_t* self, int status, Number* reply) {
    if (status == 0) {
      *static_cast<long*>(self->base.data) = reply->value;
    }
  });
  if (result != 0 || questions_sender_close(&tx) != 0 || uv_run(&loop, UV_RUN_DEFAULT) != 0 || uv_loop_close(&loop) != 0) {
    return -1;
  }
  return got;
}

// A broadcast channel tells it to the loop and to a thread. The sum of what they got.
long by_news(long total) {
  uv_loop_t loop;
  news_receiver_t rx;
  news_receiver_t thread_rx;
  news_sender_t tx;
  Number number{total};
  long got = 0;
  long thread_got = 0;

  if (uv_loop_init(&loop) != 0 || news_init(&loop, &rx, &tx, 4) != 0 || news_subscribe(nullptr, &thread_rx, &tx) != 0) {
    return -1;
  }
  rx.base.data = &got;
  int result = news_recv_start(&rx, [](news_receiver_t* self, int status, const Number* sum) {
    if (status == 0) {
      *static_cast<long*>(self->base.data) = sum->value;
    } else if (status == UV_EOF) {
      news_close(self, nullptr);
    }
  });
  if (result != 0) {
    return -1;
  }

  std::thread thread([&thread_rx, &thread_got] {
    Number sum{0};
    while (news_recv_wait(&thread_rx, &sum) >= 0) {
      thread_got = sum.value;
    }
    news_close(&thread_rx, nullptr);
  });
  bool sent = news_send(&tx, &number) == 2;
  sent = news_sender_close(&tx) == 0 && sent;
  result = uv_run(&loop, UV_RUN_DEFAULT);
  thread.join();
  return result == 0 && sent && uv_loop_close(&loop) == 0 ? got + thread_got : -1;
}

// A watch channel shows it to the loop, which waits for just that, and to a thread. The sum of what they saw.
long by_watch(long total) {
  uv_loop_t loop;
  shown_receiver_t rx;
  shown_receiver_t thread_rx;
  shown_sender_t tx;
  shown_wait_for_t wait;
  Number number{0};
  long got = 0;
  long thread_got = 0;

  if (uv_loop_init(&loop) != 0 || shown_init(&loop, &rx, &tx, &number) != 0 || shown_subscribe(nullptr, &thread_rx, &tx) != 0) {
    return -1;
  }
  wait.base.data = &got;
  int result = shown_wait_for(
      &wait, &rx, [](const Number* sum, void* wanted) { return sum->value == *static_cast<long*>(wanted) ? 1 : 0; }, &total,
      [](shown_wait_for_t* self, int status, const Number* sum) {
        if (status == 0) {
          *static_cast<long*>(self->base.data) = sum->value;
        }
      });
  if (result != 0) {
    return -1;
  }

  std::thread thread([&thread_rx, &thread_got] {
    while (shown_changed_wait(&thread_rx) == 0) {
      thread_got = shown_borrow_and_update(&thread_rx)->value;
    }
    shown_close(&thread_rx, nullptr);
  });
  number.value = total - 1;
  bool sent = shown_send(&tx, &number) == 0;
  auto add = [](Number* sum, void* more) {
    sum->value += *static_cast<long*>(more);
    return 1;
  };
  long one = 1;
  sent = shown_modify_if(&tx, add, &one) == 1 && sent;
  sent = shown_sender_close(&tx) == 0 && sent;
  result = uv_run(&loop, UV_RUN_DEFAULT);
  thread.join();
  if (shown_close(&rx, nullptr) != 0 || uv_run(&loop, UV_RUN_DEFAULT) != 0) {
    return -1;
  }
  return result == 0 && sent && uv_loop_close(&loop) == 0 ? got + thread_got : -1;
}

} // namespace

int main() {
  Sum sum;
  Sum typed;

  if (uvch_version() != UVCH_VERSION_HEX || std::strcmp(uvch_version_string(), UVCH_VERSION_STRING) != 0) {
    std::fprintf(stderr, "consumer: headers are %s, the library is %s\n", UVCH_VERSION_STRING, uvch_version_string());
    return 1;
  }
  if (!run(sum) || !run_typed(typed)) {
    return 1;
  }
  if (typed.total != sum.total || typed.messages != sum.messages || typed.ends != sum.ends) {
    std::fprintf(stderr, "consumer: typed, %d messages, sum %ld, %d end\n", typed.messages, typed.total, typed.ends);
    return 1;
  }
  if (by_oneshot(sum.total) != sum.total || by_call(sum.total) != sum.total) {
    std::fprintf(stderr, "consumer: the sum did not come through a oneshot or a call\n");
    return 1;
  }
  if (by_news(sum.total) != 2 * sum.total) {
    std::fprintf(stderr, "consumer: the sum did not come to all\n");
    return 1;
  }
  if (by_watch(sum.total) != 2 * sum.total) {
    std::fprintf(stderr, "consumer: not all saw the sum\n");
    return 1;
  }
  std::printf("%d messages, sum %ld, %d end\n", sum.messages, sum.total, sum.ends);
  return 0;
}
