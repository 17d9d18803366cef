#include "measure.hpp"

#include "kinds.hpp"

#include <algorithm>
#include <unordered_set>

namespace herd {
namespace {

std::vector<std::vector<uint64_t>> stop_words;
std::unordered_set<uint64_t> dirty_words;
size_t longest_dirty = 0;  // words of the longest phrase

// Counts of 64-bit keys; emptied in no time by raising the turn.
class Counts {
 public:
  void start(size_t expected) {
    size_t want = 64;
    while (want < 2 * expected + 2) want *= 2;
    if (want > slots_.size()) slots_.assign(want, {}), turn_ = 0;
    mask_ = want - 1;
    if (++turn_ == 0) {
      std::fill(slots_.begin(), slots_.end(), Slot{});
      turn_ = 1;
    }
  }
  // How often `key` was counted, this time included.
  int32_t add(uint64_t key) {
    size_t at = key & mask_;
    while (slots_[at].turn == turn_ && slots_[at].key != key) at = (at + 1) & mask_;
    Slot& slot = slots_[at];
    if (slot.turn != turn_) slot = {key, turn_, 0};
    return ++slot.count;
  }
  int32_t of(uint64_t key) const {
    size_t at = key & mask_;
    while (slots_[at].turn == turn_ && slots_[at].key != key) at = (at + 1) & mask_;
    return slots_[at].turn == turn_ ? slots_[at].count : 0;
  }

 private:
  struct Slot {
    uint64_t key = 0;
    uint32_t turn = 0;
    int32_t count = 0;
  };
  std::vector<Slot> slots_;
  size_t mask_ = 0;
  uint32_t turn_ = 0;
};

int32_t count_characters(string_view s) {
  int32_t found = 0;
  for (char c : s) found += (uint8_t(c) & 0xC0) != 0x80;
  return found;
}

bool starts_with(string_view s, string_view what) { return s.substr(0, what.size()) == what; }
bool ends_with(string_view s, string_view what) {
  return s.size() >= what.size() && s.substr(s.size() - what.size()) == what;
}

string_view strip_left(string_view s) {
  while (!s.empty() && is_space(s.front())) s.remove_prefix(1);
  return s;
}
string_view strip_right(string_view s) {
  while (!s.empty() && is_space(s.back())) s.remove_suffix(1);
  return s;
}

uint8_t last_class(string_view s) {
  if (s.empty()) return 0;
  size_t at = s.size() - 1;
  while (at > 0 && (uint8_t(s[at]) & 0xC0) == 0x80) --at;
  return rune_class(rune_at(s, at).code);
}

int32_t count_of(string_view text, string_view what) {
  int32_t found = 0;
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + what.size())) ++found;
  return found;
}

// Each of the two letters is looked for once only in every byte: a letter that is far away, or nowhere, is not
// looked for again from every one of the other.
bool holds_lowered(string_view text, string_view what) {
  size_t next[2] = {0, 0};
  for (size_t i = 0; i + what.size() <= text.size(); ++i) {
    for (int k = 0; k < 2; ++k) {
      if (next[k] > i || (next[k] == i && i && text[i] == what[0] - 32 * k)) continue;
      next[k] = std::min(text.find(char(what[0] - 32 * k), i), text.size());
    }
    i = std::min(next[0], next[1]);
    if (i + what.size() <= text.size() && same_word(text.substr(i, what.size()), what)) return true;
  }
  return false;
}

class Measurer {
 public:
  void run(string_view text, int32_t language, double* out) {
    text_ = text;
    out_ = out;
    std::fill(out, out + kStatCount, 0.0);
    split_words(text, words_);
    set(kCharacters, count_characters(text));
    set(kTextBytes, double(text.size()));
    set(kBraces, count_of(text, "{"));
    set(kHashes, count_of(text, "#"));
    set(kEllipses, count_of(text, "...") + count_of(text, "\xE2\x80\xA6"));
    set(kLorem, holds_lowered(text, "lorem ipsum"));
    set(kFormulas, count_formulas(text));
    set(kMathematicalSigns, count_mathematical_signs(text));
    count_words(language);
    count_all_lines();
    count_lines();
    count_paragraphs();
    start_runs();
    for (size_t n = 2; n <= 10; ++n) {
      lengthen_runs(n);
      if (n <= 4) {
        set(Stat(kTop2 + n - 2), top_runs(n));
      } else {
        double found = repeated_runs(n);
        set(Stat(kRepeated5 + n - 5), found);
        if (found == 0) break;  // longer runs hold shorter ones
      }
    }
    set(kSentences, count_sentences(text, words_, 0, words_.size()));
    if (!dirty_words.empty()) set(kDirtyWords, count_dirty());
  }

 private:
  void set(Stat which, double value) { out_[which] = value; }
  void raise(Stat which, double by = 1) { out_[which] += by; }

  void count_words(int32_t language) {
    set(kWords, double(words_.size()));
    const std::vector<uint64_t>* stops =
        language >= 0 && size_t(language) < stop_words.size() ? &stop_words[size_t(language)] : nullptr;
    uint64_t seen = 0;
    for (const Word& word : words_) {
      if (!word.symbol) {
        raise(kPlainWords);
        raise(kPlainCharacters, word.characters);
      }
      if (word.letter) raise(kAlphaWords);
      if (word.upper && word.characters > 1) raise(kShoutedWords);
      out_[kLongestWord] = std::max(out_[kLongestWord], double(word.characters));
      if (stops && word.characters <= 12) {
        for (size_t i = 0; i < stops->size(); ++i) {
          if ((*stops)[i] != word.hash) continue;
          raise(kStopWordUses);
          if (!(seen >> i & 1)) seen |= 1ull << i, raise(kStopWords);
        }
      }
    }
    for (char c : text_) {
      if (is_digit(c)) raise(kDigits);
      if (c >= 'A' && c <= 'Z') raise(kUppercase);
    }
  }

  void count_all_lines() {
    each_line(text_, [&](string_view line) {
      raise(kAllLines);
      string_view left = strip_left(line), right = strip_right(line);
      if (starts_with(left, "\xE2\x80\xA2") || starts_with(left, "-")) raise(kBulletLines);
      if (ends_with(right, "...") || ends_with(right, "\xE2\x80\xA6")) raise(kEllipsisLines);
    });
  }

  // Lines as FineWeb counts them (not blank) and as Gopher's repetition rules do (between runs of newlines).
  void count_lines() {
    set(kNewlines, double(std::count(text_.begin(), text_.end(), '\n')));
    counts_.start(size_t(out_[kNewlines]) + 1);
    bool before = true;
    for (size_t from = 0; from <= text_.size();) {
      size_t to = text_.find('\n', from);
      if (to == text_.npos) to = text_.size();
      string_view line = text_.substr(from, to - from);
      bool blank = strip_left(line).empty();
      if (!blank) {
        raise(kLines);
        if (last_class(line) & kTerminal) raise(kEndedLines);
        int32_t length = count_characters(line);
        if (length <= 30) raise(kShortLines);
        if (length >= 200) raise(kLongLines);
        if (is_code_line(line)) raise(kCodeLines);
      }
      // re.split("\n+") yields empty pieces only at the very ends.
      if (!line.empty() || (from == 0 && before) || to == text_.size()) {
        raise(kSplitLines);
        if (counts_.add(hash_bytes(line)) > 1) {
          raise(kRepeatedLines);
          raise(kRepeatedLineCharacters, count_characters(line));
        }
      }
      before = false;
      from = to + 1;
    }
  }

  void count_paragraphs() {
    string_view text = strip_left(strip_right(text_));
    counts_.start(size_t(out_[kNewlines]) / 2 + 2);
    for (size_t from = 0; from <= text.size();) {
      size_t to = text.find("\n\n", from);
      if (to == text.npos) to = text.size();
      string_view one = text.substr(from, to - from);
      raise(kParagraphs);
      if (counts_.add(hash_bytes(one)) > 1) {
        raise(kRepeatedParagraphs);
        raise(kRepeatedParagraphCharacters, count_characters(one));
      }
      from = to;
      while (from < text.size() && text[from] == '\n') ++from;
      if (to == text.size()) break;
    }
  }

  // ---- runs of words ----

  void start_runs() {
    hashes_.resize(words_.size());
    before_.resize(words_.size() + 1);
    before_[0] = 0;
    for (size_t i = 0; i < words_.size(); ++i) {
      hashes_[i] = chain(0, words_[i].hash);
      before_[i + 1] = before_[i] + words_[i].characters;
    }
  }

  // The hashes of runs of n words from those of n - 1.
  void lengthen_runs(size_t n) {
    for (size_t i = 0; i + n <= words_.size(); ++i) hashes_[i] = chain(hashes_[i], words_[i + n - 1].hash);
  }

  uint64_t run(size_t i) const { return hashes_[i] ^ hashes_[i] >> 29; }
  int64_t run_characters(size_t i, size_t n) const { return before_[i + n] - before_[i]; }

  // Characters inside the most frequent run of n words, spaces between them included.
  double top_runs(size_t n) {
    if (words_.size() < n) return 0;
    counts_.start(words_.size());
    size_t count = words_.size() - n + 1;
    int32_t most = 0;
    for (size_t i = 0; i < count; ++i) most = std::max(most, counts_.add(run(i)));
    size_t first = 0;  // of runs as frequent the one met first
    while (counts_.of(run(first)) != most) ++first;
    return double(most) * double(run_characters(first, n) + int64_t(n) - 1);
  }

  // Characters inside runs of n words that stood before already, none counted twice.
  double repeated_runs(size_t n) {
    if (words_.size() < n) return 0;
    counts_.start(words_.size());
    int64_t found = 0;
    for (size_t i = 0; i + n <= words_.size();) {
      if (counts_.add(run(i)) > 1) {
        found += run_characters(i, n);
        i += n;
      } else {
        ++i;
      }
    }
    return double(found);
  }

  double count_dirty() {
    int32_t found = 0;
    std::vector<uint64_t> plain;
    std::string lowered;
    for (const Word& word : words_) {
      if (word.symbol) continue;
      lowered.clear();
      for (int32_t i = word.begin; i < word.end;) {
        Rune r = rune_at(text_, size_t(i));
        put_rune(lowered, rune_lower(r.code));
        i += r.bytes;
      }
      plain.push_back(hash_bytes(lowered));
    }
    for (size_t i = 0; i < plain.size(); ++i) {
      uint64_t h = 0;
      for (size_t n = 0; n < longest_dirty && i + n < plain.size(); ++n) {
        h = chain(h, plain[i + n]);
        found += int32_t(dirty_words.count(h));
      }
    }
    return found;
  }

  string_view text_;
  double* out_ = nullptr;
  std::vector<Word> words_;
  std::vector<uint64_t> hashes_;
  std::vector<int64_t> before_;  // characters in the words before each
  Counts counts_;
};

}  // namespace

// A sentence goes on to the next word after its marks.
int32_t count_sentences(string_view text, const std::vector<Word>& words, size_t from, size_t to) {
  if (from >= to) return 0;
  int32_t found = 1;
  bool ended = false;
  for (size_t i = from; i < to; ++i) {
    string_view word = text.substr(size_t(words[i].begin), size_t(words[i].end - words[i].begin));
    bool mark = words[i].symbol && last_class(word) & kTerminal && (word.size() == 1 || uint8_t(word[0]) >= 0x80);
    if (mark) {
      ended = true;
    } else if (ended && !words[i].symbol) {
      ++found;
      ended = false;
    }
  }
  return found;
}

void set_stop_words(std::vector<std::vector<uint64_t>> hashes) { stop_words = std::move(hashes); }

void set_dirty_words(const std::vector<std::string>& phrases) {
  dirty_words.clear();
  longest_dirty = 0;
  std::vector<Word> words;
  for (const std::string& phrase : phrases) {
    split_words(phrase, words);
    uint64_t h = 0;
    size_t length = 0;
    for (const Word& word : words) {
      if (word.symbol) continue;
      h = chain(h, hash_bytes({phrase.data() + word.begin, size_t(word.end - word.begin)}));
      ++length;
    }
    if (!length) continue;
    dirty_words.insert(h);
    longest_dirty = std::max(longest_dirty, length);
  }
}

void measure(const Texts& texts, const int32_t* languages, double* values) {
  Measurer measurer;
  for (int64_t i = 0; i < texts.count; ++i) measurer.run(texts[i], languages[i], values + i * kStatCount);
}

}  // namespace herd
