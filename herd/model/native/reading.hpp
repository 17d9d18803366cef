// A model as it is read with, whichever processor it is compiled for. Matrices are packed into panels.
#pragma once

#include <atomic>
#include <thread>

#include "attention.hpp"

namespace herd {

struct Model {
  int64_t layers, width, heads, groups, head_width, hidden;
  double eps;
  const float *embedding, *norm, *cosine, *sine;
};

// asked: queries, keys and values, one after another. gate_up: the gate, then what it lets through.
struct Layer {
  const float *attention_norm, *asked, *output, *forward_norm, *gate_up, *down;
};

// New tokens of some rows, one row's after another's: those of row b are [starts[b], starts[b + 1]) and follow the
// `lengths[b]` that the cache holds. layer: numbers from one layer of the cache to the next. prompt: whether numbers are
// to be the same whichever part of a prompt is read at once.
struct Batch {
  int64_t rows, layer, prompt;
  const int64_t *ids, *starts, *lengths;
  Pages keys, values;
};

// What lies between the parts of a layer, a row for every token.
struct Working {
  float *x, *normed, *asked, *mixed, *gated;
};

// A thread's part of some work.
struct Share {
  int64_t number, of;
  int64_t from(int64_t count) const { return count * number / of; }
  int64_t to(int64_t count) const { return count * (number + 1) / of; }
};

// Where threads wait for one another. Parts are too short to sleep between them.
class Meeting {
 public:
  explicit Meeting(int64_t threads) : threads_(threads) {}
  void wait() {
    if (threads_ == 1) return;
    const int64_t round = round_.load(std::memory_order_acquire);
    if (here_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      here_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
    } else {
      for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins)
        if (spins > 1000) std::this_thread::yield();
    }
  }

 private:
  const int64_t threads_;
  std::atomic<int64_t> here_{0}, round_{0};
};

// Runs `work` on so many threads, this one among them.
template <typename Work>
void together(int64_t threads, const Work& work) {
  std::vector<std::thread> others;
  for (int64_t number = 1; number < threads; ++number) others.emplace_back([&work, number] { work(number); });
  work(0);
  for (auto& other : others) other.join();
}

}  // namespace herd
