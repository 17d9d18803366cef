#include "html.hpp"

#include <algorithm>
#include <array>

namespace herd {
namespace {

constexpr int kDeepest = 500;       // deeper elements become siblings, as browsers do
constexpr size_t kLongestEntity = 33;
constexpr int kClockEvery = 2048;   // tags between looks at the clock

const std::pair<const char*, Tag> kNames[] = {
    {"a", kA}, {"abbr", kAbbr}, {"acronym", kAbbr}, {"address", kAddress}, {"annotation", kAnnotation},
    {"area", kArea}, {"article", kArticle}, {"aside", kAside}, {"audio", kAudio}, {"b", kB}, {"base", kBase},
    {"blockquote", kBlockquote}, {"body", kBody}, {"br", kBr}, {"button", kButton}, {"canvas", kCanvas},
    {"caption", kCaption}, {"center", kDiv}, {"code", kCode}, {"col", kCol}, {"dd", kDd}, {"del", kDel},
    {"details", kDetails}, {"dialog", kDialog}, {"dir", kUl}, {"div", kDiv}, {"dl", kDl}, {"dt", kDt}, {"em", kEm},
    {"embed", kEmbed}, {"fieldset", kFieldset}, {"figcaption", kFigcaption}, {"figure", kFigure},
    {"footer", kFooter}, {"form", kForm}, {"frameset", kFrameset}, {"h1", kH1}, {"h2", kH2}, {"h3", kH3},
    {"h4", kH4}, {"h5", kH5}, {"h6", kH6}, {"head", kHead}, {"header", kHeader}, {"hgroup", kHgroup}, {"hr", kHr},
    {"html", kHtml}, {"i", kI}, {"iframe", kIframe}, {"img", kImg}, {"image", kImg}, {"input", kInput},
    {"ins", kIns}, {"kbd", kKbd}, {"label", kLabel}, {"legend", kLegend}, {"li", kLi}, {"link", kLink},
    {"listing", kPre}, {"main", kMain}, {"math", kMath}, {"menu", kMenu}, {"meta", kMeta}, {"nav", kNav},
    {"noembed", kNoembed}, {"noframes", kNoframes}, {"noscript", kNoscript}, {"object", kObject}, {"ol", kOl},
    {"optgroup", kOptgroup}, {"option", kOption}, {"p", kP}, {"param", kParam}, {"picture", kPicture},
    {"plaintext", kPlaintext}, {"pre", kPre}, {"q", kQ}, {"rb", kRb}, {"rp", kRp}, {"rt", kRt}, {"rtc", kRtc},
    {"samp", kSamp},
    {"script", kScript}, {"search", kForm}, {"section", kSection}, {"select", kSelect}, {"source", kSource},
    {"span", kSpan}, {"strong", kStrong}, {"style", kStyle}, {"sub", kSub}, {"summary", kSummary}, {"sup", kSup},
    {"svg", kSvg}, {"table", kTable}, {"tbody", kTbody}, {"td", kTd}, {"template", kTemplate},
    {"textarea", kTextarea}, {"tfoot", kTfoot}, {"th", kTh}, {"thead", kThead}, {"time", kTime}, {"title", kTitle},
    {"tr", kTr}, {"track", kTrack}, {"tt", kTt}, {"u", kU}, {"ul", kUl}, {"var", kVar}, {"video", kVideo},
    {"wbr", kWbr}, {"xmp", kXmp}};

// Tag names are short: packed into one word they are found by one look-up.
uint64_t packed(const char* name, size_t length) {
  uint64_t word = 0;
  for (size_t i = 0; i < length; ++i) word = word << 8 | uint8_t(lower(name[i]));
  return word * 31 + length;
}

class Names {
 public:
  Names() {
    slots_.fill({0, kOther});
    for (auto& [name, tag] : kNames) {
      size_t length = std::strlen(name);
      uint64_t key = length <= 8 ? packed(name, length) : hash(name, length);
      size_t at = key * 0x9E3779B97F4A7C15ull >> 54;
      while (slots_[at].first) at = (at + 1) & 1023;
      slots_[at] = {key, tag};
    }
  }
  Tag find(const char* name, size_t length) const {
    if (length > 10) return kOther;
    uint64_t key = length <= 8 ? packed(name, length) : hash(name, length);
    size_t at = key * 0x9E3779B97F4A7C15ull >> 54;
    while (slots_[at].first && slots_[at].first != key) at = (at + 1) & 1023;
    return slots_[at].second;
  }

 private:
  static uint64_t hash(const char* name, size_t length) {
    uint64_t word = 14695981039346656037ull;
    for (size_t i = 0; i < length; ++i) word = (word ^ uint8_t(lower(name[i]))) * 1099511628211ull;
    return word | 1;
  }
  std::array<std::pair<uint64_t, Tag>, 1024> slots_;
};

const Names& names() {
  static const Names table;
  return table;
}

std::unordered_map<std::string, std::string>& entities() {
  static std::unordered_map<std::string, std::string> table;
  return table;
}

// What these hold is characters, not markup.
bool holds_raw_text(Tag tag) {
  switch (tag) {
    case kScript: case kStyle: case kTextarea: case kTitle: case kXmp: case kIframe: case kNoframes: case kNoembed:
      return true;
    default:
      return false;
  }
}

// Elements before which an open <p> ends (13.1.2.4).
bool ends_paragraph(Tag tag) {
  switch (tag) {
    case kAddress: case kArticle: case kAside: case kBlockquote: case kDetails: case kDialog: case kDiv: case kDl:
    case kFieldset: case kFigcaption: case kFigure: case kFooter: case kForm: case kH1: case kH2: case kH3: case kH4:
    case kH5: case kH6: case kHeader: case kHgroup: case kHr: case kMain: case kMenu: case kNav: case kOl: case kP:
    case kPre: case kSection: case kTable: case kUl: case kLi: case kDt: case kDd: case kSummary:
      return true;
    default:
      return false;
  }
}

// What an opening tag closes: the nearest of `ends`, unless one of `walls` lies between.
struct Implied {
  bool (*ends)(Tag);
  bool (*wall)(Tag);
};

bool list_wall(Tag t) { return t == kUl || t == kOl || t == kMenu || t == kTable || t == kTd || t == kTh; }
bool definition_wall(Tag t) { return t == kDl || t == kTable || t == kTd || t == kTh; }
bool table_wall(Tag t) { return t == kTable; }
bool is_reading(Tag t) { return t == kRb || t == kRt || t == kRp || t == kRtc; }
bool paragraph_wall(Tag t) {
  return t == kButton || t == kTd || t == kTh || t == kTable || t == kCaption || t == kObject || t == kTemplate;
}

class Builder {
 public:
  Builder(string_view page, double deadline)
      : begin_(page.data()), at_(begin_), end_(begin_ + page.size()), deadline_(cpu_seconds() + deadline) {
    tree_.nodes.reserve(page.size() / 24 + 16);
    size_t first = page.find_first_not_of(" \t\r\n");
    xhtml_ = first != page.npos && page.substr(first, 5) == "<?xml";
    add(kRoot, at_, 0);
    stack_.push_back(0);
  }

  Tree build() {
    while (at_ < end_ && !tree_.late) {
      const char* open = static_cast<const char*>(std::memchr(at_, '<', size_t(end_ - at_)));
      if (!open) open = end_;
      if (open > at_) text(at_, open);
      at_ = open;
      if (at_ < end_) markup();
      if (++tags_ % kClockEvery == 0 && cpu_seconds() > deadline_) tree_.late = true;
    }
    while (!stack_.empty()) pop();
    return std::move(tree_);
  }

 private:
  int32_t add(Tag tag, const char* text, size_t length) {
    int32_t number = int32_t(tree_.nodes.size());
    Node node;
    node.tag = tag;
    node.parent = stack_.empty() ? -1 : stack_.back();
    node.end = number + 1;
    node.text = text;
    node.length = uint32_t(length);
    tree_.nodes.push_back(node);
    return number;
  }

  void text(const char* from, const char* to) {
    Node& last = tree_.nodes.back();
    if (last.tag == kText && last.text + last.length == from && last.parent == stack_.back()) {
      last.length += uint32_t(to - from);  // a stray `<` is text like what stands before it
    } else {
      add(kText, from, size_t(to - from));
    }
  }

  void pop() {
    Node& node = tree_.nodes[size_t(stack_.back())];
    node.end = int32_t(tree_.nodes.size());
    --open_[node.tag];
    stack_.pop_back();
  }

  void markup() {
    if (end_ - at_ < 2) {
      text(at_, end_);
      at_ = end_;
    } else if (is_alpha(at_[1])) {
      start_tag();
    } else if (at_[1] == '/') {
      end_tag();
    } else if (at_[1] == '!' || at_[1] == '?') {
      skip_declaration();
    } else {
      text(at_, at_ + 1);
      ++at_;
    }
  }

  void skip_declaration() {
    string_view rest(at_, size_t(end_ - at_));
    if (rest.substr(0, 4) == "<!--") {
      if (rest.substr(4, 1) == ">") {
        at_ += 5;
        return;
      }
      size_t close = rest.find("-->", 2);
      at_ = close == rest.npos ? end_ : at_ + close + 3;
    } else if (rest.substr(0, 9) == "<![CDATA[") {
      size_t close = rest.find("]]>", 9);
      const char* to = close == rest.npos ? end_ : at_ + close;
      text(at_ + 9, to);
      at_ = std::min(end_, to + 3);
    } else {
      size_t close = rest.find('>');
      at_ = close == rest.npos ? end_ : at_ + close + 1;
    }
  }

  const char* name_end(const char* from) const {
    while (from < end_ && !is_space(*from) && *from != '>' && *from != '/') ++from;
    return from;
  }

  // The '>' that ends a tag, quotes respected; the end of the page where there is none.
  const char* tag_end(const char* from) const {
    char quote = 0;
    bool value = false;  // a quote opens only after '='
    for (; from < end_; ++from) {
      char c = *from;
      if (quote) {
        const char* close = static_cast<const char*>(std::memchr(from, quote, size_t(end_ - from)));
        if (!close) return end_;
        from = close;
        quote = 0;
        value = false;
      } else if (c == '>') {
        return from;
      } else if (c == '=') {
        value = true;
      } else if ((c == '"' || c == '\'') && value) {
        quote = c;
      } else if (!is_space(c)) {
        value = false;
      }
    }
    return end_;
  }

  void start_tag() {
    const char* name = at_ + 1;
    const char* after = name_end(name);
    const char* close = tag_end(after);
    if (close == end_) {  // a tag that never ends is dropped with all that follows, as browsers do
      at_ = end_;
      return;
    }
    Tag tag = names().find(name, size_t(after - name));
    bool closed = close > after && close[-1] == '/';
    at_ = close + 1;
    imply_ends(tag);
    if ((tag == kHtml && open_[kHtml]) || (tag == kBody && open_[kBody]) || tag == kFrameset) return;
    int32_t number = add(tag, after, size_t(close - after));
    Node& own = tree_.nodes[size_t(number)];
    if (tag == kBody) tree_.body = number;
    if (tag == kHtml) xhtml_ |= attribute(own, "xmlns").find("1999/xhtml") != string_view::npos;
    if (tag == kA) own.link = string_view(after, size_t(close - after)).substr(0, 6) == " href=" || has_attribute(own, "href");
    if (is_void(tag)) return;
    if (closed && (tag == kOther || in_foreign() || (xhtml_ && ends_itself(after, close)))) return;
    if (tag == kPlaintext) {
      at_ = end_;
      return;
    }
    push(number);
    if (holds_raw_text(tag)) raw_text(string_view(name, size_t(after - name)));
  }

  // A slash right after a value without quotes belongs to the value: <a href=there/>
  static bool ends_itself(const char* after, const char* close) {
    const char* slash = close - 1;
    if (slash <= after || is_space(slash[-1]) || slash[-1] == '"' || slash[-1] == '\'') return true;
    const char* from = slash;
    while (from > after && !is_space(from[-1])) --from;
    return !std::memchr(from, '=', size_t(slash - from));
  }

  bool in_foreign() const { return open_[kSvg] > 0 || open_[kMath] > 0; }

  void push(int32_t number) {
    Node& node = tree_.nodes[size_t(number)];
    if (stack_.size() >= kDeepest) {
      node.broken = true;
      return;
    }
    stack_.push_back(number);
    ++open_[node.tag];
  }

  void raw_text(string_view name) {
    const char* from = at_;
    while (at_ < end_) {
      const char* close = static_cast<const char*>(std::memchr(at_, '<', size_t(end_ - at_)));
      if (!close) break;
      at_ = close;
      if (size_t(end_ - at_) > name.size() + 1 && at_[1] == '/' && same(at_ + 2, name)) {
        if (at_ > from) text(from, at_);
        return;  // the end tag is read next
      }
      ++at_;
    }
    if (end_ > from) text(from, end_);
    at_ = end_;
  }

  static bool same(const char* text, string_view name) {
    for (size_t i = 0; i < name.size(); ++i)
      if (lower(text[i]) != lower(name[i])) return false;
    return true;
  }

  void end_tag() {
    const char* name = at_ + 2;
    if (name >= end_ || !is_alpha(*name)) {
      const char* close = static_cast<const char*>(std::memchr(at_, '>', size_t(end_ - at_)));
      at_ = close ? close + 1 : end_;
      return;
    }
    const char* after = name_end(name);
    const char* close = tag_end(after);
    at_ = close == end_ ? end_ : close + 1;
    Tag tag = names().find(name, size_t(after - name));
    if (tag == kP && !open_[kP]) {
      add(kP, after, 0);
    } else if (tag == kBr) {
      add(kBr, after, 0);
    } else if (tag == kHtml || tag == kBody) {
      return;  // what follows still belongs to the page
    } else if (tag >= kH1 && tag <= kH6) {
      close_nearest([](Tag t) { return t >= kH1 && t <= kH6; }, table_wall);
    } else if (tag != kOther) {
      close_tag(tag);
    } else {
      close_other(string_view(name, size_t(after - name)));
    }
  }

  // An inline end tag must not close the cell or the block it stands in.
  static bool scope_wall(Tag tag, Tag open) {
    if (tag == kTable || tag == kMain || tag == kArticle || tag == kSection || tag == kDiv || tag == kForm) {
      return open == kTd || open == kTh ? tag != kTable : false;
    }
    if (tag == kTr || tag == kTd || tag == kTh || tag == kTbody || tag == kThead || tag == kTfoot)
      return open == kTable;
    if (tag == kLi) return open == kUl || open == kOl || open == kTable;
    if (is_block(tag)) return open == kTd || open == kTh;
    return is_block(open);
  }

  void close_tag(Tag tag) {
    if (!open_[tag]) return;
    for (size_t i = stack_.size(); i-- > 1;) {
      Tag open = tree_.nodes[size_t(stack_[i])].tag;
      if (open == tag) {
        while (stack_.size() > i) pop();
        return;
      }
      if (scope_wall(tag, open)) return;
    }
  }

  void close_other(string_view name) {
    if (!open_[kOther]) return;
    for (size_t i = stack_.size(); i-- > 1;) {
      const Node& node = tree_.nodes[size_t(stack_[i])];
      if (node.tag == kOther && size_t(node.text - begin_) >= name.size()) {
        // The name stands right before the attributes.
        string_view own(node.text - name.size(), name.size());
        if (same(own.data(), name)) {
          while (stack_.size() > i) pop();
          return;
        }
      } else if (is_block(node.tag)) {
        return;
      }
    }
  }

  template <typename Ends, typename Wall>
  void close_nearest(Ends ends, Wall wall) {
    for (size_t i = stack_.size(); i-- > 1;) {
      Tag open = tree_.nodes[size_t(stack_[i])].tag;
      if (ends(open)) {
        while (stack_.size() > i) pop();
        return;
      }
      if (wall(open)) return;
    }
  }

  void imply_ends(Tag tag) {
    if (ends_paragraph(tag) && open_[kP]) close_nearest([](Tag t) { return t == kP; }, paragraph_wall);
    switch (tag) {
      case kLi:
        if (open_[kLi]) close_nearest([](Tag t) { return t == kLi; }, list_wall);
        break;
      case kDt: case kDd:
        if (open_[kDt] || open_[kDd]) close_nearest([](Tag t) { return t == kDt || t == kDd; }, definition_wall);
        break;
      case kOption: case kOptgroup:
        if (open_[kOption]) close_nearest([](Tag t) { return t == kOption; }, [](Tag t) { return t == kSelect; });
        break;
      case kRb: case kRtc:
        if (open_[kRb] || open_[kRt] || open_[kRp] || open_[kRtc]) close_nearest(is_reading, is_block);
        break;
      case kRt: case kRp:  // these may stand inside <rtc>
        if (open_[kRb] || open_[kRt] || open_[kRp])
          close_nearest([](Tag t) { return t == kRb || t == kRt || t == kRp; }, [](Tag t) { return t == kRtc || is_block(t); });
        break;
      case kTd: case kTh:
        if (open_[kTd] || open_[kTh]) close_nearest([](Tag t) { return t == kTd || t == kTh; }, table_wall);
        break;
      case kTr:
        if (open_[kTr]) close_nearest([](Tag t) { return t == kTr; }, table_wall);
        break;
      case kTbody: case kThead: case kTfoot:
        close_nearest([](Tag t) { return t == kTbody || t == kThead || t == kTfoot; }, table_wall);
        break;
      case kBody: case kMain:
        if (open_[kHead]) close_nearest([](Tag t) { return t == kHead; }, table_wall);
        break;
      case kA:  // a link inside a link is a link that was not closed
        if (open_[kA]) close_nearest([](Tag t) { return t == kA; }, is_block);
        break;
      default:
        if (open_[kHead] && is_block(tag)) close_nearest([](Tag t) { return t == kHead; }, table_wall);
        break;
    }
  }

  Tree tree_;
  const char* begin_;
  const char* at_;
  const char* end_;
  double deadline_;
  int64_t tags_ = 0;
  bool xhtml_ = false;
  std::vector<int32_t> stack_;
  std::array<int32_t, kTagCount> open_{};
};

void decode_number(string_view digits, int base, std::string& out) {
  // Windows-1252 where the standard says that people meant it (13.2.5.80).
  static const uint16_t meant[32] = {0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                     0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,   0x017D, 0x8F,
                                     0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                     0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
  uint32_t code = 0;
  for (char c : digits) {
    uint32_t value = is_digit(c) ? uint32_t(c - '0') : uint32_t(lower(c) - 'a' + 10);
    code = std::min<uint32_t>(code * uint32_t(base) + value, 0x110000);
  }
  if (code >= 0x80 && code < 0xA0) code = meant[code - 0x80];
  if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) code = 0xFFFD;
  put_rune(out, code);
}

// Decodes the reference that starts with raw[0] == '&'; returns how many characters it took, 0 for none.
size_t decode_one(string_view raw, std::string& out) {
  if (raw.size() > 2 && raw[1] == '#') {
    bool hex = lower(raw[2]) == 'x';
    size_t from = hex ? 3 : 2, to = from;
    auto digit = [&](char c) { return is_digit(c) || (hex && lower(c) >= 'a' && lower(c) <= 'f'); };
    while (to < raw.size() && digit(raw[to])) ++to;
    if (to == from) return 0;
    decode_number(raw.substr(from, to - from), hex ? 16 : 10, out);
    return to + (to < raw.size() && raw[to] == ';');
  }
  size_t to = 1;
  while (to < raw.size() && to < kLongestEntity && (is_alpha(raw[to]) || is_digit(raw[to]))) ++to;
  auto& table = entities();
  if (to < raw.size() && raw[to] == ';') {
    auto found = table.find(std::string(raw.substr(1, to)));
    if (found != table.end()) return out += found->second, to + 1;
  }
  for (size_t length = std::min<size_t>(to, 7); length > 2; --length) {  // &copy2024 still means a copyright sign
    auto found = table.find(std::string(raw.substr(1, length - 1)));
    if (found != table.end()) return out += found->second, length;
  }
  return 0;
}

}  // namespace

bool is_void(Tag tag) {
  switch (tag) {
    case kArea: case kBase: case kBr: case kCol: case kEmbed: case kHr: case kImg: case kInput: case kLink:
    case kMeta: case kParam: case kSource: case kTrack: case kWbr:
      return true;
    default:
      return false;
  }
}

bool is_block(Tag tag) {
  switch (tag) {
    case kAddress: case kArticle: case kAside: case kBlockquote: case kBody: case kCaption: case kDd: case kDetails:
    case kDialog: case kDiv: case kDl: case kDt: case kFieldset: case kFigcaption: case kFigure: case kFooter:
    case kForm: case kH1: case kH2: case kH3: case kH4: case kH5: case kH6: case kHeader: case kHgroup: case kHr:
    case kLegend: case kLi: case kMain: case kMenu: case kNav: case kOl: case kP: case kPre: case kRoot: case kHtml:
    case kSection: case kSummary: case kTable: case kTbody: case kTd: case kTfoot: case kTh: case kThead: case kTr:
    case kUl: case kXmp: case kOption: case kOptgroup:
      return true;
    default:
      return false;
  }
}

bool Attributes::next(Attribute& out) {
  while (at_ < end_ && (is_space(*at_) || *at_ == '/')) ++at_;
  if (at_ >= end_) return false;
  const char* name = at_;
  while (at_ < end_ && !is_space(*at_) && *at_ != '=' && *at_ != '/') ++at_;
  if (at_ == name) ++at_;  // a stray '='
  out.name = {name, size_t(at_ - name)};
  out.value = {};
  const char* look = at_;
  while (look < end_ && is_space(*look)) ++look;
  if (look >= end_ || *look != '=') return true;
  at_ = look + 1;
  while (at_ < end_ && is_space(*at_)) ++at_;
  if (at_ < end_ && (*at_ == '"' || *at_ == '\'')) {
    char quote = *at_++;
    const char* from = at_;
    while (at_ < end_ && *at_ != quote) ++at_;
    out.value = {from, size_t(at_ - from)};
    if (at_ < end_) ++at_;
  } else {
    const char* from = at_;
    while (at_ < end_ && !is_space(*at_)) ++at_;
    out.value = {from, size_t(at_ - from)};
  }
  return true;
}

string_view attribute(const Node& node, string_view name) {
  if (node.length < name.size()) return {};
  Attributes all(node);
  Attribute one;
  while (all.next(one))
    if (same_word(one.name, name)) return one.value;
  return {};
}

bool has_attribute(const Node& node, string_view name) {
  Attributes all(node);
  Attribute one;
  while (all.next(one))
    if (same_word(one.name, name)) return true;
  return false;
}

Tree parse_html(string_view page, double deadline) {
  if (page.substr(0, 3) == "\xEF\xBB\xBF") page.remove_prefix(3);
  return Builder(page, deadline).build();
}

void set_entities(std::unordered_map<std::string, std::string> table) { entities() = std::move(table); }

void decode_entities(string_view raw, std::string& out) {
  size_t from = 0;
  while (from < raw.size()) {
    size_t at = raw.find('&', from);
    if (at == raw.npos) at = raw.size();
    out.append(raw.substr(from, at - from));
    if (at == raw.size()) return;
    size_t used = decode_one(raw.substr(at), out);
    if (!used) out += '&';
    from = at + (used ? used : 1);
  }
}

}  // namespace herd
