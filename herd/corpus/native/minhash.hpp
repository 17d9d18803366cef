// MinHash signatures of documents as sets of runs of words.
#pragma once
#include "words.hpp"

namespace herd {

// The characters that letter case, accents and punctuation aside make a word: code 0 for a gap. Given once.
void set_folds(const uint32_t* folded, int32_t count);

// Hashes of the runs of `words` words of `text`; of all its words together when they are fewer. With
// `fold_numbers` all numbers are one.
void shingles(string_view text, int32_t words, bool fold_numbers, std::vector<uint64_t>& out);

struct MinhashRules {
  int32_t bands, rows, words, fold_numbers;
  uint64_t seed;
};

// keys: one number a band and document; equal numbers mean equal minima in all rows of the band.
// signature (may be null): all minima, bands * rows a document.
void minhash(const Texts& texts, const MinhashRules& rules, uint64_t* keys, uint32_t* signature);

}  // namespace herd
