// What Python calls: plain C, Arrow buffers in, results in memory the caller gave or in one object to be freed.
#include <unordered_map>

#include "bloom.hpp"
#include "extract.hpp"
#include "lines.hpp"
#include "measure.hpp"
#include "minhash.hpp"
#include "private.hpp"
#include "repeats.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

using namespace herd;

namespace {

// Up to three columns of text and one of numbers.
struct Result {
  Column texts[3];
  std::vector<int32_t> numbers[4];
  std::vector<uint64_t> keys;
  std::vector<int64_t> ends{0};
  std::vector<Match> matches;
};

std::vector<std::string> strings(const Texts& texts) {
  std::vector<std::string> out;
  for (int64_t i = 0; i < texts.count; ++i) out.emplace_back(texts[i]);
  return out;
}

}  // namespace

// ---- results ----

EXPORT const char* herd_result_text(Result* result, int which, const int64_t** offsets) {
  *offsets = result->texts[which].offsets.data();
  return result->texts[which].data.data();
}
EXPORT const int32_t* herd_result_numbers(Result* result, int which) { return result->numbers[which].data(); }
EXPORT const uint64_t* herd_result_keys(Result* result, const int64_t** ends, int64_t* count) {
  *ends = result->ends.data();
  *count = int64_t(result->keys.size());
  return result->keys.data();
}
EXPORT const Match* herd_result_matches(Result* result, int64_t* count) {
  *count = int64_t(result->matches.size());
  return result->matches.data();
}
EXPORT void herd_result_free(Result* result) { delete result; }

// ---- tables, given once ----

EXPORT void herd_set_entities(const Texts* names, const Texts* values) {
  std::unordered_map<std::string, std::string> table;
  for (int64_t i = 0; i < names->count; ++i) table.emplace((*names)[i], (*values)[i]);
  set_entities(std::move(table));
}
EXPORT void herd_set_runes(const uint8_t* classes, const uint32_t* lowered, const uint32_t* folded, int32_t count) {
  set_runes(classes, lowered, count);
  set_folds(folded, count);
}
// words: of all languages one after the other; ends: where those of each language end.
EXPORT void herd_set_stop_words(const Texts* words, const int32_t* ends, int32_t languages) {
  std::vector<std::vector<uint64_t>> all;
  int32_t at = 0;
  for (int32_t k = 0; k < languages; ++k) {
    all.emplace_back();
    for (; at < ends[k]; ++at) all.back().push_back(hash_bytes((*words)[at]));
  }
  set_stop_words(std::move(all));
}
EXPORT void herd_set_dirty_words(const Texts* phrases) { set_dirty_words(strings(*phrases)); }

// ---- pages and texts ----

// The first byte of `data` that is not UTF-8, or -1.
EXPORT int64_t herd_utf8_fault(const char* data, int64_t length) {
  size_t good = utf8_prefix({data, size_t(length)});
  return good == size_t(length) ? -1 : int64_t(good);
}

// Texts: main text, title, language said. Numbers: outcome, letters of code, formulas, letters.
EXPORT Result* herd_extract(const Texts* pages, const ExtractOptions* options) {
  auto* out = new Result;
  for (int64_t i = 0; i < pages->count; ++i) {
    Extracted one = extract((*pages)[i], *options);
    out->texts[0].add(one.text);
    out->texts[1].add(one.title);
    out->texts[2].add(one.language);
    out->numbers[0].push_back(one.outcome);
    out->numbers[1].push_back(one.code_letters);
    out->numbers[2].push_back(one.formulas);
    out->numbers[3].push_back(one.letters);
  }
  return out;
}

EXPORT void herd_measure(const Texts* texts, const int32_t* languages, double* values) {
  measure(*texts, languages, values);
}

EXPORT Result* herd_clean_lines(const Texts* texts, const LineRules* rules, double* edits) {
  auto* out = new Result;
  clean_lines(*texts, *rules, out->texts[0], edits);
  return out;
}

EXPORT Result* herd_mask_private(const Texts* texts, const Masks* masks, int32_t* counts) {
  auto* out = new Result;
  mask_private(*texts, *masks, out->texts[0], counts);
  return out;
}

// ---- what texts share ----

EXPORT void herd_minhash(const Texts* texts, const MinhashRules* rules, uint64_t* keys, uint32_t* signature) {
  minhash(*texts, *rules, keys, signature);
}

EXPORT Result* herd_shingles(const Texts* texts, int32_t words, int32_t fold_numbers) {
  auto* out = new Result;
  std::vector<uint64_t> found;
  for (int64_t i = 0; i < texts->count; ++i) {
    shingles((*texts)[i], words, fold_numbers, found);
    out->keys.insert(out->keys.end(), found.begin(), found.end());
    out->ends.push_back(int64_t(out->keys.size()));
  }
  return out;
}

EXPORT Result* herd_line_keys(const Texts* texts) {
  auto* out = new Result;
  line_keys(*texts, out->keys, out->ends);
  return out;
}
EXPORT Result* herd_drop_lines(const Texts* texts, const uint64_t* keys, int64_t count, int32_t* dropped) {
  auto* out = new Result;
  drop_lines(*texts, KeySet(keys, count), out->texts[0], dropped);
  return out;
}

EXPORT Result* herd_window_keys(const Texts* texts, int32_t length) {
  auto* out = new Result;
  window_keys(*texts, length, out->keys, out->ends);
  return out;
}
EXPORT Result* herd_cut_repeats(const Texts* texts, int32_t length, const uint64_t* keys, const int64_t* first,
                                int64_t count, int64_t start, int32_t* words_cut) {
  auto* out = new Result;
  cut_repeats(*texts, length, KeySet(keys, count), first, start, out->texts[0], words_cut);
  return out;
}

EXPORT Result* herd_gram_keys(const Texts* texts, int32_t words) {
  auto* out = new Result;
  gram_keys(*texts, words, out->keys, out->ends);
  return out;
}
EXPORT void herd_count_plain_words(const Texts* texts, int64_t* counts) { count_plain_words(*texts, counts); }
EXPORT Result* herd_find_grams(const Texts* texts, int32_t words, const uint64_t* keys, int64_t count) {
  auto* out = new Result;
  find_grams(*texts, words, KeySet(keys, count), out->matches);
  return out;
}

// The keys of block lists, sorted: a handle to ask with, to be freed.
struct BlockList {
  std::vector<uint64_t> keys;
  KeySet set;
  explicit BlockList(std::vector<uint64_t> found) : keys(std::move(found)), set(keys.data(), int64_t(keys.size())) {}
};

EXPORT BlockList* herd_block_list(const Texts* lists) {
  std::vector<uint64_t> keys;
  for (int64_t i = 0; i < lists->count; ++i) list_keys((*lists)[i], keys);
  sort_keys(keys);
  return new BlockList(std::move(keys));
}
// For each address 1 when its host is below one of `domains`, 2 when it is one of `addresses` itself, else 0.
EXPORT void herd_match_addresses(const Texts* urls, const BlockList* domains, const BlockList* addresses,
                                 int32_t* out) {
  std::vector<uint64_t> keys;
  for (int64_t i = 0; i < urls->count; ++i) {
    keys.clear();
    domain_keys((*urls)[i], keys);
    out[i] = addresses->set.find(address_key((*urls)[i])) >= 0 ? 2 : 0;
    for (uint64_t key : keys)
      if (domains->set.find(key) >= 0) out[i] = 1;
  }
}

EXPORT void herd_count_unigrams(const Texts* texts, int32_t bits, int64_t* counts) {
  count_unigrams(*texts, bits, counts);
}
EXPORT void herd_divergence(const Texts* texts, int32_t bits, const int64_t* counts, double* out, int32_t* words) {
  divergence(*texts, bits, counts, out, words);
}

EXPORT Result* herd_bloom_texts(const Texts* texts, const BloomRules* rules, uint64_t* filter, int64_t* counts) {
  auto* out = new Result;
  bloom_texts(*texts, *rules, filter, out->texts[0], counts);
  return out;
}
// seen: whether each key was in the filter before; all are in it afterwards.
EXPORT void herd_bloom_add(const uint64_t* keys, int64_t count, const BloomRules* rules, uint64_t* filter,
                           uint8_t* seen) {
  for (int64_t i = 0; i < count; ++i) seen[i] = bloom_add(filter, *rules, keys[i]);
}

// Joins a[i] with b[i]; parent[x] == x for the smallest member of every set.
EXPORT void herd_join(int64_t* parent, const int64_t* a, const int64_t* b, int64_t count) {
  auto root = [&](int64_t x) {
    while (parent[x] != x) x = parent[x] = parent[parent[x]];
    return x;
  };
  for (int64_t i = 0; i < count; ++i) {
    int64_t left = root(a[i]), right = root(b[i]);
    if (left < right) parent[right] = left;
    else parent[left] = right;
  }
}
