#include "listing.hpp"

#include "kinds.hpp"

namespace herd {
namespace {

constexpr int32_t kMostCell = 100'000;  // letters of one cell; a longer one is no line

const Node& at(const Tree& tree, int32_t i) { return tree.nodes[size_t(i)]; }

bool starts_with(string_view text, string_view what) { return text.substr(0, what.size()) == what; }

bool is_cell(Tag tag) { return tag == kTd || tag == kTh; }

// The text inside node i as it stands in the page, without what is dropped.
std::string raw_text(const Tree& tree, const std::vector<Part>& parts, int32_t i) {
  std::string out;
  for (int32_t k = i + 1; k < at(tree, i).end; ++k) {
    const Node& own = at(tree, k);
    if (parts[size_t(k)].dropped) {
      k = own.end - 1;
    } else if (own.tag == kText) {
      decode_entities({own.text, own.length}, out);
    } else if (own.tag == kBr) {
      out += '\n';
    }
  }
  return out;
}

// The number that is all a cell holds; -1 where there is none.
int64_t only_number(string_view text) {
  int64_t number = -1;
  for (char c : text) {
    if (is_digit(c)) {
      number = std::min<int64_t>(std::max<int64_t>(number, 0) * 10 + (c - '0'), int64_t(1) << 40);
    } else if (!is_space(c)) {
      return -1;
    }
  }
  return number;
}

// What one row of a table says about whether the table is a listing.
struct Row {
  int32_t cells = 0;        // but for those with the line's number
  bool numbered = false;
  bool named = false;       // its line is named as program text
  int64_t number = -1;      // where the cell does not say what it is
  int32_t line = 0;         // the cell with the line
};

// Whether all that a cell shows stands in <code> and the like.
bool holds_only_code(const Tree& tree, int32_t i) {
  int32_t first = i + 1;
  while (first < at(tree, i).end && at(tree, first).tag == kText &&
         string_view(at(tree, first).text, at(tree, first).length).find_first_not_of(" \t\r\n") == string_view::npos)
    ++first;
  if (first >= at(tree, i).end) return false;
  Tag tag = at(tree, first).tag;
  return tag == kCode || tag == kTt || tag == kSamp || tag == kPre;
}

// Whether a box of program text in a cell is one line.
bool is_line_in_cell(const Tree& tree, const std::vector<Part>& parts, int32_t i) {
  if (!is_cell(at(tree, at(tree, i).parent).tag) || at(tree, i).end - i > kMostCell) return false;
  std::string text = raw_text(tree, parts, i);
  size_t first = text.find_first_not_of("\r\n"), last = text.find_last_not_of("\r\n");
  return first == text.npos || text.find('\n', first) > last;
}

Row look_at_row(const Tree& tree, const std::vector<Part>& parts, int32_t i) {
  Row row;
  for (int32_t k = i + 1; k < at(tree, i).end; k = at(tree, k).end) {
    const Node& own = at(tree, k);
    if (!is_cell(own.tag)) continue;
    uint16_t hints = parts[size_t(k)].hints;
    bool first = row.cells == 0;
    if (first && (hints & kGutterHint || has_attribute(own, "data-line-number"))) {
      row.numbered = true;
      continue;
    }
    if (parts[size_t(k)].dropped) continue;
    int64_t number = first && row.number < 0 ? only_number(raw_text(tree, parts, k)) : -1;
    if (number >= 0 && own.end < at(tree, i).end) {
      row.number = number;
      continue;
    }
    ++row.cells;
    row.line = k;
    row.named |= (hints & kCodeHint) || holds_only_code(tree, k);
  }
  return row;
}

// `line`, `code-line`, `line-12`; not `headline`, nor how many lines a box may show.
bool names_a_line(string_view name) {
  for (size_t from = name.find("line"); from != name.npos; from = name.find("line", from + 4)) {
    char before = from ? name[from - 1] : ' ', after = from + 4 < name.size() ? name[from + 4] : ' ';
    if (is_alpha(before) || is_digit(before) || is_alpha(after)) continue;
    string_view rest = name.substr(from + 4);
    if (rest.substr(0, 6) != "-clamp" && rest.substr(0, 8) != "-through" && rest.substr(0, 7) != "-height") return true;
  }
  return name.find("CodeMirror-line") != name.npos;
}

bool holds_block(const Tree& tree, int32_t i) {
  for (int32_t k = i + 1; k < at(tree, i).end; ++k)
    if (is_block(at(tree, k).tag)) return true;
  return false;
}

// A row that names the columns.
bool is_header(const Tree& tree, int32_t i) {
  for (int32_t k = i + 1; k < at(tree, i).end; k = at(tree, k).end)
    if (at(tree, k).tag == kTd) return false;
  return at(tree, at(tree, i).parent).tag == kThead;
}

// Whether a line's number stands before it in its box.
bool has_number(const Tree& tree, const std::vector<Part>& parts, int32_t i) {
  for (int32_t k = i + 1; k < at(tree, i).end && k < i + 5; ++k)
    if (parts[size_t(k)].dropped && parts[size_t(k)].hints & kGutterHint) return true;
  return false;
}

void add_line(std::string& out, string_view line) {
  if (!line.empty() && line.front() == '\r') line.remove_prefix(1);
  if (!line.empty() && line.front() == '\n') line.remove_prefix(1);
  while (!line.empty() && is_space(line.back())) line.remove_suffix(1);
  out.append(line).append("\n");
}

}  // namespace

bool is_listed_by_rows(const Tree& tree, const std::vector<Part>& parts, int32_t i) {
  int32_t rows = 0, numbered = 0, counted = 0, named = 0, alike = 0, full = 0, boxed = 0;
  int64_t last = -1;
  for (int32_t k = i + 1; k < at(tree, i).end; ++k) {
    const Node& own = at(tree, k);
    if (own.tag == kTable || own.tag == kP || own.tag == kUl || own.tag == kOl) return false;
    if (own.tag == kPre && ++boxed && !is_line_in_cell(tree, parts, k)) return false;
    if (parts[size_t(k)].dropped || own.tag != kTr) {
      if (parts[size_t(k)].dropped) k = own.end - 1;
      continue;
    }
    if (is_header(tree, k)) continue;
    Row row = look_at_row(tree, parts, k);
    if (row.cells == 0) continue;
    if (row.cells > 1 || at(tree, row.line).end - row.line > kMostCell) return false;
    ++rows;
    numbered += row.numbered;
    counted += row.number >= 0 && (last < 0 || row.number == last + 1);
    if (row.number >= 0) last = row.number;
    named += row.named;
    if (rows > 200) continue;  // by then it is known what they look like
    std::string line = raw_text(tree, parts, row.line);
    if (line.find_first_not_of(" \t\r\n") == line.npos) continue;
    ++full;
    alike += is_code_line(line);
  }
  // Boxes of program text without numbers are programs of their own.
  if (boxed && (rows < 2 || 10 * (numbered + counted) < 8 * rows)) return false;
  if (rows == 0 || 10 * (numbered + counted) < 8 * rows) return rows > 1 && named == rows && 2 * alike >= full;
  if (2 * named >= rows) return rows > 1 || numbered;
  return rows > 2 && (numbered ? 4 * alike >= full : 2 * alike >= full) && alike > 0;
}

bool is_listed_by_boxes(const Tree& tree, const std::vector<Part>& parts, int32_t i) {
  int32_t boxes = 0, others = 0;
  for (int32_t k = i + 1; k < at(tree, i).end; ++k) {
    const Node& own = at(tree, k);
    if (own.tag == kText) continue;
    if (parts[size_t(k)].dropped) {
      k = own.end - 1;
    } else if (own.tag == kDiv && !holds_block(tree, k)) {
      ++(names_a_line(attribute(own, "class")) ? boxes : others);
      k = own.end - 1;
    } else if (is_block(own.tag) && own.tag != kDiv) {
      if (!is_cell(own.tag) && own.tag != kTr && own.tag != kTbody && own.tag != kTable) return false;
    }
  }
  return boxes > 0 && others * 4 <= boxes;
}

std::string listed_text(const Tree& tree, const std::vector<Part>& parts, int32_t i) {
  std::string out;
  bool boxes = is_listed_by_boxes(tree, parts, i);
  for (int32_t k = i + 1; k < at(tree, i).end; ++k) {
    const Node& own = at(tree, k);
    if (own.tag == kText) continue;
    if (parts[size_t(k)].dropped) {
      k = own.end - 1;
    } else if (boxes && own.tag == kDiv && !holds_block(tree, k)) {
      std::string line = raw_text(tree, parts, k);
      size_t gap = !has_number(tree, parts, k) ? 0 : starts_with(line, "\xC2\xA0") ? 2 : starts_with(line, " ");
      add_line(out, string_view(line).substr(gap));
      k = own.end - 1;
    } else if (!boxes && own.tag == kTr) {
      Row row = is_header(tree, k) ? Row() : look_at_row(tree, parts, k);
      if (row.cells) add_line(out, raw_text(tree, parts, row.line));
      k = own.end - 1;
    }
  }
  return out;
}

}  // namespace herd
