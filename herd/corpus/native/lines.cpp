#include "lines.hpp"

#include <algorithm>
#include <unordered_map>

#include "measure.hpp"

namespace herd {
namespace {

const string_view kPolicies[] = {"terms of use", "privacy policy", "cookie policy",
                                 "uses cookies", "use of cookies", "use cookies"};
const string_view kCalls[] = {"items in cart", "read more", "sign-in", "sign in"};
const string_view kCounted[] = {"likes", "like", "shares", "share", "comments", "comment", "retweets", "views",
                                "view", "reposts", "quotes", "bookmarks", "upvotes", "downvotes", "downloads",
                                "followers"};

std::string lower_ascii(string_view s) {
  std::string out(s);
  for (char& c : out) c = lower(c);
  return out;
}

string_view trim(string_view s) {
  auto blank = [](string_view t, bool front) -> size_t {
    size_t at = 0;
    if (!front) {
      at = t.size() - 1;
      while (at > 0 && (uint8_t(t[at]) & 0xC0) == 0x80) --at;
    }
    Rune r = rune_at(t, at);
    return rune_class(r.code) & kBlank || is_space(t[at]) ? size_t(r.bytes) : 0;
  };
  while (!s.empty()) {
    size_t bytes = blank(s, true);
    if (!bytes) break;
    s.remove_prefix(bytes);
  }
  while (!s.empty()) {
    size_t bytes = blank(s, false);
    if (!bytes) break;
    s.remove_suffix(bytes);
  }
  return s;
}

class Cleaner {
 public:
  Cleaner(const LineRules& rules, Column& out) : rules_(rules), out_(out) {}

  void run(string_view text, double* edits) {
    edits_ = edits;
    std::fill(edits, edits + kEditCount, 0.0);
    if (rules_.covered_percent) count_runs(text);
    size_t start = out_.data.size();
    each_line(text, [&](string_view line) { judge(trim(line)); });
    while (out_.data.size() > start && is_space(out_.data.back())) out_.data.pop_back();
    out_.end();
  }

 private:
  void raise(Edit which, double by = 1) { edits_[which] += by; }

  void judge(string_view line) {
    raise(kLinesIn);
    split_at_spaces(line);
    double words = double(spans_.size());
    raise(kWordsIn, words);
    if (line.empty()) {
      if (!out_.data.empty() && out_.data.size() > size_t(out_.offsets.back())) blank_ = true;
      return;
    }
    if (rules_.longest_word && std::any_of(spans_.begin(), spans_.end(), [&](string_view word) {
          return int32_t(word.size()) > rules_.longest_word && characters(word) > rules_.longest_word;
        }))
      return raise(kLongWord);
    held_ = line;
    if (rules_.citations && line.find('[') != line.npos) drop_citations();
    if (rules_.ended_only && !is_ended()) return raise(kUnended);
    if (rules_.min_words && words < rules_.min_words) return raise(kFewWords);
    lowered_ = lower_ascii(held_);
    if (lowered_.find("lorem ipsum") != std::string::npos) raise(kLineLorem);
    if (rules_.javascript && lowered_.find("javascript") != std::string::npos) return raise(kJavascript);
    if (held_.find('{') != std::string::npos) raise(kLineBraces);
    if (rules_.policies && std::any_of(std::begin(kPolicies), std::end(kPolicies), [&](string_view policy) {
          return lowered_.find(policy) != std::string::npos;
        }))
      return raise(kPolicy);
    if (rules_.uppercase_percent && capitals()) return raise(kCapitals);
    if (rules_.numbers && only_digits()) return raise(kNumber);
    if (rules_.counters && is_counter()) return raise(kCounter);
    if (rules_.calls && words <= 10 && drop_call()) return raise(kCall);
    if (rules_.covered_percent && is_covered()) return raise(kCovered);
    keep();
  }

  void keep() {
    std::vector<Word>& words = words_;
    split_words(held_, words);
    raise(kLineSentences, count_sentences(held_, words, 0, words.size()));
    split_at_spaces(held_);
    raise(kWordsOut, double(spans_.size()));
    if (out_.data.size() > size_t(out_.offsets.back())) out_.data += blank_ ? "\n\n" : "\n";
    blank_ = false;
    out_.data += held_;
  }

  static int32_t characters(string_view s) {
    int32_t found = 0;
    for (char c : s) found += (uint8_t(c) & 0xC0) != 0x80;
    return found;
  }

  void split_at_spaces(string_view line) {
    spans_.clear();
    size_t from = 0;
    for (size_t i = 0; i <= line.size();) {
      bool end = i == line.size();
      int bytes = 1;
      bool blank = end;
      if (!end) {
        auto c = uint8_t(line[i]);
        if (c < 0x80) {
          blank = is_space(char(c));
        } else if (c == 0xC2 || (c >= 0xE1 && c <= 0xE3)) {
          Rune r = rune_at(line, i);
          bytes = r.bytes;
          blank = rune_class(r.code) & kBlank;
        }
      }
      if (blank) {
        if (i > from) spans_.push_back(line.substr(from, i - from));
        from = i + size_t(bytes);
      }
      i += size_t(bytes);
    }
  }

  // [12], [edit] and [citation needed]
  void drop_citations() {
    std::string out;
    for (size_t i = 0; i < held_.size();) {
      if (held_[i] == '[') {
        size_t to = i + 1;
        while (to < held_.size() && is_digit(held_[to])) ++to;
        string_view rest = string_view(held_).substr(i);
        if (to < held_.size() && held_[to] == ']') {
          i = to + 1;
          continue;
        }
        size_t length = rest.substr(0, 6) == "[edit]" ? 6 : rest.substr(0, 17) == "[citation needed]" ? 17 : 0;
        if (length) {
          i += length;
          continue;
        }
      }
      out += held_[i++];
    }
    held_ = std::move(out);
  }

  bool is_ended() const {
    if (held_.empty()) return false;
    string_view s = held_;
    if (s.size() >= 3 && s.substr(s.size() - 3) == "...") return false;
    return string_view(".?!\"'").find(s.back()) != string_view::npos;
  }

  bool capitals() const {
    int32_t upper = 0, letters = 0;
    for (size_t i = 0; i < held_.size();) {
      Rune r = rune_at(held_, i);
      uint8_t kind = rune_class(r.code);
      ++letters;
      upper += (kind & kUpper) != 0;
      i += size_t(r.bytes);
    }
    return 100 * upper > rules_.uppercase_percent * letters;
  }

  bool only_digits() const {
    bool digit = false;
    for (char c : held_) {
      if (is_digit(c)) digit = true;
      else if (!is_space(c) && c != '.' && c != ',') return false;
    }
    return digit;
  }

  bool is_counter() const {
    size_t i = 0;
    while (i < lowered_.size() && (is_digit(lowered_[i]) || lowered_[i] == '.' || lowered_[i] == ',')) ++i;
    if (i == 0) return false;
    if (i < lowered_.size() && (lowered_[i] == 'k' || lowered_[i] == 'm')) ++i;
    while (i < lowered_.size() && is_space(lowered_[i])) ++i;
    string_view rest = string_view(lowered_).substr(i);
    return std::any_of(std::begin(kCounted), std::end(kCounted), [&](string_view word) { return rest == word; });
  }

  // Takes `Read more...` off the end of a short line; says whether nothing is left.
  bool drop_call() {
    for (string_view call : kCalls) {
      size_t at = lowered_.find(call);
      if (at == std::string::npos) continue;
      bool start = at == 0 && call.substr(0, 4) == "sign";
      size_t end = at + call.size();
      while (end < lowered_.size() && (lowered_[end] == '.' || is_space(lowered_[end]))) ++end;
      if (!start && end < lowered_.size() && call != "items in cart") continue;
      held_.erase(at, end - at);
      held_ = std::string(trim(held_));
      return held_.empty();
    }
    return false;
  }

  // ---- duplicated n-gram coverage ----

  void count_runs(string_view text) {
    runs_.clear();
    split_words(text, words_);
    size_t n = size_t(rules_.covered_run);
    for (size_t i = 0; i + n <= words_.size(); ++i) ++runs_[run(i, n)];
  }

  // Numbers differ from line to line of a log; they count as one.
  uint64_t run(size_t i, size_t n) const {
    uint64_t h = 0;
    for (size_t k = i; k < i + n; ++k) h = chain(h, words_[k].letter ? words_[k].hash : 1);
    return h;
  }

  bool is_covered() {
    split_words(held_, words_);
    size_t n = size_t(rules_.covered_run);
    if (words_.size() < n) return false;
    int32_t covered = 0, all = 0;
    size_t end = 0;
    for (size_t i = 0; i < words_.size(); ++i) {
      if (i + n <= words_.size()) {
        auto found = runs_.find(run(i, n));
        if (found != runs_.end() && found->second > 1) end = i + n;
      }
      all += words_[i].characters;
      if (i < end) covered += words_[i].characters;
    }
    return 100 * covered > rules_.covered_percent * all;
  }

  const LineRules& rules_;
  Column& out_;
  double* edits_ = nullptr;
  bool blank_ = false;
  std::string held_, lowered_;
  std::vector<string_view> spans_;
  std::vector<Word> words_;
  std::unordered_map<uint64_t, int32_t> runs_;
};

}  // namespace

void clean_lines(const Texts& texts, const LineRules& rules, Column& out, double* edits) {
  Cleaner cleaner(rules, out);
  for (int64_t i = 0; i < texts.count; ++i) cleaner.run(texts[i], edits + i * kEditCount);
}

}  // namespace herd
