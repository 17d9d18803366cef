#include "scripts.hpp"

#include <algorithm>

#include "words.hpp"

namespace herd {
namespace {

constexpr size_t kLongest = 24;  // bytes; more is small print, no exponent
constexpr int32_t kMostNodes = 64;
constexpr int kDeepestScript = 3;

// Endings that languages raise after a number or a title's first letters.
const string_view kEndings[] = {"st",  "nd",  "rd", "th", "er", "re", "e",  "\xC3\xA8me", "eme", "\xC3\xA8re", "ers",
                                "es",  "nde", "de", "me", "te", "ste", "i\xC3\xA8me", "o", "a", "os", "as", "do",
                                "da",  "to",  "ta", "mo", "ma", "ra", "ro", "\xC2\xBA", "\xC2\xAA", "lle", "gr", "r",
                                "s",   "t",   "ie", "mes", "lles", "tm", "sm", "eu", "ter", "bis"};

bool is_digits(string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

bool starts_with(string_view text, string_view what) { return text.substr(0, what.size()) == what; }

// A sign before or after a number, in any of its forms; how many bytes it takes.
size_t sign_bytes(string_view text) {
  if (text.empty()) return 0;
  if (text[0] == '+' || text[0] == '-') return 1;
  for (string_view sign : {"\xE2\x88\x92", "\xE2\x80\x93", "\xE2\x80\x91"})
    if (starts_with(text, sign)) return 3;
  return 0;
}

Rune last_rune(string_view text) {
  size_t from = text.size() - 1;
  while (from > 0 && text.size() - from < 4 && (uint8_t(text[from]) & 0xC0) == 0x80) --from;
  return rune_at(text, from);
}

bool is_letter(uint32_t code) { return code < 0x80 ? is_alpha(char(code)) : (rune_class(code) & kLetter) != 0; }

std::string written(const Tree& tree, int32_t i, string_view before, int depth);

// What a script holds, as far as it decides how it is written.
struct Script {
  std::string text;
  bool nested = false, linked = false, plain = true;
  bool spaced = false;  // ends in white space
};

// A number with or without a sign: 6, -3, 2.5, 2+.
bool is_number(string_view text) {
  text.remove_prefix(sign_bytes(text));
  size_t digits = 0;
  while (digits < text.size() && (is_digit(text[digits]) || (digits && (text[digits] == '.' || text[digits] == ','))))
    ++digits;
  return digits && (digits == text.size() || sign_bytes(text.substr(digits)) == text.size() - digits);
}

// A note's mark: 3, 1,2, 4-6, a.
bool is_mark(string_view text) {
  if (text.size() == 1) return is_digit(text[0]) || is_alpha(text[0]);
  return !text.empty() && is_digit(text[0]) && is_digit(text.back()) && text.size() <= 11 &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_digit(c) || c == ',' || c == '-' || c == ' '; });
}

bool is_word(string_view text) {
  for (size_t i = 0; i < text.size();) {
    Rune r = rune_at(text, i);
    if (!is_letter(r.code)) return false;
    i += size_t(r.bytes);
  }
  return !text.empty();
}

bool is_one_letter(string_view text) { return is_word(text) && size_t(rune_at(text, 0).bytes) == text.size(); }

bool is_sign_alone(string_view text) { return text.size() && sign_bytes(text) == text.size(); }

bool is_ending(string_view text) {
  std::string lowered;
  for (char c : text) lowered += lower(c);
  return std::any_of(std::begin(kEndings), std::end(kEndings), [&](string_view one) { return lowered == one; });
}

// The text before a script: its last run of letters or digits.
struct Base {
  explicit Base(string_view before) : text(before) {
    size_t from = text.size();
    while (from > 0) {
      Rune r = last_rune(text.substr(0, from));
      bool digit = r.code < 0x80 && is_digit(char(r.code));
      if (!digit && !is_letter(r.code)) break;
      if (letters == 0 && digit && !digits_ended) {
        ++digits;
      } else if (digit) {
        break;
      } else {
        if (digits) break;
        digits_ended = true;
        ++letters;
        wide |= r.code >= 0x2E80;
        if (letters > 12) break;
      }
      from -= size_t(r.bytes);
    }
    start = from;
  }
  string_view text;
  size_t start = 0;
  int digits = 0, letters = 0;
  bool digits_ended = false, wide = false;

  char before_it() const { return start ? text[start - 1] : ' '; }
  bool is_year() const {
    string_view own = text.substr(start);
    return digits == 4 && (starts_with(own, "18") || starts_with(own, "19") || starts_with(own, "20")) &&
           !is_digit(before_it()) && before_it() != '.' && before_it() != ',';
  }
  bool is_price() const {
    size_t from = start;
    while (from > 0 && (text[from - 1] == ',' || text[from - 1] == '.' || is_digit(text[from - 1]) || text[from - 1] == ' ')) --from;
    if (!from) return false;
    Rune r = last_rune(text.substr(0, from));
    return r.code == '$' || r.code == 0xA3 || r.code == 0xA5 || (r.code >= 0x20A0 && r.code < 0x20D0);
  }
  // A symbol of a chemical formula: letters with capitals, a lower one only after its capital.
  bool is_chemical() const {
    string_view own = text.substr(start);
    if (own.empty() || !is_alpha(own.back())) return false;
    if (own.back() <= 'Z') return true;
    return own.size() > 1 && own[own.size() - 2] >= 'A' && own[own.size() - 2] <= 'Z';
  }
  // Words between the brackets before a script are no formula.
  bool is_formula_in_brackets() const {
    size_t close = text.size() - 1;
    size_t open = text.substr(0, close).rfind(text.back() == ')' ? '(' : '[');
    if (open == text.npos) return true;
    int run = 0;
    for (size_t i = open + 1; i < close; ++i) {
      run = is_alpha(text[i]) ? run + 1 : 0;
      if (run > 3) return false;
    }
    return true;
  }
};

std::string after(char mark, const Script& own) {
  bool plain = !own.nested && (is_number(own.text) || is_one_letter(own.text) ||
                               (mark == '_' && std::all_of(own.text.begin(), own.text.end(), [](char c) {
                                  return is_alpha(c) || is_digit(c) || uint8_t(c) >= 0x80;
                                })));
  if (own.text.front() == '(' && own.text.find(')') == own.text.size() - 1) plain = true;
  return plain ? mark + own.text : mark + ("(" + own.text + ")");
}

std::string noted(const Script& own) { return is_mark(own.text) ? "[" + own.text + "]" : ""; }

std::string raised(const Script& own, string_view before, bool note) {
  Base base(before);
  Rune last = last_rune(before);
  string_view text = own.text;
  if (note) return noted(own);
  if (is_sign_alone(text)) return {};
  bool number = is_number(text), bare = is_digits(text);
  if (base.digits) {
    if (bare && text.size() == 2 && base.is_price()) return "." + own.text;
    if (is_word(text) && (is_ending(text) || !is_one_letter(text))) return {};
    if (bare && text.size() < 3 && base.is_year()) return noted(own);
    return number || own.nested || is_word(text) || text.find_first_not_of("0123456789") != text.npos ? after('^', own) : "";
  }
  if (base.letters) {
    bool few = base.letters <= 3 && !base.wide;
    if (bare && (!few || (text == "1" && base.letters > 1))) return text.size() < 4 ? noted(own) : "";
    if (number || own.nested) return few ? after('^', own) : "";
    if (is_word(text)) {
      bool upper = last.code < 0x80 && last.code >= 'A' && last.code <= 'Z';
      if (is_one_letter(text)) {
        bool title = upper && is_ending(text) && lower(text[0]) == text[0];
        return base.letters < 3 && !title ? after('^', own) : "";
      }
      return base.letters == 1 && !upper && !is_ending(text) && text.size() < 5 ? after('^', own) : "";
    }
    bool says = is_digit(text.back()) || is_letter(last_rune(text).code) || text.back() == ')';
    return few && says ? after('^', own) : "";
  }
  if (last.code == ')' || last.code == ']' || last.code == '|' || last.code == '}') {
    if (is_mark(text) && (last.code == ')' || last.code == ']') && !base.is_formula_in_brackets()) return noted(own);
    return is_word(text) && !is_one_letter(text) ? "" : after('^', own);
  }
  bool symbol = last.code >= 0x2200 && last.code < 0x2300;
  if (symbol) return after('^', own);
  return bare && text.size() < 4 && last.code != '^' ? noted(own) : "";
}

std::string lowered(const Script& own, string_view before) {
  Base base(before);
  Rune last = last_rune(before);
  string_view text = own.text;
  if (own.linked || is_sign_alone(text)) return {};
  bool bare = is_number(text) && !sign_bytes(text);
  if (base.digits) return after('_', own);
  if (base.letters) {
    if (bare) return base.is_chemical() || base.wide ? "" : after('_', own);
    if (is_one_letter(text) || !is_word(text)) return after('_', own);
    return base.letters < 3 ? after('_', own) : "";
  }
  bool symbol = last.code >= 0x2200 && last.code < 0x2300;
  if (symbol || last.code == '|' || ((last.code == ')' || last.code == ']') && !bare)) return after('_', own);
  return {};
}

Script gather(const Tree& tree, int32_t i, int depth) {
  Script out;
  for (int32_t k = i + 1; k < tree.nodes[size_t(i)].end; ++k) {
    const Node& own = tree.nodes[size_t(k)];
    out.linked |= own.link;
    if (own.tag == kText) {
      std::string text;
      decode_entities({own.text, std::min<uint32_t>(own.length, 400)}, text);
      for (size_t at = 0; at < text.size();) {
        Rune r = rune_at(text, at);
        bool blank = is_space(text[at]) || (rune_class(r.code) & kBlank);
        if (!blank) {
          put_rune(out.text, r.code);
        } else if (!out.text.empty() && out.text.back() != ' ') {
          out.text += ' ';
        }
        at += size_t(r.bytes);
      }
    } else if (own.tag == kSup || own.tag == kSub) {
      out.nested = true;
      std::string inner = out.text.empty() || depth >= kDeepestScript ? "" : written(tree, k, out.text, depth + 1);
      if (!inner.empty()) {
        out.text += inner;
        k = own.end - 1;
      }
    } else if (is_block(own.tag) || is_void(own.tag) || own.tag == kScript || own.tag == kMath) {
      out.plain = false;
    }
    if (out.text.size() > kLongest) break;
  }
  out.spaced = !out.text.empty() && out.text.back() == ' ';
  if (out.spaced) out.text.pop_back();
  return out;
}

// Whether a script is the mark of a note: a link of its own, or named so.
bool is_note(const Tree& tree, int32_t i, const Script& script) {
  const Node& own = tree.nodes[size_t(i)];
  const Node& above = tree.nodes[size_t(std::max(own.parent, 0))];
  if (script.linked || (above.link && own.end == above.end)) return true;
  for (string_view where : {"class", "id"}) {
    string_view name = attribute(own, where);
    for (string_view word : {"note", "ref", "cite", "fn"})
      if (name.find(word) != name.npos) return true;
  }
  return false;
}

std::string written(const Tree& tree, int32_t i, string_view before, int depth) {
  if (before.empty() || is_space(before.back()) || tree.nodes[size_t(i)].end - i > kMostNodes) return {};
  Script own = gather(tree, i, depth);
  if (own.text.empty() || own.text.size() > kLongest || !own.plain) return {};
  std::string text = tree.nodes[size_t(i)].tag == kSub ? lowered(own, before) : raised(own, before, is_note(tree, i, own));
  return text.empty() || !own.spaced ? text : text + " ";
}

}  // namespace

namespace {

constexpr int kDeepestMath = 60;

// The name of an element that has no tag of its own; it stands right before the attributes.
string_view name_of(const Node& node) {
  const char* from = node.text;
  while (is_alpha(from[-1]) || is_digit(from[-1]) || from[-1] == ':') --from;
  string_view name(from, size_t(node.text - from));
  return name.substr(name.find(':') == name.npos ? 0 : name.find(':') + 1);
}

std::string grouped(const std::string& text) {
  bool plain = is_number(text) || is_one_letter(text) || is_word(text);
  return plain || text.empty() ? text : "(" + text + ")";
}

std::string math_inside(const Tree& tree, int32_t i, int depth) {
  const Node& own = tree.nodes[size_t(i)];
  if (own.tag == kAnnotation) return {};
  std::vector<std::string> children;
  std::string out;
  for (int32_t k = i + 1; k < own.end; k = tree.nodes[size_t(k)].end) {
    const Node& child = tree.nodes[size_t(k)];
    std::string text;
    if (child.tag == kText) {
      decode_entities({child.text, child.length}, text);
      if (text.find_first_not_of(" \t\r\n") == text.npos) continue;
    } else if (depth < kDeepestMath) {
      text = math_inside(tree, k, depth + 1);
    }
    out += text;
    children.push_back(std::move(text));
  }
  string_view name = own.tag == kOther ? name_of(own) : string_view();
  auto child = [&](size_t number) { return number < children.size() ? grouped(children[number]) : std::string(); };
  if (name == "mfrac" && children.size() == 2) return child(0) + "/" + child(1);
  if (name == "msqrt") return "sqrt(" + out + ")";
  if (name == "mroot" && children.size() == 2) return child(0) + "^(1/" + children[1] + ")";
  if (name == "msup" && children.size() == 2) return child(0) + "^" + child(1);
  if (name == "msub" && children.size() == 2) return child(0) + "_" + child(1);
  if (name == "msubsup" && children.size() == 3) return child(0) + "_" + child(1) + "^" + child(2);
  return out;
}

}  // namespace

std::string math_text(const Tree& tree, int32_t i) { return math_inside(tree, i, 0); }

std::string script_text(const Tree& tree, int32_t i, string_view before) { return written(tree, i, before, 0); }

}  // namespace herd
