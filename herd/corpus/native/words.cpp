#include "words.hpp"

#include <algorithm>

namespace herd {
namespace {

std::vector<uint8_t> classes;
std::vector<uint32_t> lowered;

class Splitter {
 public:
  Splitter(string_view text, std::vector<Word>& out) : text_(text), out_(out) {}

  void run() {
    size_t i = 0;
    while (i < text_.size()) {
      int bytes = blank_at(i);
      if (bytes) {
        i += size_t(bytes);
        continue;
      }
      size_t to = i;
      while (to < text_.size() && !blank_at(to)) to += size_t(step(to));
      chunk(i, to);
      i = to;
    }
  }

 private:
  int step(size_t i) const { return uint8_t(text_[i]) < 0x80 ? 1 : rune_at(text_, i).bytes; }

  int blank_at(size_t i) const {
    auto c = uint8_t(text_[i]);
    if (c < 0x80) return is_space(char(c)) || (c >= 0x1C && c <= 0x1F) ? 1 : 0;
    if (c != 0xC2 && c != 0xE1 && c != 0xE2 && c != 0xE3) return 0;
    Rune r = rune_at(text_, i);
    return rune_class(r.code) & kBlank ? r.bytes : 0;
  }

  uint8_t class_at(size_t i) const {
    auto c = uint8_t(text_[i]);
    return rune_class(c < 0x80 ? c : rune_at(text_, i).code);
  }

  size_t before(size_t i) const {
    do --i;
    while (i > 0 && (uint8_t(text_[i]) & 0xC0) == 0x80);
    return i;
  }

  void chunk(size_t from, size_t to) {
    bool plain = true;
    for (size_t i = from; i < to && plain; ++i) plain = is_alpha(text_[i]);
    if (plain) return add_plain(from, to);
    string_view whole = text_.substr(from, to - from);
    bool address = whole.find("://") != whole.npos || whole.substr(0, 4) == "www.";
    from = prefixes(from, to);
    size_t end = suffixes(from, to, address);
    if (from < end) {
      if (address || whole.find('@') != whole.npos) {
        add(from, end);
      } else {
        inside(from, end);
      }
    }
    tails(end, to);
  }

  size_t prefixes(size_t from, size_t to) {
    while (from < to) {
      size_t dots = run_of_dots(from, to);
      if (dots >= 2) {
        add(from, from + dots);
        from += dots;
        continue;
      }
      uint8_t kind = class_at(from);
      char c = text_[from];
      if (!(kind & kSymbol) || string_view(".@/-\\~^|").find(c) != string_view::npos ||
          (c == '+' && from + 1 < to && is_digit(text_[from + 1])))
        break;
      size_t next = from + size_t(step(from));
      add(from, next);
      from = next;
    }
    return from;
  }

  size_t run_of_dots(size_t from, size_t to) const {
    size_t end = from;
    while (end < to && text_[end] == '.') ++end;
    return end - from;
  }

  // Where the punctuation and contractions at the end begin.
  size_t suffixes(size_t from, size_t to, bool address) const {
    while (to > from) {
      size_t last = before(to);
      char c = text_[last];
      if (size_t length = contraction(from, to)) {
        to -= length;
        continue;
      }
      if (!(class_at(last) & kSymbol) || string_view("@-/\\~^=|").find(c) != string_view::npos) break;
      if ((c == '%' || c == '$') && !(last > from && is_digit(text_[last - 1]))) break;
      if (address && c == '/') break;
      if (c == '.' && last > from && !splits_dot(from, last)) break;
      if (c == '+' && !(last > from && is_digit(text_[last - 1]))) break;
      to = last;
    }
    return to;
  }

  // `U.S.` and `J.` keep their dot, `end.` and `2019.` do not.
  bool splits_dot(size_t from, size_t dot) const {
    char c = text_[dot - 1];
    if (c == '.') return true;
    if (c >= 'A' && c <= 'Z') return dot - from >= 2 && text_[dot - 2] >= 'A' && text_[dot - 2] <= 'Z';
    // Abbreviations hold a dot themselves: `a.m.`, `e.g.`
    return !(dot - from >= 3 && text_[dot - 2] == '.' && is_alpha(c));
  }

  // The length of 's, n't and their like at the end; 0 for none.
  size_t contraction(size_t from, size_t to) const {
    for (size_t back = 1; back <= 3 && to - from > back; ++back) {
      size_t at = to - back;
      if (!is_alpha(text_[at])) {
        size_t mark = text_[at] == '\'' ? 1 : ends_with_quote(at + 1, from) ? 3 : 0;
        if (!mark || at + 1 - mark <= from) return 0;
        string_view tail = text_.substr(at + 1, to - at - 1);
        size_t start = at + 1 - mark;
        if (same_word(tail, "t") && start > from + 1 && lower(text_[start - 1]) == 'n') return to - start + 1;
        for (string_view one : {"s", "m", "d", "re", "ve", "ll"})
          if (same_word(tail, one)) return to - start;
        return 0;
      }
    }
    return 0;
  }

  bool ends_with_quote(size_t end, size_t from) const {
    return end >= from + 3 && text_.substr(end - 3, 3) == "\xE2\x80\x99";
  }

  // Hyphens, slashes, commas and dots between words.
  void inside(size_t from, size_t to) {
    size_t start = from;
    for (size_t i = from; i < to;) {
      int bytes = step(i);
      char c = text_[i];
      if (uint8_t(c) >= 0xE3 && class_at(i) & kIdeograph) {  // every character is a word
        if (start < i) add(start, i);
        add(i, i + size_t(bytes));
        i += size_t(bytes);
        start = i;
        continue;
      }
      if (i > from && i + size_t(bytes) < to && (uint8_t(c) >= 0x80 || !(is_alpha(c) || is_digit(c)))) {
        if (size_t length = infix(from, i, to, size_t(bytes))) {
          if (start < i) add(start, i);
          add(i, i + length);
          i += length;
          start = i;
          continue;
        }
      }
      i += size_t(bytes);
    }
    if (start < to) add(start, to);
  }

  size_t infix(size_t from, size_t i, size_t to, size_t bytes) {
    char c = text_[i];
    if (c == '.') {
      size_t dots = run_of_dots(i, to);
      if (dots >= 2) return dots;
      return text_[i - 1] >= 'a' && text_[i - 1] <= 'z' && text_[i + 1] >= 'A' && text_[i + 1] <= 'Z' ? 1 : 0;
    }
    bool left = class_at(before_in(i, from)) & kLetter, right = class_at(i + bytes) & kLetter;
    bool left_digit = is_digit(text_[i - 1]), right_digit = is_digit(text_[i + bytes]);
    if (c == '-' || c == '~') {
      // A run that splits nothing is counted once, not again from every mark in it.
      if (i >= run_end_ || text_[run_end_ - 1] != c) {
        run_end_ = i + 1;
        while (run_end_ < to && text_[run_end_] == c) ++run_end_;
      }
      size_t run = run_end_ - i;
      bool after = i + run < to && class_at(i + run) & kLetter;
      if ((left || left_digit) && after) return run;
      return c == '-' && left_digit && (right_digit || text_[i + 1] == '-') ? 1 : 0;
    }
    if (c == ',' || c == ';') return left && right ? 1 : 0;
    if (c == ':' || c == '<' || c == '>' || c == '=' || c == '/') return (left || left_digit) && right ? 1 : 0;
    if (c == '+' || c == '*' || c == '^') return left_digit && right_digit ? 1 : 0;
    if (bytes == 3 && uint8_t(c) == 0xE2 && uint8_t(text_[i + 1]) == 0x80) {
      auto third = uint8_t(text_[i + 2]);
      if (third == 0x93 || third == 0x94) return (left || left_digit) && right ? 3 : 0;  // dashes
      if (third == 0xA6) return 3;                                       // an ellipsis
    }
    return 0;
  }

  size_t before_in(size_t i, size_t from) const { return std::max(from, before(i)); }

  void tails(size_t from, size_t to) {
    while (from < to) {
      size_t dots = run_of_dots(from, to);
      size_t next = dots >= 2 ? from + dots : from + size_t(step(from));
      if (text_[from] == '\'' || text_.substr(from, 3) == "\xE2\x80\x99" || is_alpha(text_[from])) {
        if (size_t length = contraction_from(from, to)) next = from + length;
      }
      add(from, next);
      from = next;
    }
  }

  size_t contraction_from(size_t from, size_t to) const {
    size_t at = from;
    if (is_alpha(text_[at])) ++at;  // the n of n't
    size_t mark = at < to && text_[at] == '\'' ? 1 : text_.substr(at, 3) == "\xE2\x80\x99" ? 3 : 0;
    if (!mark) return 0;
    at += mark;
    size_t letters = at;
    while (at < to && is_alpha(text_[at])) ++at;
    return at > letters ? at - from : 0;
  }

  // A word of ASCII letters only, as most are.
  void add_plain(size_t from, size_t to) {
    Word word;
    word.begin = int32_t(from);
    word.end = int32_t(to);
    word.hash = hash_bytes(text_.substr(from, to - from));
    word.characters = int32_t(to - from);
    word.letter = true;
    word.symbol = false;
    word.upper = true;
    for (size_t i = from; i < to && word.upper; ++i) word.upper = text_[i] < 'a';
    out_.push_back(word);
  }

  void add(size_t from, size_t to) {
    Word word;
    word.begin = int32_t(from);
    word.end = int32_t(to);
    word.hash = hash_bytes(text_.substr(from, to - from));
    word.characters = 0;
    word.letter = word.upper = false;
    word.symbol = true;
    bool lower_case = false;
    for (size_t i = from; i < to;) {
      auto c = uint8_t(text_[i]);
      Rune r = c < 0x80 ? Rune{c, 1} : rune_at(text_, i);
      uint8_t kind = rune_class(r.code);
      if (kind & kLetter) {
        word.letter = true;
        if (!(kind & kUpper)) lower_case = true;
      }
      if (!(kind & kSymbol)) word.symbol = false;
      ++word.characters;
      i += size_t(r.bytes);
    }
    word.upper = word.letter && !lower_case;
    out_.push_back(word);
  }

  string_view text_;
  std::vector<Word>& out_;
  size_t run_end_ = 0;  // of the run of hyphens or tildes met last
};

}  // namespace

void set_runes(const uint8_t* given_classes, const uint32_t* given_lowered, int32_t count) {
  classes.assign(given_classes, given_classes + count);
  lowered.assign(given_lowered, given_lowered + count);
}

uint8_t rune_class(uint32_t code) {
  if (code < classes.size()) return classes[code];
  if (code >= 0xFE10 && code <= 0xFE6F) return kSymbol;
  if (code >= 0xFF00 && code <= 0xFF0F)
    return code == 0xFF01 || code == 0xFF0E ? kSymbol | kTerminal : kSymbol;
  if (code == 0xFF1F || code == 0xFF61) return kSymbol | kTerminal;
  if (code >= 0xFF10 && code <= 0xFF19) return kDigit;
  if (code >= 0xFF1A && code <= 0xFF20) return kSymbol;
  if (code >= 0xD800 && code <= 0xF8FF) return 0;
  if (code >= 0x1F000 && code <= 0x1FAFF) return 0;
  if (code == 0xFEFF || code >= 0xE0000) return 0;
  if ((code >= 0x3400 && code <= 0x9FFF) || (code >= 0x20000 && code <= 0x3FFFF)) return kLetter | kIdeograph;
  return kLetter;
}

uint32_t rune_lower(uint32_t code) { return code < lowered.size() ? lowered[code] : code; }

uint64_t hash_bytes(string_view s) {
  const uint64_t k = 0x9FB21C651E98DF25ull;
  uint64_t h = s.size() * k, word;
  size_t i = 0;
  for (; i + 8 <= s.size(); i += 8) {
    std::memcpy(&word, s.data() + i, 8);
    h = (h ^ word) * k;
    h ^= h >> 35;
  }
  word = 0;
  for (size_t j = 0; i + j < s.size(); ++j) word |= uint64_t(uint8_t(s[i + j])) << (8 * j);
  h = (h ^ word) * k;
  return mix(h);
}

void split_words(string_view text, std::vector<Word>& out) {
  out.clear();
  Splitter(text, out).run();
}

namespace {

bool is_fine(uint32_t code) {
  return is_unspaced(code) || (code >= 0x3040 && rune_class(code) & kIdeograph);
}

// Adds the letters of a word in a script without blanks, each with its marks; says whether it is one.
bool add_letters(string_view text, const Word& word, std::vector<Word>& out) {
  bool any = false;
  for (int32_t i = word.begin; i < word.end && !any; i += rune_at(text, size_t(i)).bytes)
    any = uint8_t(text[size_t(i)]) >= 0xE0 && is_fine(rune_at(text, size_t(i)).code);
  if (!any) return false;
  Word letter = word;
  letter.end = word.begin;
  letter.characters = 0;
  auto close = [&] {
    if (letter.end > letter.begin) {
      letter.hash = hash_bytes(text.substr(size_t(letter.begin), size_t(letter.end - letter.begin)));
      out.push_back(letter);
    }
    letter.begin = letter.end;
    letter.characters = 0;
  };
  bool before = false;
  for (int32_t i = word.begin; i < word.end;) {
    Rune r = rune_at(text, size_t(i));
    bool fine = is_fine(r.code);
    // What stands between them in another script, or a number, stays one word.
    if ((fine || before) && !(rune_class(r.code) & kMark)) close();
    before = fine;
    i += r.bytes;
    letter.end = i;
    ++letter.characters;
  }
  close();
  return true;
}

}  // namespace

void split_finely(string_view text, std::vector<Word>& out) {
  split_words(text, out);
  size_t first = 0;  // words before it need no splitting
  while (first < out.size() && out[first].characters == out[first].end - out[first].begin) ++first;
  if (first == out.size()) return;
  thread_local std::vector<Word> whole;
  whole.assign(out.begin() + std::ptrdiff_t(first), out.end());
  out.resize(first);
  for (const Word& word : whole)
    if (word.characters < 2 || !add_letters(text, word, out)) out.push_back(word);
}

}  // namespace herd
