// What attention works on, and with; whichever processor it is compiled for.
#pragma once

#include "products.hpp"

namespace herd {

constexpr int kBlock = 48;  // queries worked on at once

// A tensor of [batch, heads, tokens, width] with any strides but the last, which is 1; strides count numbers.
struct Heads {
  float* data;
  int64_t batch, head, token;
  float* at(int64_t b, int64_t h, int64_t t) const { return data + b * batch + h * head + t * token; }
};

// Keys or values of a cache in pages of `size` tokens, with strides as above. table: the pages of every row, in order,
// `columns` a row.
struct Pages {
  float* data;
  int64_t page, head, token;
  const int64_t* table;
  int64_t columns, size;
  float* first(int64_t b, int64_t h, int64_t n) const { return data + table[b * columns + n] * page + h * head; }
  float* at(int64_t b, int64_t h, int64_t t) const { return first(b, h, t / size) + t % size * token; }
};

// keys: how many there are; those of earlier tokens may come before those of the queries.
struct Sizes {
  int64_t batch, heads, groups, tokens, width, keys;
};

// A block of queries and the keys it may look at: [first, end), from a multiple of 16 on.
// before: keys that stand before the first query's own.
struct Block {
  int64_t row, rows, first, end, columns, before;
  // How many of those keys the first query sees; the next sees one more.
  int64_t reach() const { return before + row + 1 - first; }
};

inline Block block_at(int64_t row, const int32_t* starts, int64_t tokens, int64_t before) {
  Block found{row, std::min<int64_t>(kBlock, tokens - row), 0, 0, 0, before};
  found.first = (starts ? starts[row] : 0) / kLanes * kLanes;
  found.end = before + row + found.rows;
  found.columns = up(found.end - found.first);
  return found;
}

// Memory of a thread, kept from call to call.
struct Room {
  Some queries, keys, values, scores, slopes, panels, turned_keys, turned_values, key_slopes, value_slopes;
};

inline Room& room(const Sizes& s) {
  thread_local Room found;
  const int64_t wide = up(s.width), long_ = up(s.keys) + kLanes;
  for (auto* some : {&found.queries, &found.panels}) some->hold(2 * kBlock * wide);
  for (auto* some : {&found.scores, &found.slopes}) some->hold(kBlock * long_);
  for (auto* some : {&found.keys, &found.values, &found.turned_keys, &found.turned_values, &found.key_slopes,
                     &found.value_slopes})
    some->hold(long_ * wide);
  return found;
}

}  // namespace herd
