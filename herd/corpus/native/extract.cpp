#include "extract.hpp"

#include <algorithm>

#include "outline.hpp"

namespace herd {
namespace {

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

bool ends_sentence(string_view text) {
  while (!text.empty() && (text.back() == ')' || text.back() == '"' || text.back() == '\'')) text.remove_suffix(1);
  if (text.empty()) return false;
  char c = text.back();
  if (c == '.' || c == '?' || c == '!' || c == ':' || c == ';') return true;
  static const string_view others[] = {"\xE3\x80\x82", "\xEF\xBC\x9F", "\xEF\xBC\x81", "\xE2\x80\x9D", "\xC2\xBB",
                                       "\xE2\x80\xA6", "\xD8\x9F", "\xE0\xA5\xA4", "\xE2\x80\x99"};
  return std::any_of(std::begin(others), std::end(others), [&](string_view end) {
    return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
  });
}

// Short lines that say nothing about the page's subject, by their first words, in lower case.
const string_view kEmptyTalk[] = {
    "advertisement", "advertising", "share this", "share on", "share via", "click to share", "click here to",
    "read more", "read also", "also read", "see also:", "related:", "related articles", "related posts",
    "related stories", "related topics", "related content", "you may also like", "you might also like", "more on this", "more from",
    "recommended", "follow us", "follow me", "follow @", "sign up", "subscribe", "tags:", "tagged", "filed under",
    "posted in", "posted by", "posted on", "leave a reply", "leave a comment", "post a comment", "add a comment",
    "comments are closed", "no comments", "be the first to comment", "join the conversation", "copyright",
    "all rights reserved", "image credit", "photo credit", "photo:", "photo by", "image:", "images:", "getty images",
    "print this", "email this", "email a friend", "save my name", "skip to", "back to top", "loading", "view all",
    "sponsored", "categories:", "category:", "topics:", "published:", "updated:", "last updated", "tweet",
    "facebook", "twitter", "whatsapp", "pinterest", "linkedin", "anzeige", "teilen", "drucken", "weiterlesen",
    "mehr zum thema", "lesen sie auch", "kommentare", "foto:", "bild:", "quelle:", "lire aussi", "partager",
    "\xC2\xA9", "download our app", "get the app", "continue reading", "story continues", "watch:", "listen:",
    "source:", "via:", "hide caption", "toggle caption", "enlarge this image", "cookies",
};

bool is_empty_talk(string_view text) {
  if (text.size() > 90) return false;
  std::string lowered;
  for (char c : text) lowered += lower(c);
  return std::any_of(std::begin(kEmptyTalk), std::end(kEmptyTalk), [&](string_view start) {
    if (lowered.compare(0, start.size(), start) != 0) return false;
    char next = lowered.size() > start.size() ? lowered[start.size()] : ' ';
    if (is_alpha(next)) return false;
    // A sentence that happens to begin so is a sentence.
    return lowered.size() < start.size() + 40 || !ends_sentence(text);
  });
}

class Writer {
 public:
  Writer(const Tree& tree, const Outline& plan, const ExtractOptions& options)
      : nodes_(tree.nodes), parts_(plan.parts), programs_(plan.programs), options_(options), main_(plan.main) {}

  std::vector<Block> run(const std::vector<int32_t>& leads) {
    for (int32_t lead : leads) write_element(lead);
    write_element(main_);
    return std::move(blocks_);
  }

  int32_t formulas = 0;
  int32_t code_letters = 0;

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
        i = enter(i);
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
        block_.text += block_.kind == kRow ? ' ' : '\n';
        return i;
      case kHr: case kWbr:
        if (own.tag == kHr) flush();
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
        flush();
        lists_.push_back({own.tag == kOl, 0});
        starts_ = lists_.size() == 1;
        break;
      case kA:
        link_end_ = std::max(link_end_, own.end);
        break;
      default:
        break;
    }
    if (is_block(own.tag) && !in_row_) start_block(i);
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
    } else if (own.tag == kUl || own.tag == kOl) {
      flush();
      if (!lists_.empty()) lists_.pop_back();
    } else if (is_block(own.tag) && !in_row_) {
      flush();
      block_.home = own.parent;
    }
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
        out.append(text.substr(k, to - k));
        space = false;
        k = to;
      } else if (c <= ' ' || c == 0x7F) {
        if (is_space(char(c)) && !space) out += ' ', space = true;
        ++k;
      } else {
        Rune r = rune_at(text, k);
        bool blank = r.code == 0xA0 || (r.code >= 0x2000 && r.code <= 0x200A) || r.code == 0x3000 ||
                     r.code == 0x2028 || r.code == 0x2029 || r.code == 0x202F;
        bool unseen = (r.code >= 0x200B && r.code <= 0x200F) || r.code == 0xFEFF || r.code == 0xAD ||
                      (r.code >= 0x80 && r.code < 0xA0) || r.code == 0x2060;
        if (blank) {
          if (!space) out += ' ', space = true;
        } else if (!unseen) {
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

  void trim_end() {
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
    std::string out;
    for (int32_t k = i + 1; k < node(i).end; ++k) {
      if (parts_[size_t(k)].dropped && node(i).tag == kPre) {
        k = node(k).end - 1;
      } else if (node(k).tag == kText) {
        decode_entities({node(k).text, node(k).length}, out);
      } else if (node(k).tag == kBr || (node(k).tag == kDiv && !out.empty() && out.back() != '\n')) {
        out += '\n';
      } else if (node(k).tag == kLi && !out.empty() && out.back() != '\n') {
        out += '\n';
      }
    }
    return out;
  }

  // ---- program text ----

  void program(int32_t i) {
    std::string text = text_inside(i);
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
    code_letters += block_.letters;
    replace_blanks(code);
    block_.kind = kCodeBlock;
    block_.text = std::move(code);
    block_.home = i;
    push_code();
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
    ++formulas;
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
      std::string shown;
      decode_entities(raw_inside(i), shown);
      append_collapsed(shown);
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
      if (tag == kPre || (tag >= kH1 && tag <= kH6)) return false;
    }
    return rows > 0 && cells > rows && big * 4 <= cells;
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

  const std::vector<Node>& nodes_;
  const std::vector<Part>& parts_;
  const std::vector<int32_t>& programs_;
  const ExtractOptions& options_;
  int32_t main_;
  std::vector<Block> blocks_;
  Block block_;
  std::vector<int32_t> open_;
  std::vector<List> lists_;
  std::string scratch_, last_formula_;
  size_t last_formula_at_ = 0;
  int32_t link_end_ = 0, table_end_ = 0, cells_ = 0, pending_number_ = 0;
  bool in_row_ = false, header_ = false, starts_ = false, pending_item_ = false;
};

// ---- which blocks stay ----

constexpr int32_t kLongHeading = 60;  // says something itself

class Judge {
 public:
  Judge(std::vector<Block>& blocks, const ExtractOptions& options) : blocks_(blocks), options_(options) {}

  void run() {
    keep_.assign(blocks_.size(), true);
    for (size_t i = 0; i < blocks_.size(); ++i) keep_[i] = is_content(blocks_[i]);
    drop_bare_headings();
    std::vector<Block> kept;
    for (size_t i = 0; i < blocks_.size(); ++i)
      if (keep_[i]) kept.push_back(std::move(blocks_[i]));
    blocks_ = std::move(kept);
  }

 private:
  bool is_content(const Block& one) const {
    if (one.kind == kCodeBlock) return true;
    if (one.letters == 0) return false;
    if (100 * one.linked > options_.links_percent * one.letters && one.kind != kHeading && one.kind != kRow)
      return false;
    if (is_empty_talk(one.text)) return false;
    if (one.kind == kParagraph && one.letters < options_.short_block && !ends_sentence(one.text) && one.marks == 0)
      return false;
    return true;
  }

  // A heading with nothing below it announced something that was dropped.
  void drop_bare_headings() {
    int level_below = 7;  // the level of the heading that follows; 0: text follows
    bool text_below = false;
    for (size_t i = blocks_.size(); i-- > 0;) {
      if (!keep_[i]) continue;
      if (blocks_[i].kind != kHeading || blocks_[i].letters >= kLongHeading) {
        text_below = true;
        level_below = 7;
      } else if (!text_below && level_below > 0 && !(level_below < 7 && level_below > blocks_[i].level)) {
        keep_[i] = false;
      } else {
        level_below = blocks_[i].level;
        text_below = false;
      }
    }
  }

  std::vector<Block>& blocks_;
  const ExtractOptions& options_;
  std::vector<bool> keep_;
};

// ---- joining ----

void indent(std::string& out, const std::string& text, const std::string& by) {
  for (char c : text) {
    out += c;
    if (c == '\n') out += by;
  }
}

void write_markdown(const Block& one, std::string& out) {
  switch (one.kind) {
    case kHeading:
      out.append(one.level, '#').append(" ").append(one.text);
      break;
    case kItem: {
      std::string before(size_t(one.level > 1 ? 2 * (one.level - 1) : 0), ' ');
      if (one.number < 0) {
        out += before + "  ";
        indent(out, one.text, before + "  ");
      } else {
        out += before + (one.number > 0 ? std::to_string(one.number) + ". " : "- ");
        indent(out, one.text, before + "  ");
      }
      break;
    }
    case kCodeBlock:
      out.append("```\n").append(one.text).append("\n```");
      break;
    case kQuote:
      out += "> ";
      indent(out, one.text, "> ");
      break;
    case kRow:
      out.append("| ").append(one.text).append(" |");
      if (one.header) {
        out += "\n|";
        for (size_t at = 0; at != string_view::npos; at = one.text.find(" | ", at + 1)) out += " --- |";
      }
      break;
    default:
      out += one.text;
  }
}

std::string join(const std::vector<Block>& blocks, bool markdown) {
  std::string out;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block& one = blocks[i];
    if (i) {
      const Block& before = blocks[i - 1];
      bool together = (one.kind == kItem || one.kind == kRow) && before.kind == one.kind && !one.starts;
      out += together ? "\n" : "\n\n";
    }
    if (markdown) {
      write_markdown(one, out);
    } else {
      out += one.text;
    }
  }
  return out;
}

// ---- what stands in the head ----

std::string title_of(const Tree& tree) {
  std::string title, heading;
  for (int32_t i = 0; i < int32_t(tree.nodes.size()); ++i) {
    const Node& own = tree.nodes[size_t(i)];
    if (own.tag == kSvg) {
      i = own.end - 1;
    } else if ((own.tag == kTitle && title.empty()) || (own.tag == kH1 && heading.empty())) {
      std::string raw;
      for (int32_t k = i + 1; k < own.end; ++k)
        if (tree.nodes[size_t(k)].tag == kText)
          decode_entities({tree.nodes[size_t(k)].text, tree.nodes[size_t(k)].length}, raw);
      std::string& out = own.tag == kTitle ? title : heading;
      for (char c : raw) {
        if (!is_space(c)) {
          out += c;
        } else if (!out.empty() && out.back() != ' ') {
          out += ' ';
        }
      }
      while (!out.empty() && out.back() == ' ') out.pop_back();
      if (!title.empty() && !heading.empty()) break;
    }
  }
  return title.empty() ? heading : title;
}

std::string language_of(const Tree& tree) {
  for (const Node& own : tree.nodes) {
    if (own.tag == kHtml) {
      string_view said = attribute(own, "lang");
      if (said.empty()) said = attribute(own, "xml:lang");
      std::string code;
      for (char c : said.substr(0, 3))
        if (is_alpha(c)) code += lower(c); else break;
      return code;
    }
    if (own.tag == kBody) break;
  }
  return {};
}

}  // namespace

namespace {

constexpr int32_t kFewLetters = 250;  // a page with less is looked at again, less strictly

void write(const Tree& tree, const ExtractOptions& options, Strictness strictness, Extracted& out) {
  Outline plan = outline(tree, options, strictness);
  Writer writer(tree, plan, options);
  std::vector<Block> blocks = writer.run(plan.leads);
  if (options.main_only) Judge(blocks, options).run();
  int32_t letters = 0;
  for (const Block& one : blocks) letters += one.letters;
  if (letters <= 2 * out.letters) return;
  out.letters = letters;
  out.text = join(blocks, options.markdown != 0);
  out.formulas = writer.formulas;
  out.code_letters = writer.code_letters;
  out.outcome = out.text.empty() ? kNoText : kExtracted;
}

// ---- pages that a script fills: the text they hand to search engines ----

uint32_t hex4(string_view digits) {
  uint32_t code = 0;
  for (char c : digits) {
    if (!is_digit(c) && !(lower(c) >= 'a' && lower(c) <= 'f')) return 0xFFFD;
    code = code * 16 + uint32_t(is_digit(c) ? c - '0' : lower(c) - 'a' + 10);
  }
  return code;
}

// The JSON string whose first character stands at `at`, up to its closing quote.
std::string json_text(string_view json, size_t at) {
  std::string out;
  for (; at < json.size() && json[at] != '"'; ++at) {
    if (json[at] != '\\' || at + 1 >= json.size()) {
      out += json[at];
      continue;
    }
    char c = json[++at];
    if (c == 'u' && at + 4 < json.size()) {
      uint32_t code = hex4(json.substr(at + 1, 4));
      at += 4;
      if (code >= 0xD800 && code < 0xDC00 && at + 6 < json.size() && json[at + 1] == '\\' && json[at + 2] == 'u') {
        uint32_t low = hex4(json.substr(at + 3, 4));
        code = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : 0xFFFD;
        at += 6;
      }
      put_rune(out, code >= 0xD800 && code < 0xE000 ? 0xFFFD : code);
    } else {
      out += c == 'n' || c == 'r' ? '\n' : c == 't' ? ' ' : c;
    }
  }
  return out;
}

std::string described_text(const Tree& tree) {
  for (size_t i = 0; i + 1 < tree.nodes.size(); ++i) {
    const Node& own = tree.nodes[i];
    if (own.tag != kScript || tree.nodes[i + 1].tag != kText) continue;
    if (attribute(own, "type").find("ld+json") == string_view::npos) continue;
    string_view json(tree.nodes[i + 1].text, tree.nodes[i + 1].length);
    size_t at = json.find("\"articleBody\"");
    if (at == json.npos) continue;
    at = json.find('"', std::min(json.size(), json.find(':', at)));
    if (at != json.npos) return json_text(json, at + 1);
  }
  return {};
}

// Pages may hold anything; texts are UTF-8.
void repair(std::string& text) {
  if (utf8_prefix(text) == text.size()) return;
  std::string good;
  for (size_t i = 0; i < text.size();) {
    Rune r = rune_at(text, i);
    put_rune(good, r.code);
    i += size_t(r.bytes);
  }
  text = std::move(good);
}

}  // namespace

Extracted extract(string_view page, const ExtractOptions& options) {
  Extracted out;
  Tree tree = parse_html(page, options.deadline_seconds);
  if (tree.late) {
    out.outcome = kLate;
    return out;
  }
  out.title = title_of(tree);
  out.language = language_of(tree);
  for (Strictness strictness : {kNames, kComments, kNothing})
    if (out.letters < kFewLetters && (strictness == kNames || options.main_only)) write(tree, options, strictness, out);
  if (out.letters < kFewLetters) {
    std::string text = described_text(tree);
    if (int64_t(text.size()) > 4 * int64_t(out.letters)) {
      out.letters = int32_t(text.size());
      out.text = std::move(text);
      out.outcome = kExtracted;
    }
  }
  for (std::string* text : {&out.text, &out.title}) repair(*text);
  return out;
}

}  // namespace herd
