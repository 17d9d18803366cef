// What texts share word by word: lines, long runs, and runs of an evaluation set.
#pragma once
#include "words.hpp"

namespace herd {

// Sorted 64-bit keys that another step found; looked up by their upper bits.
class KeySet {
 public:
  KeySet(const uint64_t* keys, int64_t count);
  // Where `key` stands, or -1.
  int64_t find(uint64_t key) const;

 private:
  const uint64_t* keys_;
  std::vector<int64_t> starts_;
  int shift_;
};

// CCNet's key of a line: letter case, digits, punctuation and blanks do not count. 0 for a line of nothing else.
uint64_t line_key(string_view line);

// The keys of all lines of all texts; ends[i] counts those of texts 0..i.
void line_keys(const Texts& texts, std::vector<uint64_t>& keys, std::vector<int64_t>& ends);

// Leaves out the lines whose key is in `drop`; lines_dropped: one number a document.
void drop_lines(const Texts& texts, const KeySet& drop, Column& out, int32_t* lines_dropped);

// Hashes of every run of `length` words, in order; folds are those of MinHash where `folded`, else words count
// as they stand.
void window_keys(const Texts& texts, int32_t length, std::vector<uint64_t>& keys, std::vector<int64_t>& ends);

// Cuts out of each text what runs of `length` words cover whose key is in `repeated`. first (may be null): for
// each key the number of the window that stays, windows numbered through all texts from `start` on.
void cut_repeats(const Texts& texts, int32_t length, const KeySet& repeated, const int64_t* first, int64_t start,
                 Column& out, int32_t* words_cut);

// A run of words of a text that `keys` holds: bytes [begin, end) of document `text`, and where in the keys.
struct Match {
  int64_t text, begin, end, key;
};

// n-grams of `words` words, letter case, accents and punctuation aside.
void gram_keys(const Texts& texts, int32_t words, std::vector<uint64_t>& keys, std::vector<int64_t>& ends);
// How many words a text has by the same count.
void count_plain_words(const Texts& texts, int64_t* counts);
void find_grams(const Texts& texts, int32_t words, const KeySet& keys, std::vector<Match>& out);

// The key of an address or a domain: letter case, scheme, `www.` and a trailing slash do not count.
uint64_t address_key(string_view address);

// The keys of a block list, an entry a line; `#` starts a comment.
void list_keys(string_view list, std::vector<uint64_t>& keys);

// Ascending, in a few passes over the memory.
void sort_keys(std::vector<uint64_t>& keys);

// The keys of the host of `url` and of every domain above it, but for the top one.
void domain_keys(string_view url, std::vector<uint64_t>& keys);

// Adds the words of all texts to counts[1 << bits].
void count_unigrams(const Texts& texts, int32_t bits, int64_t* counts);

// The Kullback-Leibler divergence of each text's distribution of words from the corpus', in nats.
void divergence(const Texts& texts, int32_t bits, const int64_t* counts, double* out, int32_t* words);

}  // namespace herd
