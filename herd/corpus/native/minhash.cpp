#include "minhash.hpp"

#include <algorithm>

#if defined(__x86_64__) && defined(__linux__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

namespace herd {
namespace {

constexpr int kLanes = 16;  // permutations worked on at once; signatures are padded to it

std::vector<uint32_t> folds;

// SplitMix64: the permutations of a seed, the same on every machine.
uint64_t next_random(uint64_t& state) {
  uint64_t z = (state += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// The minimum over all hashes of each permutation x -> scale * (x xor shift), mixed once: a multiplication
// alone keeps neighbours neighbours, which shows in the smallest images.
FOR_EACH_PROCESSOR
void minima(const uint32_t* __restrict hashes, size_t count, const uint32_t* __restrict scale,
            const uint32_t* __restrict shift, uint32_t* __restrict least, int width) {
  for (int block = 0; block < width; block += kLanes) {
    uint32_t best[kLanes], by[kLanes], from[kLanes];
    for (int k = 0; k < kLanes; ++k) best[k] = ~0u, by[k] = scale[block + k], from[k] = shift[block + k];
    for (size_t i = 0; i < count; ++i) {
      uint32_t x = hashes[i];
      for (int k = 0; k < kLanes; ++k) {
        uint32_t h = (x ^ from[k]) * by[k];
        h ^= h >> 15;
        best[k] = h < best[k] ? h : best[k];
      }
    }
    for (int k = 0; k < kLanes; ++k) least[block + k] = best[k];
  }
}

}  // namespace

void set_folds(const uint32_t* folded, int32_t count) { folds.assign(folded, folded + count); }

void shingles(string_view text, int32_t words, bool fold_numbers, std::vector<uint64_t>& out) {
  out.clear();
  thread_local std::vector<uint64_t> found;
  found.clear();
  uint64_t word = 0;
  bool inside = false, number = false;
  auto end = [&] {
    if (inside) found.push_back(mix(word));
    inside = number = false;
    word = 0;
  };
  for (size_t i = 0; i < text.size();) {
    auto c = uint8_t(text[i]);
    uint32_t folded, code = c;
    if (c < 0x80) {
      folded = folds[c];
      ++i;
    } else {
      Rune r = rune_at(text, i);
      code = r.code;
      i += size_t(r.bytes);
      uint8_t kind = r.code < folds.size() ? 0 : rune_class(r.code);
      folded = r.code < folds.size() ? folds[r.code] : kind & (kLetter | kDigit) ? r.code : 0;
      if (folded && folded == 0xFFFFFFFFu) continue;  // a mark that only decorates
      if (is_unspaced(folded) || (folded >= 0x3040 && rune_class(folded) & kIdeograph)) {
        end();
        inside = true;
        word = folded;
        end();
        continue;
      }
    }
    if (!folded) {
      end();
    } else if (folded == '0' && fold_numbers) {
      if (!number) word = (word ^ folded) * 0x9E3779B97F4A7C15ull;
      inside = number = true;
    } else {
      word = (word ^ (folded == '0' ? code : folded)) * 0x9E3779B97F4A7C15ull;
      word ^= word >> 29;
      inside = true;
      number = false;
    }
  }
  end();
  size_t n = size_t(words);
  if (found.empty()) return;
  if (found.size() < n) n = found.size();
  for (size_t i = 0; i + n <= found.size(); ++i) {
    uint64_t h = 0;
    for (size_t k = i; k < i + n; ++k) h = chain(h, found[k]);
    out.push_back(mix(h));
  }
}

void minhash(const Texts& texts, const MinhashRules& rules, uint64_t* keys, uint32_t* signature) {
  int size = rules.bands * rules.rows;
  int width = (size + kLanes - 1) / kLanes * kLanes;
  std::vector<uint32_t> scale, shift, least(static_cast<size_t>(width), 0u), small;
  uint64_t state = rules.seed;
  for (int k = 0; k < width; ++k) {
    uint64_t drawn = next_random(state);
    scale.push_back(uint32_t(drawn) | 1);
    shift.push_back(uint32_t(drawn >> 32));
  }
  std::vector<uint64_t> found;
  for (int64_t i = 0; i < texts.count; ++i) {
    shingles(texts[i], rules.words, rules.fold_numbers, found);
    small.assign(found.size(), 0);
    for (size_t k = 0; k < found.size(); ++k) small[k] = uint32_t(found[k] >> 16);
    minima(small.data(), small.size(), scale.data(), shift.data(), least.data(), width);
    for (int band = 0; band < rules.bands; ++band) {
      uint64_t key = uint64_t(band) + 1;
      for (int row = 0; row < rules.rows; ++row) key = mix(key ^ least[size_t(band * rules.rows + row)] * 0x9E3779B97F4A7C15ull);
      // Texts without a word have nothing in common with each other: 0 is the key of nothing.
      keys[i * rules.bands + band] = found.empty() ? 0 : key;
    }
    if (signature) std::copy(least.begin(), least.begin() + size, signature + i * size);
  }
}

}  // namespace herd
