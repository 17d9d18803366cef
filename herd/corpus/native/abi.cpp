// What Python calls: plain C, Arrow buffers in, one result object out.
#include <unordered_map>

#include "extract.hpp"

using namespace herd;

namespace {

struct Pages {
  Column text, title, language;
  std::vector<int32_t> outcome, code_letters, formulas, letters;
};

}  // namespace

extern "C" {

// names and values: `count` texts each. Must be called once, before any page is read.
void herd_set_entities(const char* names, const int64_t* name_ends, const char* values, const int64_t* value_ends,
                       int64_t count) {
  std::unordered_map<std::string, std::string> table;
  Texts keys{names, name_ends, count}, texts{values, value_ends, count};
  for (int64_t i = 0; i < count; ++i) table.emplace(keys[i], texts[i]);
  set_entities(std::move(table));
}

// The first byte of `data` that is not UTF-8, or -1.
int64_t herd_utf8_fault(const char* data, int64_t length) {
  size_t good = utf8_prefix({data, size_t(length)});
  return good == size_t(length) ? -1 : int64_t(good);
}

void* herd_extract(const char* data, const int64_t* offsets, int64_t count, const ExtractOptions* options) {
  auto* out = new Pages;
  Texts pages{data, offsets, count};
  for (int64_t i = 0; i < count; ++i) {
    Extracted one = extract(pages[i], *options);
    out->text.add(one.text);
    out->title.add(one.title);
    out->language.add(one.language);
    out->outcome.push_back(one.outcome);
    out->code_letters.push_back(one.code_letters);
    out->formulas.push_back(one.formulas);
    out->letters.push_back(one.letters);
  }
  return out;
}

const char* herd_pages_text(void* pages, int which, const int64_t** offsets) {
  auto* all = static_cast<Pages*>(pages);
  Column& column = which == 0 ? all->text : which == 1 ? all->title : all->language;
  *offsets = column.offsets.data();
  return column.data.data();
}

const int32_t* herd_pages_numbers(void* pages, int which) {
  auto* all = static_cast<Pages*>(pages);
  std::vector<int32_t>* columns[] = {&all->outcome, &all->code_letters, &all->formulas, &all->letters};
  return columns[which]->data();
}

void herd_pages_free(void* pages) { delete static_cast<Pages*>(pages); }
}
