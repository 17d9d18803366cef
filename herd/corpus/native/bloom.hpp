// Deduplication against everything seen before, by a Bloom filter of n-grams (DCLM's BFF).
#pragma once
#include "words.hpp"

namespace herd {

struct BloomRules {
  int64_t bits;       // of the filter
  int32_t hashes;     // probes for one n-gram
  int32_t least;      // a paragraph of fewer words is left alone
  int32_t most;       // words of an n-gram
  double threshold;   // a paragraph or document of which a larger share was seen goes
  int32_t documents;  // whether whole documents go too
};

bool bloom_add(uint64_t* filter, const BloomRules& rules, uint64_t key);  // whether it was there before

// Reads and fills the filter in the order of the texts. counts: n-grams, and those seen before, two a document;
// a document that goes has an empty text.
void bloom_texts(const Texts& texts, const BloomRules& rules, uint64_t* filter, Column& out, int64_t* counts);

}  // namespace herd
