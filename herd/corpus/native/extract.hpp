// The main content of HTML pages as plain text or Markdown.
#pragma once
#include <string>
#include <vector>

#include "html.hpp"

namespace herd {

// alt_text: 0 never, 1 formulas only, 2 every picture's.
struct ExtractOptions {
  int32_t markdown;
  int32_t alt_text;
  int32_t main_only;      // 0 keeps all that is shown
  int32_t links_percent;  // a block with a larger share of its letters inside links is no content
  int32_t short_block;    // and neither is a block of fewer letters without a sentence's end
  double deadline_seconds;
};

enum Outcome : int32_t { kExtracted = 0, kNoText = 1, kLate = 2 };

struct Extracted {
  std::string text, title, language;
  Outcome outcome = kNoText;
  int32_t code_letters = 0, formulas = 0, letters = 0;
};

Extracted extract(string_view page, const ExtractOptions& options);

}  // namespace herd
