#include "blocks.hpp"

#include <algorithm>

#include "listing.hpp"
#include "scripts.hpp"
#include "words.hpp"

namespace herd {
namespace {

constexpr int32_t kSmallCell = 120;  // letters

class Writer {
 public:
  Writer(const Tree& tree, const Outline& plan, const ExtractOptions& options)
      : tree_(tree), nodes_(tree.nodes), parts_(plan.parts), programs_(plan.programs), listings_(plan.listings),
        options_(options), main_(plan.main) {}

  Written run(const std::vector<int32_t>& leads) {
    for (int32_t lead : leads) write_element(lead);
    write_element(main_);
    return {std::move(blocks_), formulas_, code_letters_};
  }

 private:
  const Node& node(int32_t i) const { return nodes_[size_t(i)]; }
  bool markdown() const { return options_.markdown != 0; }

  void write_element(int32_t root) {
    block_.home = root;
    for (int32_t i = root; i < node(root).end; ++i) {
      while (!open_.empty() && node(open_.back()).end <= i) leave();
      if (parts_[size_t(i)].dropped) {
        i = node(i).end - 1;
        continue;
      }
      if (node(i).tag == kText) {
        write_text(i);
      } else {
        if (is_listing(i) && !in_row_) {
          program(i);
          i = node(i).end - 1;
        } else {
          i = enter(i);
        }
      }
    }
    while (!open_.empty()) leave();
    flush();
  }

  // ---- elements ----

  // Opens an element; returns the node to go on after, which is the element's last one when it is all written.
  int32_t enter(int32_t i) {
    const Node& own = node(i);
    switch (own.tag) {
      case kBr:
        held_.clear();
        block_.text += block_.kind == kRow ? ' ' : '\n';
        return i;
      case kHr: case kWbr:
        if (own.tag == kHr) in_row_ ? part_cell() : flush();
        return i;
      case kImg:
        picture(own);
        return i;
      case kScript:
        formula(raw_inside(i), attribute(own, "type").find("display") != string_view::npos);
        return own.end - 1;
      case kMath:
        math(i);
        return own.end - 1;
      case kPre: case kXmp:
        if (!in_row_) {
          program(i);
          return own.end - 1;
        }
        break;
      case kSup: case kSub:
        if (write_script(i)) return own.end - 1;
        break;
      case kTable:
        if (is_code_table(i)) {
          flush();
        } else if (!in_row_ && is_data(i)) {
          table_end_ = std::max(table_end_, own.end);
          starts_ = true;
          header_ = true;
        }
        break;
      case kTr:
        if (i < table_end_) {
          flush();
          in_row_ = true;
          block_.kind = kRow;
          cells_ = 0;
        }
        break;
      case kTd: case kTh:
        if (in_row_) {
          trim_end();
          if (cells_++) block_.text += markdown() ? " | " : "\t";
          open_.push_back(i);
          return i;
        }
        break;
      case kUl: case kOl:
        if (in_row_) break;  // a row is a line, whatever its cells hold
        flush();
        lists_.push_back({own.tag == kOl, 0});
        starts_ = lists_.size() == 1;
        break;
      case kA:
        if (own.link) link_end_ = std::max(link_end_, own.end);
        break;
      default:
        break;
    }
    if (is_block(own.tag)) in_row_ ? part_cell() : start_block(i);
    if (markdown()) emphasis(own.tag);
    open_.push_back(i);
    return i;
  }

  void leave() {
    int32_t i = open_.back();
    open_.pop_back();
    const Node& own = node(i);
    if (markdown()) emphasis(own.tag);
    if (own.tag == kTr && in_row_) {
      flush();
      in_row_ = header_ = false;
    } else if (in_row_) {
      if (is_block(own.tag) && own.tag != kTd && own.tag != kTh) part_cell();
    } else if (own.tag == kUl || own.tag == kOl) {
      flush();
      if (!lists_.empty()) lists_.pop_back();
    } else if (is_block(own.tag)) {
      flush();
      block_.home = own.parent;
    }
  }

  // What stands in blocks of its own in a cell is parted by a space.
  void part_cell() {
    held_.clear();
    if (!block_.text.empty() && !is_space(block_.text.back())) block_.text += ' ';
  }

  void start_block(int32_t i) {
    const Node& own = node(i);
    flush();
    block_.home = i;
    if (own.tag >= kH1 && own.tag <= kH6) {
      block_.kind = kHeading;
      block_.level = uint8_t(1 + own.tag - kH1);
    } else if (own.tag == kLi) {
      block_.kind = kItem;
      if (!lists_.empty()) {
        block_.level = uint8_t(std::min<size_t>(lists_.size(), 20));
        block_.number = 0;
        if (lists_.back().ordered) block_.number = ++lists_.back().items;
      }
    } else if (!lists_.empty()) {
      block_.kind = kItem;  // a paragraph inside an item
      block_.level = uint8_t(std::min<size_t>(lists_.size(), 20));
      block_.number = -1;
      if (pending_item_) block_.number = pending_number_;
    } else if (own.tag == kBlockquote) {
      block_.kind = kQuote;
    }
    if (own.tag == kLi) {
      pending_item_ = true;
      pending_number_ = block_.number;
    }
  }

  void emphasis(Tag tag) {
    if (block_.kind == kHeading) return;
    if (tag == kB || tag == kStrong) block_.text += "**";
    if (tag == kI || tag == kEm) block_.text += "*";
    if (tag == kCode || tag == kTt || tag == kKbd || tag == kSamp) block_.text += "`";
  }

  // ---- text ----

  void write_text(int32_t i) {
    scratch_.clear();
    decode_entities({node(i).text, node(i).length}, scratch_);
    size_t before = block_.text.size();
    append_collapsed(scratch_);
    int32_t letters = 0;
    for (size_t k = before; k < block_.text.size(); ++k) {
      auto c = uint8_t(block_.text[k]);
      if (c > ' ' && (c < 0x80 || c >= 0xC0)) {
        ++letters;
        if (c == '.' || c == ',' || c == '?' || c == '!') ++block_.marks;
      }
    }
    block_.letters += letters;
    if (i < link_end_) block_.linked += letters;
  }

  // Runs of white space become one space; what browsers do not show (zero-width, controls) goes.
  void append_collapsed(string_view text) {
    std::string& out = block_.text;
    bool space = out.empty() || is_space(out.back());
    for (size_t k = 0; k < text.size();) {
      auto c = uint8_t(text[k]);
      if (c > ' ' && c < 0x7F) {
        size_t to = k + 1;
        while (to < text.size() && uint8_t(text[to]) > ' ' && uint8_t(text[to]) < 0x7F) ++to;
        if (!held_.empty()) joins(c) ? join() : held_.clear();
        out.append(text.substr(k, to - k));
        space = false;
        k = to;
      } else if (c <= ' ' || c == 0x7F) {
        if (is_space(char(c))) {
          if (!space) out += ' ', space = true;
          held_.clear();
        }
        ++k;
      } else {
        Rune r = rune_at(text, k);
        bool blank = r.code == 0xA0 || (r.code >= 0x2000 && r.code <= 0x200A) || r.code == 0x3000 ||
                     r.code == 0x2028 || r.code == 0x2029 || r.code == 0x202F;
        bool unseen = (r.code >= 0x200B && r.code <= 0x200F) || r.code == 0xFEFF || r.code == 0xAD ||
                      (r.code >= 0x80 && r.code < 0xA0) || r.code == 0x2060;
        if (r.code == 0x200C || r.code == 0x200D) {
          hold_joiner(r.code);
        } else if (blank) {
          held_.clear();
          if (!space) out += ' ', space = true;
        } else if (!unseen) {
          if (!held_.empty()) joins(r.code) ? join() : held_.clear();
          if (r.code == 0xFFFD) {
            put_rune(out, 0xFFFD);
          } else {
            out.append(text.substr(k, size_t(r.bytes)));
          }
          space = false;
        }
        k += size_t(r.bytes);
      }
    }
  }

  // An exponent or an index; false where what stands in it is written as it stands.
  bool write_script(int32_t i) {
    std::string text = script_text(tree_, i, block_.text);
    if (text.empty()) return false;
    block_.text += text;
    for (char c : text) block_.letters += uint8_t(c) > ' ' && (uint8_t(c) < 0x80 || uint8_t(c) >= 0xC0);
    if (i < link_end_) block_.linked += int32_t(text.size());
    return true;
  }

  // Whether a joiner may stand beside this character: letters, marks, digits and emoji.
  static bool joins(uint32_t code) {
    if (code < 0x80) return is_alpha(char(code)) || is_digit(char(code));
    return code >= 0xC0 && code != 0xFFFD && !(rune_class(code) & (kSymbol | kBlank)) && code != 0x200B && code != 0xFEFF;
  }

  // Zero-width joiners and non-joiners belong to words of many scripts and to emoji; elsewhere they are left out.
  void hold_joiner(uint32_t code) {
    const std::string& out = block_.text;
    if (!held_.empty()) {
      put_rune(held_, code);
    } else if (!out.empty()) {
      size_t from = out.size() - 1;
      while (from > 0 && out.size() - from < 4 && (uint8_t(out[from]) & 0xC0) == 0x80) --from;
      uint32_t before = rune_at(out, from).code;
      if (!joins(before)) return;
      put_rune(held_, code);
      // At the end of a word too it says how a letter of Arabic or of India is written.
      if (code == 0x200D && before >= 0x600 && before < 0x1000) join();
    }
  }

  void join() {
    block_.text += held_;
    held_.clear();
  }

  void trim_end() {
    held_.clear();
    while (!block_.text.empty() && (block_.text.back() == ' ' || block_.text.back() == '\n')) block_.text.pop_back();
  }

  void flush() {
    trim_end();
    if (!block_.text.empty()) {
      block_.starts = starts_;
      block_.header = header_;
      starts_ = false;
      pending_item_ = false;
      blocks_.push_back(std::move(block_));
    }
    int32_t home = block_.home;
    block_ = Block();
    block_.home = home;
    if (!lists_.empty() && !in_row_) {
      block_.kind = kItem;
      block_.level = uint8_t(std::min<size_t>(lists_.size(), 20));
      block_.number = -1;
    }
  }

  std::string raw_inside(int32_t i) const {
    std::string out;
    for (int32_t k = i + 1; k < node(i).end; ++k)
      if (node(k).tag == kText) out.append(node(k).text, node(k).length);
    return out;
  }

  std::string text_inside(int32_t i) const {
    std::string out, script;
    size_t rows = 0, row = 0;
    for (int32_t k = i + 1; k < node(i).end; ++k) {
      if (parts_[size_t(k)].dropped) {
        k = node(k).end - 1;
      } else if (node(k).tag == kText) {
        decode_entities({node(k).text, node(k).length}, out);
      } else if (node(k).tag == kBr || (node(k).tag == kDiv && !out.empty() && out.back() != '\n')) {
        out += '\n';
      } else if (node(k).tag == kTr) {  // a row a line, empty ones too
        if (rows++ && (out.size() == row || out.back() != '\n')) out += '\n';
        row = out.size();
      } else if ((node(k).tag == kSup || node(k).tag == kSub) && !(script = script_text(tree_, k, out)).empty()) {
        out += script;
        k = node(k).end - 1;
      } else if (node(k).tag == kLi && !out.empty() && out.back() != '\n') {
        out += '\n';
      }
    }
    return out;
  }

  // ---- program text ----

  void program(int32_t i) {
    Tag tag = node(i).tag;
    std::string text = tag == kPre || tag == kXmp ? text_inside(i) : listed_text(tree_, parts_, i);
    replace_blanks(text);
    if (is_line_numbers(text) && has_neighbour(i)) return;
    std::string code;
    size_t from = 0;
    while (from <= text.size()) {  // lines without trailing spaces
      size_t to = text.find('\n', from);
      if (to == text.npos) to = text.size();
      size_t last = to;
      while (last > from && is_space(text[last - 1])) --last;
      code.append(text, from, last - from);
      code += '\n';
      from = to + 1;
    }
    size_t first = code.find_first_not_of('\n');
    if (first == code.npos) return;
    code.erase(0, first);
    while (!code.empty() && code.back() == '\n') code.pop_back();
    flush();
    for (char c : code) block_.letters += !is_space(c);
    code_letters_ += block_.letters;
    block_.kind = kCodeBlock;
    block_.text = std::move(code);
    block_.home = i;
    push_code();
  }

  // Whether the lines count up and say nothing else.
  static bool is_line_numbers(string_view text) {
    int64_t last = -1, lines = 0;
    for (size_t at = 0; at < text.size();) {
      if (is_space(text[at])) {
        ++at;
        continue;
      }
      int64_t number = 0;
      size_t from = at;
      for (; at < text.size() && is_digit(text[at]) && at - from < 8; ++at) number = 10 * number + (text[at] - '0');
      if (at == from || (at < text.size() && !is_space(text[at])) || (last >= 0 && number != last + 1)) return false;
      last = number;
      ++lines;
    }
    return lines > 1;
  }

  // Whether program text stands in another cell of the same row.
  bool has_neighbour(int32_t i) const {
    int32_t row = node(i).parent;
    for (int climbed = 0; row > 0 && node(row).tag != kTr && climbed < 4; ++climbed) row = node(row).parent;
    if (node(row).tag != kTr) return false;
    auto next = std::lower_bound(programs_.begin(), programs_.end(), node(i).end);
    return next != programs_.end() && *next < node(row).end;
  }

  void push_code() {
    block_.starts = true;
    blocks_.push_back(std::move(block_));
    block_ = Block();
    block_.home = node(blocks_.back().home).parent;
  }

  // Spaces that do not break are spaces in program text.
  static void replace_blanks(std::string& code) {
    size_t to = 0;
    for (size_t from = 0; from < code.size(); ++from) {
      bool blank = code[from] == '\xC2' && from + 1 < code.size() && code[from + 1] == '\xA0';
      code[to++] = blank ? ' ' : code[from];
      from += blank;
    }
    code.resize(to);
  }

  // ---- formulas ----

  void picture(const Node& own) {
    if (!options_.alt_text) return;
    string_view alt = attribute(own, "alt");
    if (alt.empty()) return;
    std::string text;
    decode_entities(alt, text);
    uint16_t hints = hints_of(own);
    if (looks_like_tex(text, hints)) {
      formula(text, false);
    } else if (options_.alt_text == 2) {
      append_collapsed(" " + text + " ");
    }
  }

  static bool looks_like_tex(const std::string& text, uint16_t hints) {
    if (hints & kMathHint) return true;
    size_t slash = text.find('\\');
    bool command = slash != text.npos && slash + 1 < text.size() && (is_alpha(text[slash + 1]) || text[slash + 1] == '(' || text[slash + 1] == '[');
    if (text.size() > 1 && text.front() == '$' && text.back() == '$') return true;
    return command && text.find("\\\\") == text.npos && text.find(":\\") == text.npos;
  }

  static string_view trimmed(string_view text) {
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    return text;
  }

  static bool strip(string_view& text, string_view open, string_view close) {
    if (text.size() < open.size() + close.size() || text.substr(0, open.size()) != open ||
        text.substr(text.size() - close.size()) != close)
      return false;
    text = trimmed(text.substr(open.size(), text.size() - open.size() - close.size()));
    return true;
  }

  // TeX between dollars, once: pages repeat a formula as MathML, as a picture and as what a script drew.
  void formula(const std::string& source, bool display) {
    string_view tex = trimmed(source);
    if (strip(tex, "<![CDATA[", "]]>")) tex = trimmed(tex);
    if (strip(tex, "% <![CDATA[", "%]]>")) tex = trimmed(tex);
    if (strip(tex, "$$", "$$") || strip(tex, "\\[", "\\]")) display = true;
    strip(tex, "$", "$");
    strip(tex, "\\(", "\\)");
    if (strip(tex, "{\\displaystyle", "}") || strip(tex, "{\\textstyle", "}")) tex = trimmed(tex);
    if (tex.empty()) return;
    if (tex == last_formula_ && block_.text.size() == last_formula_at_) return;
    string_view mark = display ? "$$" : "$";
    block_.text.append(mark).append(tex).append(mark);
    block_.letters += int32_t(tex.size());
    last_formula_ = std::string(tex);
    last_formula_at_ = block_.text.size();
    ++formulas_;
  }

  void math(int32_t i) {
    bool display = same_word(attribute(node(i), "display"), "block");
    for (int32_t k = i + 1; k < node(i).end; ++k) {
      if (node(k).tag == kAnnotation && attribute(node(k), "encoding").find("tex") != string_view::npos) {
        std::string tex;
        decode_entities(raw_inside(k), tex);
        formula(tex, display);
        return;
      }
    }
    std::string alt;
    decode_entities(attribute(node(i), "alttext"), alt);
    if (!alt.empty()) {
      formula(alt, display);
    } else {
      append_collapsed(math_text(tree_, i));
    }
  }

  // ---- tables ----

  // Data has short cells; a table that lays out a page holds paragraphs, lists or tables.
  bool is_data(int32_t i) const {
    int32_t rows = 0, cells = 0, big = 0;
    for (int32_t k = i + 1; k < node(i).end; ++k) {
      if (parts_[size_t(k)].dropped) {
        k = node(k).end - 1;
        continue;
      }
      Tag tag = node(k).tag;
      if (tag == kTable) return false;
      if (tag == kTr) ++rows;
      if (tag == kTd || tag == kTh) {
        ++cells;
        if (parts_[size_t(k)].letters > 400) ++big;
      }
      if (tag == kPre || is_listing(k)) return false;
      if (tag >= kH1 && tag <= kH6 && !is_cells_heading(k)) return false;
    }
    return rows > 0 && cells > rows && big * 4 <= cells;
  }

  // A heading that is all a header cell holds names its column; one in a small cell names what the cell says.
  bool is_cells_heading(int32_t i) const {
    const Node& above = node(node(i).parent);
    if (above.tag == kTh) return parts_[size_t(i)].letters == parts_[size_t(node(i).parent)].letters;
    return above.tag == kTd && node(i).tag >= kH3 && parts_[size_t(node(i).parent)].letters <= kSmallCell;
  }

  bool is_listing(int32_t i) const {
    return !listings_.empty() && std::binary_search(listings_.begin(), listings_.end(), i);
  }

  // Line numbers in one cell, program text in the other.
  bool is_code_table(int32_t i) const {
    auto next = std::lower_bound(programs_.begin(), programs_.end(), i);
    return next != programs_.end() && *next < node(i).end;
  }

  struct List {
    bool ordered;
    int32_t items;
  };

  const Tree& tree_;
  const std::vector<Node>& nodes_;
  const std::vector<Part>& parts_;
  const std::vector<int32_t>& programs_;
  const std::vector<int32_t>& listings_;
  const ExtractOptions& options_;
  int32_t main_;
  std::vector<Block> blocks_;
  Block block_;
  std::vector<int32_t> open_;
  std::vector<List> lists_;
  int32_t formulas_ = 0, code_letters_ = 0;
  std::string scratch_, last_formula_;
  std::string held_;  // joiners, until it is seen what follows them
  size_t last_formula_at_ = 0;
  int32_t link_end_ = 0, table_end_ = 0, cells_ = 0, pending_number_ = 0;
  bool in_row_ = false, header_ = false, starts_ = false, pending_item_ = false;
};

}  // namespace

Written write_blocks(const Tree& tree, const Outline& plan, const ExtractOptions& options) {
  return Writer(tree, plan, options).run(plan.leads);
}

}  // namespace herd
