// Attention and the loss on a CPU in fp32, compiled for several kinds of processor.
//
// Every token looks back to the start of its document and no further, so that short documents cost what they hold
// and not the square of the row. A block of queries meets all keys it may look at while its scores stay in the cache;
// the way back computes the scores again from the log-sum of each row (Dao 2023, FlashAttention-2, algorithms 1 and 2).
// All five products are one small kernel: 6 rows times 16 columns held in registers, over right-hand sides packed into
// panels of 16 columns.

#include "attention.hpp"

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
#else
#define SHUFFLED(x, from) __builtin_shuffle(x, from)
#endif

namespace herd {
namespace plain {
#define HERE
#define LANES 4
#include "vectors_on.inc"
#include "attention_on.inc"
#include "losses_on.inc"
#undef HERE
#undef LANES
}  // namespace plain

#if defined(__x86_64__) && defined(__linux__)
namespace avx2 {
#define HERE __attribute__((target("avx2,fma")))
#define LANES 8
#include "vectors_on.inc"
#include "attention_on.inc"
#include "losses_on.inc"
#undef HERE
#undef LANES
}  // namespace avx2
namespace avx512 {
#define HERE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define LANES 16
#include "vectors_on.inc"
#include "attention_on.inc"
#include "losses_on.inc"
#undef HERE
#undef LANES
}  // namespace avx512

const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
const auto forward = has_avx512 ? avx512::forward : has_avx2 ? avx2::forward : plain::forward;
const auto backward = has_avx512 ? avx512::backward : has_avx2 ? avx2::backward : plain::backward;
const auto cached = has_avx512 ? avx512::cached : has_avx2 ? avx2::cached : plain::cached;
const auto losses = has_avx512 ? avx512::losses : has_avx2 ? avx2::losses : plain::losses;
#else
const auto forward = plain::forward;
const auto backward = plain::backward;
const auto cached = plain::cached;
const auto losses = plain::losses;
#endif
}  // namespace herd

using herd::Heads;
using herd::Sizes;

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
EXPORT void herd_attend_cached(const Sizes* s, const Heads* q, const Heads* k, const Heads* v, const int64_t* positions,
                               const Heads* out, int64_t first, int64_t last) {
  for (int64_t part = first; part < last; ++part) herd::cached(*s, *q, *k, *v, positions, *out, part);
}

// Nats of every row of logits [rows, columns] and the log of each softmax's sum; logits become slopes when asked for.
EXPORT void herd_losses(float* logits, int64_t rows, int64_t columns, const int64_t* wanted, float z, int32_t slopes,
                        float* each, float* logs) {
  herd::losses(logits, rows, columns, wanted, z, slopes != 0, each, logs);
}
