// A page's content as a row of blocks: paragraphs, headings, items, rows of tables, program text.
#pragma once
#include "outline.hpp"

namespace herd {

enum Kind : uint8_t { kParagraph, kHeading, kItem, kRow, kCodeBlock, kQuote };

// A run of inline content, or a table row, or program text.
struct Block {
  Kind kind = kParagraph;
  uint8_t level = 0;       // of a heading; of a list's nesting
  int32_t number = 0;      // of an ordered item
  bool header = false;     // a table's first row
  bool starts = false;     // its list or table starts here
  int32_t linked = 0, letters = 0, marks = 0;
  int32_t home = 0;        // the element it stands in
  std::string text;
};

struct Written {
  std::vector<Block> blocks;
  int32_t formulas = 0, code_letters = 0;
};

// What the outline leaves of a page, in its order.
Written write_blocks(const Tree& tree, const Outline& plan, const ExtractOptions& options);

}  // namespace herd
