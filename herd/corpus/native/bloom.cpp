#include "bloom.hpp"

namespace herd {
namespace {

bool probe(uint64_t* filter, const BloomRules& rules, uint64_t key, bool add) {
  uint64_t step = mix(key ^ 0xB100F) | 1;  // double hashing (Kirsch and Mitzenmacher 2006)
  bool seen = true;
  for (int32_t k = 0; k < rules.hashes; ++k) {
    uint64_t bit = uint64_t((__uint128_t(key) * uint64_t(rules.bits)) >> 64);
    uint64_t mask = 1ull << (bit & 63);
    if (!(filter[bit >> 6] & mask)) {
      seen = false;
      if (!add) return false;
      filter[bit >> 6] |= mask;
    }
    key += step;
  }
  return seen;
}

class Reader {
 public:
  Reader(const BloomRules& rules, uint64_t* filter) : rules_(rules), filter_(filter) {}

  void run(string_view text, Column& out, int64_t* counts) {
    total_ = contained_ = 0;
    size_t start = out.data.size();
    for (size_t from = 0; from <= text.size();) {
      size_t to = text.find('\n', from);
      if (to == text.npos) to = text.size();
      string_view paragraph = text.substr(from, to - from);
      if (!is_seen(paragraph)) {
        if (out.data.size() > start || from > 0) out.data += '\n';
        out.data.append(paragraph);
      }
      from = to + 1;
    }
    if (rules_.documents && total_ && double(contained_) > rules_.threshold * double(total_)) out.data.resize(start);
    size_t lead = start;
    while (lead < out.data.size() && is_space(out.data[lead])) ++lead;
    out.data.erase(start, lead - start);
    out.end();
    counts[0] = total_;
    counts[1] = contained_;
  }

 private:
  bool is_seen(string_view paragraph) {
    split_words(paragraph, words_);
    if (int32_t(words_.size()) < rules_.least) return false;
    size_t n = std::min(words_.size(), size_t(rules_.most));
    keys_.clear();
    int64_t seen = 0;
    for (size_t i = 0; i + n <= words_.size(); ++i) {
      uint64_t h = 0;
      for (size_t k = i; k < i + n; ++k) h = chain(h, words_[k].hash);
      h = mix(h);
      if (probe(filter_, rules_, h, false)) ++seen;
      else keys_.push_back(h);
    }
    auto all = int64_t(words_.size() - n + 1);
    total_ += all;
    contained_ += seen;
    if (double(seen) > rules_.threshold * double(all)) return true;
    for (uint64_t key : keys_) probe(filter_, rules_, key, true);
    return false;
  }

  const BloomRules& rules_;
  uint64_t* filter_;
  int64_t total_ = 0, contained_ = 0;
  std::vector<Word> words_;
  std::vector<uint64_t> keys_;
};

}  // namespace

bool bloom_add(uint64_t* filter, const BloomRules& rules, uint64_t key) { return probe(filter, rules, key, true); }

void bloom_texts(const Texts& texts, const BloomRules& rules, uint64_t* filter, Column& out, int64_t* counts) {
  Reader reader(rules, filter);
  for (int64_t i = 0; i < texts.count; ++i) reader.run(texts[i], out, counts + 2 * i);
}

}  // namespace herd
