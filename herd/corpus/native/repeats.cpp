#include "repeats.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace herd {

KeySet::KeySet(const uint64_t* keys, int64_t count) : keys_(keys) {
  int bits = 0;
  while (bits < 22 && (int64_t(1) << bits) < count) ++bits;
  shift_ = 64 - bits;
  starts_.assign((size_t(1) << bits) + 1, count);
  int64_t at = 0;
  for (size_t head = 0; head + 1 < starts_.size(); ++head) {
    while (at < count && bits && keys[at] >> shift_ < head) ++at;
    starts_[head] = bits ? at : 0;
  }
}

int64_t KeySet::find(uint64_t key) const {
  size_t head = shift_ == 64 ? 0 : size_t(key >> shift_);
  const uint64_t* from = keys_ + starts_[head];
  const uint64_t* to = keys_ + starts_[head + 1];
  const uint64_t* found = std::lower_bound(from, to, key);
  return found != to && *found == key ? found - keys_ : -1;
}

uint64_t line_key(string_view line) {
  uint64_t h = 0;
  for (size_t i = 0; i < line.size();) {
    Rune r = rune_at(line, i);
    i += size_t(r.bytes);
    uint8_t kind = rune_class(r.code);
    if (kind & (kSymbol | kBlank) || r.code < 0x20) continue;
    h = chain(h, kind & kDigit ? '0' : rune_lower(r.code));
  }
  return h ? mix(h) : 0;
}

void line_keys(const Texts& texts, std::vector<uint64_t>& keys, std::vector<int64_t>& ends) {
  for (int64_t i = 0; i < texts.count; ++i) {
    each_line(texts[i], [&](string_view line) {
      if (uint64_t key = line_key(line)) keys.push_back(key);
    });
    ends.push_back(int64_t(keys.size()));
  }
}

void drop_lines(const Texts& texts, const KeySet& drop, Column& out, int32_t* lines_dropped) {
  for (int64_t i = 0; i < texts.count; ++i) {
    size_t start = out.data.size();
    bool blank = false;
    lines_dropped[i] = 0;
    each_line(texts[i], [&](string_view line) {
      uint64_t key = line_key(line);
      if (key && drop.find(key) >= 0) {
        ++lines_dropped[i];
        return;
      }
      if (line.empty()) {
        blank = true;
        return;
      }
      if (out.data.size() > start) out.data += blank ? "\n\n" : "\n";
      blank = false;
      out.data.append(line);
    });
    out.end();
  }
}

namespace {

// Marks where a line may break or two letters may join; no reader sees them.
bool is_invisible(uint32_t code) {
  return code == 0xAD || code == 0xFEFF || (code >= 0x200B && code <= 0x200F) || (code >= 0x2060 && code <= 0x2064);
}

uint64_t window(const std::vector<Word>& words, size_t i, size_t length) {
  uint64_t h = 0;
  for (size_t k = i; k < i + length; ++k) h = chain(h, words[k].hash);
  return mix(h);
}

// The windows of one text; rolling, so that long windows cost no more than short ones.
template <typename Use>
void each_window(const std::vector<Word>& words, size_t length, Use use) {
  const uint64_t base = 0x9E3779B97F4A7C15ull;
  if (words.size() < length) return;
  uint64_t power = 1, h = 0;
  for (size_t k = 0; k < length; ++k) {
    h = h * base + words[k].hash;
    if (k + 1 < length) power *= base;
  }
  for (size_t i = 0;; ++i) {
    use(i, mix(h));
    if (i + length >= words.size()) return;
    h = (h - words[i].hash * power) * base + words[i + length].hash;
  }
}

// Words with case, accents and punctuation folded away; those of nothing else are left out.
void plain_words(string_view text, std::vector<Word>& out) {
  split_finely(text, out);
  size_t kept = 0;
  std::string lowered;
  for (Word& word : out) {
    if (word.symbol) continue;
    lowered.clear();
    for (int32_t i = word.begin; i < word.end;) {
      Rune r = rune_at(text, size_t(i));
      if (!(rune_class(r.code) & kSymbol) && !is_invisible(r.code)) put_rune(lowered, rune_lower(r.code));
      i += r.bytes;
    }
    if (lowered.empty()) continue;
    word.hash = hash_bytes(lowered);
    out[kept++] = word;
  }
  out.resize(kept);
}

}  // namespace

void window_keys(const Texts& texts, int32_t length, std::vector<uint64_t>& keys, std::vector<int64_t>& ends) {
  std::vector<Word> words;
  for (int64_t i = 0; i < texts.count; ++i) {
    split_finely(texts[i], words);
    each_window(words, size_t(length), [&](size_t, uint64_t key) { keys.push_back(key); });
    ends.push_back(int64_t(keys.size()));
  }
}

void cut_repeats(const Texts& texts, int32_t length, const KeySet& repeated, const int64_t* first, int64_t start,
                 Column& out, int32_t* words_cut) {
  std::vector<Word> words;
  for (int64_t i = 0; i < texts.count; ++i) {
    string_view text = texts[i];
    split_finely(text, words);
    size_t covered_to = 0;  // words before it are covered
    size_t copied = 0;      // bytes before it are dealt with
    int32_t cut = 0;
    size_t begin = out.data.size();
    auto close = [&](size_t from_word, size_t to_word) {
      auto from = size_t(words[from_word].begin), to = size_t(words[to_word - 1].end);
      out.data.append(text.substr(copied, from - copied));
      copied = to;
      cut += int32_t(to_word - from_word);
    };
    size_t open = 0;
    bool inside = false;
    each_window(words, size_t(length), [&](size_t at, uint64_t key) {
      int64_t found = repeated.find(key);
      int64_t number = start++;
      if (found < 0 || (first && first[found] == number)) return;
      if (inside && at > covered_to) close(open, covered_to), inside = false;
      if (!inside) open = at, inside = true;
      covered_to = at + size_t(length);
    });
    if (inside) close(open, covered_to);
    out.data.append(text.substr(copied));
    // What is left of the blanks round a cut.
    if (cut) {
      size_t end = out.data.size();
      while (end > begin && is_space(out.data[end - 1])) --end;
      out.data.resize(end);
      size_t lead = begin;
      while (lead < end && is_space(out.data[lead])) ++lead;
      out.data.erase(begin, lead - begin);
    }
    out.end();
    words_cut[i] = cut;
  }
}

void gram_keys(const Texts& texts, int32_t n, std::vector<uint64_t>& keys, std::vector<int64_t>& ends) {
  std::vector<Word> words;
  for (int64_t i = 0; i < texts.count; ++i) {
    plain_words(texts[i], words);
    for (size_t k = 0; k + size_t(n) <= words.size(); ++k) keys.push_back(window(words, k, size_t(n)));
    ends.push_back(int64_t(keys.size()));
  }
}

void count_plain_words(const Texts& texts, int64_t* counts) {
  std::vector<Word> words;
  for (int64_t i = 0; i < texts.count; ++i) {
    plain_words(texts[i], words);
    counts[i] = int64_t(words.size());
  }
}

void find_grams(const Texts& texts, int32_t n, const KeySet& keys, std::vector<Match>& out) {
  std::vector<Word> words;
  for (int64_t i = 0; i < texts.count; ++i) {
    plain_words(texts[i], words);
    for (size_t k = 0; k + size_t(n) <= words.size(); ++k) {
      int64_t found = keys.find(window(words, k, size_t(n)));
      if (found >= 0) out.push_back({i, words[k].begin, words[k + size_t(n) - 1].end, found});
    }
  }
}

namespace {

string_view bare(string_view address) {
  while (!address.empty() && is_space(address.front())) address.remove_prefix(1);
  while (!address.empty() && (is_space(address.back()) || address.back() == '/')) address.remove_suffix(1);
  size_t colon = address.substr(0, 12).find("://");
  if (colon != address.npos) address.remove_prefix(colon + 3);
  if (address.size() > 4 && same_word(address.substr(0, 4), "www.")) address.remove_prefix(4);
  return address;
}

uint64_t lowered_key(string_view text) {
  char held[256];
  if (text.size() <= sizeof held) {
    for (size_t i = 0; i < text.size(); ++i) held[i] = lower(text[i]);
    return hash_bytes({held, text.size()});
  }
  std::string lowered(text);
  for (char& c : lowered) c = lower(c);
  return hash_bytes(lowered);
}

}  // namespace

uint64_t address_key(string_view address) { return lowered_key(bare(address)); }

void list_keys(string_view list, std::vector<uint64_t>& keys) {
  for (size_t from = 0; from < list.size();) {
    size_t to = std::min(list.find('\n', from), list.size());
    string_view line = list.substr(from, to - from);
    if (std::memchr(line.data(), '#', line.size())) line = line.substr(0, line.find('#'));
    string_view entry = bare(line);
    if (!entry.empty()) keys.push_back(lowered_key(entry));
    from = to + 1;
  }
}

void sort_keys(std::vector<uint64_t>& keys) {
  std::vector<uint64_t> other(keys.size());
  for (int shift = 0; shift < 64; shift += 11) {
    size_t counts[2049] = {};
    for (uint64_t key : keys) ++counts[(key >> shift & 2047) + 1];
    for (size_t k = 0; k < 2048; ++k) counts[k + 1] += counts[k];
    for (uint64_t key : keys) other[counts[key >> shift & 2047]++] = key;
    keys.swap(other);
  }
}

void domain_keys(string_view url, std::vector<uint64_t>& keys) {
  string_view host = bare(url);
  host = host.substr(0, host.find_first_of("/?#"));
  if (host.rfind('@') != host.npos) host.remove_prefix(host.rfind('@') + 1);
  host = host.substr(0, host.find(':'));
  while (!host.empty() && host.back() == '.') host.remove_suffix(1);
  while (host.find('.') != host.npos) {
    keys.push_back(lowered_key(host));
    host.remove_prefix(host.find('.') + 1);
  }
}

void count_unigrams(const Texts& texts, int32_t bits, int64_t* counts) {
  std::vector<Word> words;
  for (int64_t i = 0; i < texts.count; ++i) {
    split_words(texts[i], words);
    for (const Word& word : words) ++counts[word.hash >> (64 - bits)];
  }
}

void divergence(const Texts& texts, int32_t bits, const int64_t* counts, double* out, int32_t* counted) {
  size_t size = size_t(1) << bits;
  double total = 0;
  for (size_t k = 0; k < size; ++k) total += double(counts[k]) + 1;
  std::vector<Word> words;
  std::unordered_map<uint64_t, int32_t> own;
  for (int64_t i = 0; i < texts.count; ++i) {
    split_words(texts[i], words);
    own.clear();
    for (const Word& word : words) ++own[word.hash >> (64 - bits)];
    double sum = 0, n = double(words.size());
    for (auto& [bucket, count] : own) {
      double p = count / n, q = (double(counts[bucket]) + 1) / total;
      sum += p * std::log(p / q);
    }
    out[i] = sum;
    counted[i] = int32_t(words.size());
  }
}

}  // namespace herd
