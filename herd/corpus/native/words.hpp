// Characters and words as the filters of the literature count them.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "text.hpp"

namespace herd {

enum RuneClass : uint8_t {
  kLetter = 1,
  kSymbol = 2,     // punctuation; a word of nothing else is no word
  kUpper = 4,
  kDigit = 8,
  kMark = 16,      // combines with the character before it
  kTerminal = 32,  // ends a sentence
  kBlank = 64,
  kIdeograph = 128,  // written without spaces between words
};

// Classes and lower-case forms of the first `count` code points, given once by the caller.
void set_runes(const uint8_t* classes, const uint32_t* lowered, int32_t count);

uint8_t rune_class(uint32_t code);
uint32_t rune_lower(uint32_t code);

uint64_t hash_bytes(string_view bytes);

inline uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  return x ^ x >> 32;
}

struct Word {
  uint64_t hash;
  int32_t characters;
  int32_t begin, end;  // bytes in the text
  bool letter;         // holds one
  bool symbol;         // holds nothing but symbols
  bool upper;          // all its letters are capitals
};

// Splits as spaCy's English rules do where they matter for counting: punctuation is a word of its own,
// contractions and hyphenated words are split, addresses and numbers are not.
void split_words(string_view text, std::vector<Word>& out);

// Scripts that write no blanks between words, beside those whose every character is a word: Thai, Lao, Tibetan,
// Burmese and Khmer.
inline bool is_unspaced(uint32_t code) {
  return code >= 0x0E00 && code <= 0x17FF && (code <= 0x109F || code >= 0x1780);
}

// As split_words does, but in scripts without blanks a letter with its marks is a word: what texts share is looked for
// wherever it stands between others.
void split_finely(string_view text, std::vector<Word>& out);

inline uint64_t chain(uint64_t before, uint64_t word) { return (before ^ word) * 0x9E3779B97F4A7C15ull + 1; }

// Every line, split where Python's str.splitlines splits.
template <typename Use>
void each_line(string_view text, Use use) {
  size_t from = 0;
  while (from < text.size()) {
    size_t to = from;
    size_t length = 0;
    for (; to < text.size(); ++to) {
      auto c = uint8_t(text[to]);
      if (c > 0x1E && c < 0xC2) continue;
      if (c == '\r') {
        length = to + 1 < text.size() && text[to + 1] == '\n' ? 2 : 1;
      } else if (c == '\n' || c == '\v' || c == '\f' || (c >= 0x1C && c <= 0x1E)) {
        length = 1;
      } else if (c == 0xC2 && to + 1 < text.size() && uint8_t(text[to + 1]) == 0x85) {
        length = 2;
      } else if (c == 0xE2 && to + 2 < text.size() && uint8_t(text[to + 1]) == 0x80 &&
                 (uint8_t(text[to + 2]) == 0xA8 || uint8_t(text[to + 2]) == 0xA9)) {
        length = 3;
      }
      if (length) break;
    }
    use(text.substr(from, to - from));
    from = to + length;
  }
}

}  // namespace herd
