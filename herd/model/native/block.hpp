// A block, forward and back, on one thread: PyTorch's own product of matrices, and our kernels for all between.
// N is batch x tokens. `asked` holds queries, keys and values side by side, `both` gate and up.
#pragma once

#include <initializer_list>

#include "attention.hpp"

namespace herd {

// Fortran's sgemm, of the library that PyTorch multiplies with.
using Sgemm = void (*)(const char*, const char*, const int*, const int*, const int*, const float*, const float*,
                       const int*, const float*, const int*, const float*, float*, const int*);

struct Shape {
  int64_t batch, tokens, width, heads, groups, head_width, hidden;
  double eps;
  Sgemm sgemm;
  int64_t count() const { return batch * tokens; }
  int64_t mixed() const { return heads * head_width; }
  int64_t turned() const { return (heads + groups) * head_width; }
  int64_t asked() const { return (heads + 2 * groups) * head_width; }
  Sizes sizes() const { return {batch, heads, groups, tokens, head_width, tokens}; }
};

// A block's weights, or the slopes by them. Slopes that nobody wants are null; those by query, key and value lie one
// after the other, and so do those by gate and up.
template <typename F>
struct Weights {
  F *first_gain, *query, *key, *value, *output, *second_gain, *gate, *up, *down;
};

// Where the tokens stand, and where their documents begin: starts may be null.
struct Places {
  const float *cosine, *sine;
  const int32_t* starts;
};

// What the way back wants: parts of one piece of memory.
struct Kept {
  float *asked, *mixed, *middle, *both, *logs;
  Kept(const Shape& s, float* from) {
    asked = from;
    mixed = asked + up(s.count() * s.asked());
    middle = mixed + up(s.count() * s.mixed());
    both = middle + up(s.count() * s.width);
    logs = both + up(s.count() * 2 * s.hidden);
  }
};

inline int64_t kept_size(const Shape& s) {
  const float* none = nullptr;
  return Kept(s, nullptr).logs - none + up(s.count() * s.heads);
}

// c (+)= a b, by the library's product where one is given.
inline void multiply(const Shape& s, int64_t rows, int64_t columns, int64_t depth, Matrix a, Matrix b, float* c,
                     int64_t step, bool add = false) {
  if (!s.sgemm) return matrix_product(rows, columns, depth, a, b, c, step, add);
  const int m = int(columns), n = int(rows), k = int(depth), lda = int(b.step), ldb = int(a.step), ldc = int(step);
  const float one = 1.0f, before = add ? 1.0f : 0.0f;
  s.sgemm(b.turned ? "T" : "N", a.turned ? "T" : "N", &m, &n, &k, &one, b.data, &lda, a.data, &ldb, &before, c, &ldc);
}

// Memory of a thread for what is used up at once.
struct Bench {
  Some normed, gated, slopes, gain, matrix;
};

inline Bench& bench() {
  thread_local Bench found;
  return found;
}

inline Heads heads_of(const Shape& s, float* rows, int64_t first, int64_t width) {
  return {rows + first * s.head_width, s.tokens * width, s.head_width, width};
}

// Matrices that read the same rows, as one: fewer and larger products are worth the copy.
inline const float* one_matrix(std::initializer_list<std::pair<const float*, int64_t>> parts) {
  int64_t total = 0;
  for (const auto& [from, count] : parts) total += count;
  float* found = bench().matrix.hold(total);
  float* to = found;
  for (const auto& [from, count] : parts) to = std::copy_n(from, count, to);
  return found;
}

inline const float* asking(const Shape& s, const Weights<const float>& w) {
  const int64_t shared = s.groups * s.head_width * s.width;
  return one_matrix({{w.query, s.mixed() * s.width}, {w.key, shared}, {w.value, shared}});
}

inline void block_forward(const Shape& s, const Weights<const float>& w, const Places& at, const float* x,
                          const Kept& kept, float* out) {
  const int64_t count = s.count(), width = s.width, hidden = s.hidden, asked = s.asked();
  float* normed = bench().normed.hold(count * width);
  float* gated = bench().gated.hold(count * hidden);
  norms(x, count, width, w.first_gain, float(s.eps), normed);
  multiply(s, count, asked, width, {normed, width}, {asking(s, w), width, true}, kept.asked, asked);
  turns(kept.asked, count, asked, s.tokens, s.heads + s.groups, s.head_width, at.cosine, at.sine, 1.0f);
  const Heads q = heads_of(s, kept.asked, 0, asked), k = heads_of(s, kept.asked, s.heads, asked);
  const Heads v = heads_of(s, kept.asked, s.heads + s.groups, asked), mixed = heads_of(s, kept.mixed, 0, s.mixed());
  for (int64_t part = 0; part < s.batch * s.groups; ++part)
    forward(s.sizes(), q, k, v, at.starts, mixed, kept.logs, 0, part);
  std::copy_n(x, count * width, kept.middle);
  multiply(s, count, width, s.mixed(), {kept.mixed, s.mixed()}, {w.output, s.mixed(), true}, kept.middle, width, true);
  norms(kept.middle, count, width, w.second_gain, float(s.eps), normed);
  multiply(s, count, hidden, width, {normed, width}, {w.gate, width, true}, kept.both, 2 * hidden);
  multiply(s, count, hidden, width, {normed, width}, {w.up, width, true}, kept.both + hidden, 2 * hidden);
  gates(kept.both, count, hidden, gated);
  std::copy_n(kept.middle, count * width, out);
  multiply(s, count, width, hidden, {gated, hidden}, {w.down, hidden, true}, out, width, true);
}

// Back through one matrix and the norm before it, whose output is made again. stream: the slope by x, to which this is
// added. columns: of the matrix's output, whose slopes are given.
struct Behind {
  const float *matrix, *slopes;
  int64_t columns;
  float* matrix_slope;
};

inline void back_to_stream(const Shape& s, const Behind& one, const float* x, const float* gain, float* gain_slope,
                           float* stream) {
  const int64_t count = s.count(), width = s.width;
  float* normed = bench().normed.hold(count * width);
  norms(x, count, width, gain, float(s.eps), normed);
  if (one.matrix_slope)
    multiply(s, one.columns, width, count, {one.slopes, one.columns, true}, {normed, width}, one.matrix_slope, width);
  // Into what `normed` held, which is not wanted any more.
  multiply(s, count, width, one.columns, {one.slopes, one.columns}, {one.matrix, width}, normed, width);
  if (!gain_slope) gain_slope = bench().gain.hold(width);
  std::fill_n(gain_slope, width, 0.0f);
  norms_back(normed, x, count, width, gain, float(s.eps), stream, gain_slope);
}

// slope: of the block's output. x_slope: of its input.
inline void block_back(const Shape& s, const Weights<const float>& w, const Places& at, const float* x,
                       const Kept& kept, const float* slope, float* x_slope, const Weights<float>& found) {
  const int64_t count = s.count(), width = s.width, hidden = s.hidden, asked = s.asked(), mixed = s.mixed();
  float* gated = bench().gated.hold(count * std::max(hidden, mixed));
  float* slopes = bench().slopes.hold(count * std::max(2 * hidden, asked));
  multiply(s, count, hidden, width, {slope, width}, {w.down, hidden}, gated, hidden);
  gates_back(kept.both, count, hidden, gated, slopes);  // `gated` is now what `down` was given
  if (found.down) multiply(s, width, hidden, count, {slope, width, true}, {gated, hidden}, found.down, hidden);
  std::copy_n(slope, count * width, x_slope);
  const float* gate_up = one_matrix({{w.gate, hidden * width}, {w.up, hidden * width}});
  back_to_stream(s, {gate_up, slopes, 2 * hidden, found.gate}, kept.middle, w.second_gain, found.second_gain, x_slope);

  if (found.output)
    multiply(s, width, mixed, count, {x_slope, width, true}, {kept.mixed, mixed}, found.output, mixed);
  float* mixed_slope = gated;
  multiply(s, count, mixed, width, {x_slope, width}, {w.output, mixed}, mixed_slope, mixed);
  const Heads q = heads_of(s, kept.asked, 0, asked), k = heads_of(s, kept.asked, s.heads, asked);
  const Heads v = heads_of(s, kept.asked, s.heads + s.groups, asked);
  const Heads q_slope = heads_of(s, slopes, 0, asked), k_slope = heads_of(s, slopes, s.heads, asked);
  const Heads v_slope = heads_of(s, slopes, s.heads + s.groups, asked);
  const Heads given = heads_of(s, mixed_slope, 0, mixed), gave = heads_of(s, kept.mixed, 0, mixed);
  for (int64_t part = 0; part < s.batch * s.groups; ++part)
    backward(s.sizes(), given, q, k, v, at.starts, gave, kept.logs, q_slope, k_slope, v_slope, part);
  turns(slopes, count, asked, s.tokens, s.heads + s.groups, s.head_width, at.cosine, at.sine, -1.0f);
  back_to_stream(s, {asking(s, w), slopes, asked, found.query}, x, w.first_gain, found.first_gain,
                 x_slope);
}

}  // namespace herd
