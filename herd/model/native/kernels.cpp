// Attention, blocks, the loss, and the reading of tokens on a CPU in fp32, compiled for several kinds of processor.
//
// Every token looks back to the start of its document and no further, so that short documents cost what they hold
// and not the square of the row. A block of queries meets all keys it may look at while its scores stay in the cache;
// the way back computes the scores again from the log-sum of each row (Dao 2023, FlashAttention-2, algorithms 1 and 2).
// All five products are one small kernel: 6 rows times 16 columns held in registers, over right-hand sides packed into
// panels of 16 columns.

#include <cstdlib>
#include <cstring>

#include "attention.hpp"
#include "reading.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))
#define HERE_INLINE HERE static inline __attribute__((always_inline))

#if defined(__clang__)
#define SHUFFLED(x, from) shuffled(x, from)
template <typename V, typename I>
static inline V shuffled(const V& x, const I& from) {
  V y;
  for (unsigned k = 0; k < sizeof(V) / sizeof(float); ++k) y[k] = x[from[k]];
  return y;
}
#define JOINED(x, y, from) joined(x, y, from)
template <typename V, typename I>
static inline V joined(const V& x, const V& y, const I& from) {
  constexpr int lanes = sizeof(V) / sizeof(float);
  V z;
  for (int k = 0; k < lanes; ++k) z[k] = from[k] < lanes ? x[from[k]] : y[from[k] - lanes];
  return z;
}
#else
#define SHUFFLED(x, from) __builtin_shuffle(x, from)
#define JOINED(x, y, from) __builtin_shuffle(x, y, from)
#endif

namespace herd {
namespace plain {
#define HERE
#define LANES 4
#include "vectors_on.inc"
#include "products_on.inc"
#include "attention_on.inc"
#include "blocks_on.inc"
#include "losses_on.inc"
#include "reading_on.inc"
#undef HERE
#undef LANES
}  // namespace plain

#if defined(__x86_64__) && defined(__linux__)
namespace avx2 {
#define HERE __attribute__((target("avx2,fma")))
#define LANES 8
#include "vectors_on.inc"
#include "products_on.inc"
#include "attention_on.inc"
#include "blocks_on.inc"
#include "losses_on.inc"
#include "reading_on.inc"
#undef HERE
#undef LANES
}  // namespace avx2
namespace avx512 {
#define HERE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define LANES 16
#include "vectors_on.inc"
#include "products_on.inc"
#include "attention_on.inc"
#include "blocks_on.inc"
#include "losses_on.inc"
#include "reading_on.inc"
#undef HERE
#undef LANES
}  // namespace avx512

// HERD_MAX_CPU_ISA (`baseline` or `avx2`) holds the choice below what the processor has, to compare and to test.
bool is_allowed(const char* isa) {
  const char* most = std::getenv("HERD_MAX_CPU_ISA");
  if (!most || !*most) return true;
  return std::strcmp(most, "avx512") == 0 || (std::strcmp(most, "avx2") == 0 && std::strcmp(isa, "avx2") == 0);
}
const bool has_avx2 = is_allowed("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
const bool has_avx512 = has_avx2 && is_allowed("avx512") && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
const char* const chosen_isa = has_avx512 ? "avx512" : has_avx2 ? "avx2" : "baseline";
#define CHOSEN(name) const auto name = has_avx512 ? avx512::name : has_avx2 ? avx2::name : plain::name
#else
const char* const chosen_isa = "baseline";
#define CHOSEN(name) const auto name = plain::name
#endif
CHOSEN(matrix_product);
CHOSEN(forward);
CHOSEN(backward);
CHOSEN(cached);
CHOSEN(losses);
CHOSEN(norms);
CHOSEN(norms_back);
CHOSEN(turns);
CHOSEN(gates);
CHOSEN(gates_back);
CHOSEN(packed_product);
CHOSEN(read);
}  // namespace herd

#include "block.hpp"

using herd::Heads;
using herd::Sizes;

// Which of the variants above are used: `baseline`, `avx2` or `avx512`.
EXPORT const char* herd_isa() { return herd::chosen_isa; }

// Works on parts [first, last) of batch * groups. starts: where the document of each token begins, or null: [B, T].
EXPORT void herd_attend(const Sizes* s, const Heads* q, const Heads* k, const Heads* v, const int32_t* starts,
                        const Heads* out, float* logs, int64_t first, int64_t last) {
  for (int64_t part = first; part < last; ++part) herd::forward(*s, *q, *k, *v, starts, *out, logs, 0, part);
}

EXPORT void herd_attend_back(const Sizes* s, const Heads* slope, const Heads* q, const Heads* k, const Heads* v,
                             const int32_t* starts, const Heads* out, const float* logs, const Heads* q_slope,
                             const Heads* k_slope, const Heads* v_slope, int64_t first, int64_t last) {
  for (int64_t part = first; part < last; ++part)
    herd::backward(*s, *slope, *q, *k, *v, starts, *out, logs, *q_slope, *k_slope, *v_slope, part);
}

// The same after keys already read: the first of positions [B, T] of a row tells how many.
EXPORT void herd_attend_cached(const Sizes* s, const Heads* q, const herd::Pages* k, const herd::Pages* v,
                               const int64_t* positions, const Heads* out, int64_t first, int64_t last) {
  for (int64_t part = first; part < last; ++part)
    herd::cached(*s, *q, *k, *v, positions[part / s->groups * s->tokens], true, *out, part);
}

// Nats of every row of logits [rows, columns] and the log of each softmax's sum; logits become slopes when asked for.
EXPORT void herd_losses(float* logits, int64_t rows, int64_t columns, const int64_t* wanted, float z, int32_t slopes,
                        float* each, float* logs) {
  herd::losses(logits, rows, columns, wanted, z, slopes != 0, each, logs);
}

// A block: see block.hpp. kept: as many numbers as `herd_block_kept` says.
EXPORT int64_t herd_block_kept(const herd::Shape* s) { return herd::kept_size(*s); }

EXPORT void herd_block(const herd::Shape* s, const herd::Weights<const float>* weights, const herd::Places* at,
                       const float* x, float* kept, float* out) {
  herd::block_forward(*s, *weights, *at, x, herd::Kept(*s, kept), out);
}

EXPORT void herd_block_back(const herd::Shape* s, const herd::Weights<const float>* weights, const herd::Places* at,
                            const float* x, float* kept, const float* slope, float* x_slope,
                            const herd::Weights<float>* found) {
  herd::block_back(*s, *weights, *at, x, herd::Kept(*s, kept), slope, x_slope, *found);
}

// Rows over their root mean square, times the gain; and back: slopes are added to what `x_slope` and `gain_slope` hold.
EXPORT void herd_norms(int64_t rows, int64_t width, float eps, const float* x, const float* gain, float* out) {
  herd::norms(x, rows, width, gain, eps, out);
}

EXPORT void herd_norms_back(int64_t rows, int64_t width, float eps, const float* x, const float* gain,
                            const float* slope, float* x_slope, float* gain_slope) {
  herd::norms_back(slope, x, rows, width, gain, eps, x_slope, gain_slope);
}

// Whether the product that follows is faster than the one PyTorch was built with (MKL) on one thread: by a twelfth on
// AMD's processors, for which MKL has no kernels of 512 bits; Intel's are left to Intel.
EXPORT int32_t herd_product_is_faster() {
#if defined(__x86_64__) && defined(__linux__)
  return herd::has_avx2 && __builtin_cpu_is("amd");
#else
  return 0;
#endif
}

// c [rows, columns], whose rows are `step` apart, (+)= a b.
EXPORT void herd_product(int64_t rows, int64_t columns, int64_t depth, const herd::Matrix* a, const herd::Matrix* b,
                         float* c, int64_t step, int32_t add) {
  herd::matrix_product(rows, columns, depth, *a, *b, c, step, add != 0);
}

// A matrix [columns, depth] as panels of 16 columns, for what follows.
EXPORT void herd_pack(const float* matrix, int64_t columns, int64_t depth, float* panels) {
  herd::plain::pack_turned(matrix, depth, columns, depth, panels);
}

// a [rows, depth] times a packed matrix: [rows, columns].
EXPORT void herd_packed_product(const float* a, int64_t rows, int64_t depth, int64_t columns, const float* panels,
                                float* out, int64_t threads) {
  herd::together(threads, [&](int64_t number) {
    herd::packed_product(rows, depth, columns, a, depth, panels, out, columns, false, {number, threads});
  });
}

// Reads new tokens into the cache; last states after the final norm: [all tokens, width].
EXPORT void herd_read(const herd::Model* model, const herd::Layer* layers, const herd::Batch* batch, float* out,
                      int64_t threads) {
  const int64_t count = batch->starts[batch->rows], asked = (model->heads + 2 * model->groups) * model->head_width;
  const int64_t mixed = model->heads * model->head_width;
  thread_local std::vector<float> held;
  held.resize(std::max<size_t>(held.size(), count * (2 * model->width + asked + mixed + 2 * model->hidden)));
  float* at = held.data();
  auto room = [&](int64_t width) { return (at += count * width) - count * width; };
  herd::Working working{};
  working.x = room(model->width);
  working.normed = room(model->width);
  working.asked = room(asked);
  working.mixed = room(mixed);
  working.gated = room(2 * model->hidden);
  herd::Meeting meeting(threads);
  herd::together(threads, [&](int64_t number) {
    herd::read(*model, layers, *batch, working, out, {number, threads}, meeting);
  });
}
