// What products of matrices work on, and with; whichever processor they are compiled for.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace herd {

constexpr int kLanes = 16, kRows = 6;
// Numbers of a column worked on at once, and rows: a panel that deep is 24 KB, and so many rows of it 144 KB.
constexpr int64_t kDeep = 384, kTall = 96;

inline int64_t up(int64_t x) { return (x + kLanes - 1) / kLanes * kLanes; }

// Numbers kept from call to call. On borders of 64 bytes: what crosses one is loaded twice.
struct Some {
  struct alignas(64) Line {
    float of[kLanes];
  };
  std::vector<Line> held;
  float* data() { return reinterpret_cast<float*>(held.data()); }
  float* hold(int64_t count) {
    if (int64_t(held.size()) * kLanes < count) held.resize(count / kLanes + 1);
    return data();
  }
};

// A matrix by rows, `step` numbers from one to the next. turned: what is meant has them as columns.
struct Matrix {
  const float* data;
  int64_t step;
  bool turned = false;
};

}  // namespace herd
