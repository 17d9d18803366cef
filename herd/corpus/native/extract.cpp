#include "extract.hpp"

#include <algorithm>
#include <array>

#include "blocks.hpp"

namespace herd {
namespace {

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
    "auch interessant", "schon gelesen", "lesetipp", "mehr dazu", "mehr lesen", "jetzt lesen", "das k\xC3\xB6nnte sie auch",
    "das k\xC3\xB6nnte dich auch", "weitere artikel", "weitere themen", "weiterf\xC3\xBChrende links", "quellen:",
    "quellenangaben", "kommentieren", "kommentar schreiben", "schreibe einen kommentar", "bild anzeigen", "newsletter",
    "permalink", "permalien", "\xC3\xA0 lire aussi", "\xC3\xA0 lire \xC3\xA9galement", "sur le m\xC3\xAAme sujet",
    "abonnez-vous", "te puede interesar", "lea tambi\xC3\xA9n", "lee tambi\xC3\xA9n", "ver tambi\xC3\xA9n",
    "leia tamb\xC3\xA9m", "leia mais", "leggi anche", "lees ook", "czytaj te\xC5\xBC", "czytaj tak\xC5\xBC" "e",
    "source:", "via:", "hide caption", "toggle caption", "enlarge this image", "cookies",
};

// By their first bytes: most lines begin with none of them.
class TalkByLetter {
 public:
  TalkByLetter() {
    for (string_view start : kEmptyTalk) starts_[uint8_t(start[0])].push_back(start);
  }
  const std::vector<string_view>& operator[](char first) const { return starts_[uint8_t(first)]; }

 private:
  std::array<std::vector<string_view>, 256> starts_;
};

bool is_empty_talk(string_view text) {
  if (text.size() > 90 || text.empty()) return false;
  static const TalkByLetter by_letter;
  const std::vector<string_view>& starts = by_letter[lower(text[0])];
  if (starts.empty()) return false;
  std::string lowered;
  for (char c : text) lowered += lower(c);
  return std::any_of(starts.begin(), starts.end(), [&](string_view start) {
    if (lowered.compare(0, start.size(), start) != 0) return false;
    char next = lowered.size() > start.size() ? lowered[start.size()] : ' ';
    if (is_alpha(next)) return false;
    // A sentence that happens to begin so is a sentence.
    return lowered.size() < start.size() + 40 || !ends_sentence(text);
  });
}

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

// The reading of a word, above it in print.
bool is_reading(Tag tag) { return tag == kRt || tag == kRp || tag == kRtc; }

std::string title_of(const Tree& tree) {
  std::string title, heading;
  for (int32_t i = 0; i < int32_t(tree.nodes.size()); ++i) {
    const Node& own = tree.nodes[size_t(i)];
    if (own.tag == kSvg) {
      i = own.end - 1;
    } else if ((own.tag == kTitle && title.empty()) || (own.tag == kH1 && heading.empty())) {
      std::string raw;
      for (int32_t k = i + 1; k < own.end; ++k)
        if (is_reading(tree.nodes[size_t(k)].tag)) {
          k = tree.nodes[size_t(k)].end - 1;
        } else if (tree.nodes[size_t(k)].tag == kText) {
          decode_entities({tree.nodes[size_t(k)].text, tree.nodes[size_t(k)].length}, raw);
        }
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

constexpr int32_t kFewLetters = 250;  // a page with less is looked at again, less strictly

void write(const Tree& tree, const ExtractOptions& options, Strictness strictness, Extracted& out) {
  Outline plan = outline(tree, options, strictness);
  Written written = write_blocks(tree, plan, options);
  std::vector<Block>& blocks = written.blocks;
  if (options.main_only) Judge(blocks, options).run();
  int32_t letters = 0;
  for (const Block& one : blocks) letters += one.letters;
  if (letters <= 2 * out.letters) return;
  out.letters = letters;
  out.text = join(blocks, options.markdown != 0);
  out.formulas = written.formulas;
  out.code_letters = written.code_letters;
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
